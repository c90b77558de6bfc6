"""training/gate.py, results.py, report.py, publish.py: from answers to a verdict that is kept."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import RequestError
from serving import database, registry
from serving.states import State
from training import gate, publish, report, results
from training.gate import Thresholds
from training.results import EvalReport, ItemResult, Role, Rung

FLOOR = Thresholds(floor=-0.05)


def rung(role: Role, n: int = 400, wrong: frozenset[int] = frozenset(), **more: object) -> Rung:
    """`n` answers, all right but those in `wrong`."""
    rows = tuple(
        ItemResult(f"i{k}", f"{role} {k}", float(k not in wrong), k not in wrong, True, "", False, "stop", 10.0 + k, 1000, 5, 5, f"{role}-{k}", "m")
        for k in range(n)
    )
    made = Rung({"hosted": "openai/gpt-4o-mini", "base": "local", "adapter": "local/triage@2"}[role], role, rows)
    return replace(made, **more) if more else made  # type: ignore[arg-type]


def changed(made: Rung, which: range, **fields: object) -> Rung:
    """The same rung with some results altered."""
    return replace(made, results=tuple(replace(r, **fields) if k in which else r for k, r in enumerate(made.results)))  # type: ignore[arg-type]


def evaluation(*rungs: Rung) -> EvalReport:
    """A report over the rungs."""
    return EvalReport("triage", "suites/s.jsonl", "ab" * 32, rungs, sandbox=True)


def judged(candidate: Rung, reference: Rung | None = None, thresholds: Thresholds = FLOOR) -> gate.Gate:
    """The verdict on candidate against a perfect reference and a silent base."""
    return gate.judge(evaluation(reference or rung("hosted"), rung("base", wrong=frozenset(range(400))), candidate), thresholds)


def failed(found: gate.Gate) -> list[str]:
    """Names of failed checks."""
    return [check.name for check in found.checks if not check.passed]


def test_an_equal_adapter_is_admitted() -> None:
    """As good as the reference within the margin: admitted, without reasons, power stated."""
    found = judged(rung("adapter", wrong=frozenset(range(3))))
    assert found.admit
    assert found.reasons == ()
    assert "400 are enough" in found.power
    assert found.as_dict()["passed"] is True
    assert found.as_dict()["reason"] == "every check passed"


def test_a_worse_adapter_is_refused() -> None:
    """Ten points worse is below a floor of five, and the reason has the numbers."""
    found = judged(rung("adapter", wrong=frozenset(range(40))))
    assert failed(found) == ["non_inferior"]
    assert "difference -0.1000" in found.reasons[0]
    assert "too small" not in found.reasons[0]


def test_a_small_suite_says_that_it_is_too_small() -> None:
    """Fifty items, one wrong: inside the margin, not proven, and the power statement says how many are needed."""
    found = gate.judge(evaluation(rung("hosted", 50), rung("adapter", 50, frozenset({1}))), FLOOR)
    assert failed(found) == ["non_inferior"]
    assert "too small" in found.reasons[0]
    assert "50 items cannot reliably see 5 points" in found.power
    assert "proven improvement" in gate.power_statement(found.comparison, 0.0)
    assert "nothing can be seen" in gate.power_statement(None, -0.02)


@pytest.mark.parametrize(
    ("candidate", "name", "said"),
    [
        (changed(rung("adapter"), range(1), error="500: no", value=0.0, right=False), "complete", "1 of 400 items without an answer"),
        (changed(rung("adapter"), range(1), must_pass=True, right=False, value=0.0), "must_pass", "1 of 1 must-pass items are wrong: i0"),
        (changed(rung("adapter"), range(9), must_pass=True, right=False), "must_pass", "i0, i1, i2, i3, i4 and 4 more"),
        (changed(rung("adapter"), range(12), valid=False), "valid_form", "97.0 % of the answers are in the required form"),
        (changed(rung("adapter"), range(6), answer=" "), "not_empty", "98.5 %"),
        (changed(rung("adapter"), range(12), finish="length"), "ends_itself", "97.0 %"),
        (replace(rung("base"), role="adapter"), "differs_from_base", "100.0 % of the answers equal"),
    ],
)
def test_each_veto(candidate: Rung, name: str, said: str) -> None:
    """Each hard check refuses by itself and says what it saw."""
    found = judged(candidate)
    assert not found.admit
    assert name in failed(found)
    assert any(said in reason for reason in found.reasons), found.reasons


def test_items_that_were_trained_on_refuse() -> None:
    """A suite that overlaps the training data proves nothing."""
    found = gate.judge(evaluation(rung("hosted"), rung("adapter")), FLOOR, trained_on=["i7"])
    assert failed(found) == ["disjoint"]
    assert "i7" in found.reasons[0]


def test_nothing_to_compare_refuses() -> None:
    """A missing rung, and rungs of which no item was answered by both, are refusals and not crashes."""
    assert "no hosted rung" in gate.judge(evaluation(rung("adapter")), FLOOR).reasons[0]
    assert "no adapter rung" in gate.judge(evaluation(rung("hosted")), FLOOR).reasons[0]
    dead = changed(rung("adapter"), range(400), error="x", value=0.0, right=False, valid=None)
    found = judged(dead)
    assert {"complete", "non_inferior"} <= set(failed(found))
    assert found.comparison is None


def test_a_rung_sums_up_honestly() -> None:
    """An unknown cost makes the total unknown; an error counts as wrong; booked costs come by request id, and what is not booked is unknown."""
    made = changed(changed(rung("adapter", 10), range(1), cost_nanousd=None), range(1, 2), error="x", value=0.0, right=False, latency_ms=None)
    summary = made.summary()
    assert summary["cost_per_1k_nanousd"] is None
    assert (summary["score"], summary["errors"], summary["latency_p50_ms"]) == (0.9, 1, 15.0)
    assert made.with_costs({"adapter-0": 3000}).summary()["cost_per_1k_nanousd"] is None
    booked = {"adapter-0": 3000} | {f"adapter-{n}": 1000 for n in range(2, 10)}
    assert made.with_costs(booked).summary()["cost_per_1k_nanousd"] == round(1000 * (3000 + 8 * 1000) / 9)
    assert results.percentile([], 0.5) is None
    assert results.percentile([3.0, 1.0, 2.0], 0.5) == 2.0


def test_reports_are_written_whole_and_read_back(tmp_path: Path) -> None:
    """JSON gives the report back; HTML loads nothing from elsewhere, escapes answers, names the sandbox and shows the worst regression first."""
    bad = changed(changed(rung("adapter"), range(5), value=0.5, right=False), range(7, 8), value=0.0, right=False, answer="<script>alert(1)</script>")
    made = evaluation(rung("hosted"), rung("base"), bad)
    verdict = gate.judge(made, FLOOR)
    as_json, as_html = report.write(tmp_path / "r", made, verdict)
    body = json.loads(as_json.read_text())
    assert results.from_dict(body) == made
    assert body["gate"]["passed"] is verdict.admit
    page = as_html.read_text()
    assert not re.search(r"<script|https?://|src=|@import", page)
    assert "&lt;script&gt;" in page
    assert "sandbox" in page
    assert report.regressions(made)[0][0].id == "i7"
    assert page.index("i7<br>") < page.index("i0<br>")
    refused = report.html(evaluation(rung("adapter", 30)), gate.judge(evaluation(rung("adapter", 30)), FLOOR))
    assert "refused" in refused
    assert "Regressions</h2><p>None" in refused
    many = report.html(evaluation(rung("hosted"), rung("adapter", wrong=frozenset(range(50)))), verdict)
    assert "the 20 worst of 50" in many
    silent = changed(rung("adapter", 2), range(2), latency_ms=None, cost_nanousd=None)
    assert "unknown / unknown" in report.html(evaluation(silent), verdict)


def test_a_verdict_is_kept_with_its_version(tmp_path: Path) -> None:
    """publish writes what the registry needs: passed, per route; an unknown version is refused."""
    engine = database.connect(f"sqlite:///{tmp_path}/db")
    database.metadata.create_all(engine)
    version = registry.VersionView("triage", 0, "d" * 64, "/x", State.REGISTERED)
    with database.writing(engine) as conn:
        registry.add_version(conn, version, "local", "test", "test", 1.0)
    verdict = judged(rung("adapter"))
    publish.publish(engine, "triage", 1, verdict, 2.0)
    with database.reading(engine) as conn:
        kept = registry.view(conn, "triage").version(1)
    assert kept is not None
    assert kept.gate_for("triage") is True
    assert kept.gate_for("other") is None
    with pytest.raises(RequestError):
        publish.publish(engine, "triage", 9, verdict, 2.0)
    engine.dispose()
