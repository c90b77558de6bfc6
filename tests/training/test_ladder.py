"""The ladder's own decisions: what is asked, which rung is good enough, which is recommended; and scorers of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.load import loads
from router.errors import ConfigError, DataError
from training import custom, gate, ladder, report, scorers, suite
from training.ladder import Material
from training.results import EvalReport, ItemResult, Role, Rung
from training.scorers import Answer


def results(values: list[float], cost: int | None = 1000, *, must: int = -1) -> tuple[ItemResult, ...]:
    return tuple(
        ItemResult(f"i{n}", f"answer {n}", value, value == 1.0, None, "", n == must, "stop", 10.0, cost, 100, 10, f"r{n}", "m")
        for n, value in enumerate(values)
    )


def made(*rungs: Rung) -> EvalReport:
    return EvalReport("triage", "suite.jsonl", "0" * 64, rungs)


def rung(name: str, right: int, cost: int | None, role: Role = "other", must: int = -1) -> Rung:
    return Rung(f"x/{name}", role, results([1.0] * right + [0.0] * (100 - right), cost, must=must), name)


def test_the_cheapest_good_rung_is_recommended() -> None:
    """Not the best, not the cheapest: the cheapest of those that are at most the floor below the best."""
    rows = ladder.judge(made(rung("zero_shot_hosted", 70, 10, "hosted"), rung("few_shot", 94, 30), rung("retrieval", 95, 90)), -0.02)
    assert {row["rung"]: row["good"] for row in rows} == {"zero_shot_hosted": False, "few_shot": True, "retrieval": True}
    assert {row["rung"]: row["proven"] for row in rows} == {"zero_shot_hosted": False, "few_shot": False, "retrieval": True}
    assert ladder.recommended(rows) == "few_shot"
    assert rows[0]["difference"] == pytest.approx(-0.25)
    assert rows[0]["difference_interval"][1] < -0.1


def test_a_must_pass_item_vetoes() -> None:
    """However cheap and good the rest is: and it is not what the others are measured against."""
    rows = ladder.judge(made(rung("few_shot", 99, 1, must=99), rung("retrieval", 90, 50, must=0)), -0.02)
    assert rows[0]["vetoes"] == ["i99"]
    assert (rows[0]["good"], rows[1]["good"], rows[1]["against"]) == (False, True, "retrieval")
    assert ladder.recommended(rows) == "retrieval"


def test_unknown_costs_come_last() -> None:
    """A rung that nobody can price is not called the cheapest; without any price the better one is."""
    rows = ladder.judge(made(rung("fine_tuned", 95, None, "adapter"), rung("few_shot", 95, 70)), -0.02)
    assert ladder.recommended(rows) == "few_shot"
    rows = ladder.judge(made(rung("fine_tuned", 95, None, "adapter"), rung("few_shot", 94, None)), -0.02)
    assert ladder.recommended(rows) == "fine_tuned"


def item(scorer: str, expected: Any, ident: str = "a") -> dict[str, Any]:
    return {"id": ident, "messages": [{"role": "user", "content": f"q {ident}"}], "expected": expected, "scorer": scorer}


def write(path: Path, *items: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, items)))
    return path


def test_a_schema_has_names_and_types_and_no_answers(tmp_path: Path) -> None:
    """From fields that all items share; never a value of them."""
    path = write(
        tmp_path / "s.jsonl", item("json_fields", {"team": "x", "urgent": True, "n": 1}), item("json_fields", {"team": "y", "urgent": False, "n": None}, "b")
    )
    schema = ladder.schema_of(suite.load(path).items)
    assert schema == {
        "type": "object",
        "properties": {"team": {"type": "string"}, "urgent": {"type": "boolean"}, "n": {"type": ["integer", "null"]}},
        "required": ["team", "urgent", "n"],
        "additionalProperties": False,
    }
    shared = {"type": "object"}
    assert ladder.schema_of(suite.load(write(path, item("json_schema", shared), item("json_schema", shared, "b"))).items) == shared
    for items in ([item("exact", "x")], [item("json_fields", {"a": 1}), item("json_fields", {"b": 1}, "b")], [item("json_fields", {"a": [1]})]):
        assert ladder.schema_of(suite.load(write(path, *items)).items) is None


def test_every_rung_that_there_is_material_for(tmp_path: Path) -> None:
    """The route's own programs and other models are rungs too; what is left out says why; each is written as a candidate."""
    (tmp_path / "s.txt").write_text("One word.")
    shots = [{"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]} for n in range(3)]
    write(tmp_path / "x.jsonl", *shots)
    text = """\
providers: {openai: {base_url: "http://127.0.0.1:9/v1"}}
engines: {local: {urls: ["http://127.0.0.1:9"]}}
routes: {r: {candidates: [
  {provider: openai, model: small}, {provider: openai, model: big}, {engine: local, adapter: a},
  {provider: openai, model: big, program: {system: s.txt, examples: x.jsonl, k: 2}}]}}
"""
    config = loads(text, tmp_path / "breakeven.yaml", {})
    questions = suite.load(write(tmp_path / "suite.jsonl", item("json_fields", {"a": 1})))
    plan = ladder.plan(config, "r", questions, ("local", "a", 3), Material(k=2))
    assert [(spec.name, spec.model, spec.role) for spec in plan.rungs] == [
        ("fine_tuned", "local/a@3", "adapter"), ("zero_shot_base", "local", "base"), ("zero_shot_hosted", "openai/small", "hosted"),
        ("structured", "openai/small", "other"), ("few_shot", "openai/small", "other"), ("few_shot_similar", "openai/small", "other"),
        ("specialised", "openai/big", "other"), ("program", "openai/big", "other"),
    ]  # fmt: skip
    assert [text.partition(":")[0] for text in plan.skipped] == ["retrieval"]
    assert len({spec.digest for spec in plan.rungs if spec.role == "other"}) == 5
    assert [spec.name for spec in plan.only(("few_shot", "fine_tuned")).rungs] == ["fine_tuned", "few_shot"]
    with pytest.raises(ConfigError, match="--only retrieval"):
        plan.only(("retrieval",))
    written = yaml.safe_load(ladder.deployable(plan, "few_shot"))[0]
    again = loads(text.replace("{provider: openai, model: small}", json.dumps(written)), tmp_path / "b.yaml", {})
    program = again.routes["r"].candidates[0].program
    assert program is not None
    assert (program.k, program.examples) == (2, tmp_path / "x.jsonl")
    bare = ladder.plan(config, "r", suite.load(write(tmp_path / "t.jsonl", item("exact", "x"))), None, Material(examples=tmp_path / "x.jsonl"))
    assert "structured" not in bare.candidates
    assert any(text.startswith("few_shot_similar: there are no more") for text in bare.skipped)


CHECKS = """
def near(expected, answer):
    return abs(float(answer) - expected) < 1
def share(expected, answer):
    return {"value": answer.count(expected) / 4, "detail": "counted"}
def wild(expected, answer):
    return 7
"""


def test_a_scorer_of_ones_own(tmp_path: Path) -> None:
    """From the configuration's directory; what it gives, and how it fails, is in the item's result."""
    (tmp_path / "checks.py").write_text(CHECKS)
    path = write(tmp_path / "s.jsonl", item("checks:near", 4, "a"), item("checks:share", "x", "b"), item("checks:wild", "x", "c"))
    near, share, wild = suite.load(path, tmp_path).items
    assert scorers.score(near, Answer("4.5")) == scorers.Score(1.0, right=True)
    assert scorers.score(near, Answer("9")).value == 0.0
    assert "ValueError" in scorers.score(near, Answer("four")).detail
    assert scorers.score(share, Answer("xx")) == scorers.Score(0.5, right=False, detail="counted")
    assert "instead of a number" in scorers.score(wild, Answer("x")).detail


@pytest.mark.parametrize(
    ("name", "said"), [("nobody:f", "there is no nobody.py"), ("checks:f", "no function"), ("broken:f", "fails when it is loaded: ZeroDivisionError")]
)
def test_what_cannot_be_loaded_is_said(tmp_path: Path, name: str, said: str) -> None:
    """With the suite's line; nothing outside the directory can be named at all."""
    (tmp_path / "checks.py").write_text("g = 1")
    (tmp_path / "broken.py").write_text("1 / 0")
    path = write(tmp_path / "s.jsonl", item(name, 1))
    with pytest.raises(DataError) as caught:
        suite.load(path, tmp_path)
    assert caught.value.problems[0].line == 1
    assert said in caught.value.problems[0].message
    with pytest.raises(DataError, match="1 problem"):
        suite.load(path)
    with pytest.raises(DataError, match="not module:function"):
        custom.load("../checks:f", tmp_path, {})


def test_f1_by_field() -> None:
    """A right value is a hit; a wrong one is false and missed; one that is not there is missed; one nobody asked for is false."""
    found = scorers.field_f1([({"a": 1, "b": 2}, '{"a": 1, "b": 3}'), ({"a": 1, "b": 2}, '{"b": 2, "c": 1}'), ({"a": 1, "b": 2}, "no")])
    assert found == {"a": pytest.approx(2 * 1 / (1 + 3)), "b": pytest.approx(2 * 1 / (2 + 3))}


def test_the_page_without_an_adapter(tmp_path: Path) -> None:
    """What the ladder recommends is the headline, and where it is worse than the hosted model comes first."""
    found = made(rung("zero_shot_hosted", 60, 10, "hosted"), rung("few_shot", 90, None))
    rows = ladder.judge(found, -0.02)
    climbed = {
        "route": "triage",
        "rungs": rows,
        "recommended_rung": "few_shot",
        "candidate": "- {}",
        "skipped": ["retrieval: nothing"],
        "floor": -0.02,
        "fields": {"few_shot": {"team": 0.5}},
        "judge": None,
    }
    page = report.html(found, gate.judge(found, gate.Thresholds()), climbed)
    assert "<h1>triage: few_shot" in page
    assert "Not asked" in page
    assert "F1 by field" in page
    assert "<h2>Gate" not in page
    assert "unknown" in page


def test_a_judge_that_is_not_calibrated_fails_the_gate() -> None:
    """An adapter is not admitted on the word of a judge nobody checked."""
    found = made(rung("zero_shot_hosted", 60, 10, "hosted"), rung("fine_tuned", 90, None, "adapter"))
    assert gate.judge(found, gate.Thresholds()).admit
    refused = gate.judge(found, gate.Thresholds(), (), "nobody calibrated the judge")
    assert not refused.admit
    assert refused.reasons == ("nobody calibrated the judge",)


def test_a_judge_item_needs_a_judge() -> None:
    """It is no pure scorer's business."""
    judged = suite.Item("a", (), "x", "judge", (), False, (), 1)
    with pytest.raises(ValueError, match="judge model"):
        scorers.score(judged, Answer("x"))
