"""`breakeven eval` where a judge scores, through a running gateway: its word, its calibration, and what the gate makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.store import keys
from router.errors import ConfigError, RequestError, UpstreamError
from serving.database import reading
from tests.gateway.conftest import TIMEOUTS, price, provider
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, completion
from training import evaluation
from training.progress import silent


async def model(wire: Wire) -> None:
    """Answers well; as `judge` it prefers what has `good` in it, as `dumb` it is down."""
    body = wire.seen.body
    said = body["messages"][0]["content"]
    if body["model"] == "dumb":
        await wire.json({"error": {"message": "no", "type": "x"}}, status=400)
    elif body["model"] == "judge":
        a, b = (said.partition(f"<answer_{n}>")[2].partition(f"</answer_{n}>")[0] for n in "ab")
        await wire.json(completion("TIE" if ("good" in a) == ("good" in b) else "A" if "good" in a else "B"))
    else:
        await wire.json(completion("a good answer"))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    items = [
        {"id": f"i{n}", "messages": [{"role": "user", "content": f"q{n}"}], "expected": ("bad", "good", "poor")[n], "scorer": "judge", "must_pass": True}
        for n in range(3)
    ]
    (tmp_path / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    anchors = [{"question": "q", "a": "good" if n % 2 else "bad", "b": "bad" if n % 2 else "good", "label": "a" if n % 2 else "b"} for n in range(50)]
    (tmp_path / "anchors.jsonl").write_text("\n".join(map(json.dumps, anchors)))
    with UpstreamServer(model) as server:
        candidates = [{"provider": "one", "model": "m"}]
        body = {
            "server": {"default_provider": "one"},
            "providers": {"one": provider(server)},
            "prices": [price("one", "m")],
            "routes": {"r": {"candidates": candidates, "timeouts": TIMEOUTS, "quality": {"suite": "suite.jsonl"}}, "bare": {"candidates": candidates}},
        }
        with LiveGateway(tmp_path, body) as running:
            yield running


def run(gateway: LiveGateway, **asked: Any) -> dict[str, Any]:
    wanted = evaluation.Judging("r", None, None, gateway.directory / "eval", wait_for_books=False, **asked)
    return evaluation.run_eval(gateway.config, gateway.database, wanted, f"{gateway.url}/v1", silent)


def test_a_judge_scores_and_is_measured(gateway: LiveGateway) -> None:
    """Better than two references and like the third; its calibration is in the document and on the page; a key is made for the while and taken back."""
    gateway.key()
    found = run(gateway, judge="one/judge", anchors=gateway.directory / "anchors.jsonl")
    row = found["rungs"][0]
    assert row["score"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert (row["right"], row["vetoes"]) == (1.0, [])
    assert (found["judge"]["kappa"], found["judge"]["position_bias"], found["judge"]["calibrated"]) == (1.0, 0.0, True)
    assert "one/judge is calibrated" in Path(found["report"][1]).read_text()
    with reading(gateway.database) as conn:
        assert [key.name for key in keys.listed(conn) if key.usable(2e9)] == ["test"]


def test_a_judge_must_be_named_and_answer(gateway: LiveGateway) -> None:
    """Said at once, before anything is asked; one that is down ends the evaluation and is no fault of the rung."""
    with pytest.raises(ConfigError, match="--judge"):
        run(gateway)
    with pytest.raises(UpstreamError, match="the judge one/dumb does not answer"):
        run(gateway, judge="one/dumb")


def test_what_cannot_be_evaluated_is_said(gateway: LiveGateway) -> None:
    """A route without a suite, an adapter that the route or the registry does not have, a rung there is no material for."""
    bare = evaluation.Judging("bare", None, None, gateway.directory / "eval")
    with pytest.raises(ConfigError, match=r"quality\.suite is not set"):
        evaluation.run_eval(gateway.config, gateway.database, bare, "", silent)
    other = evaluation.Judging("r", "a", 1, gateway.directory / "eval")
    with pytest.raises(ConfigError, match="no candidate"):
        evaluation.run_eval(gateway.config, gateway.database, other, "", silent)
    with pytest.raises(RequestError):
        evaluation.adapter_version(gateway.database, "a@1")
    assert evaluation.adapter_version(gateway.database, None) == (None, None)
    with pytest.raises(ConfigError, match="--only retrieval"):
        run(gateway, judge="one/judge", only=("retrieval",))


def test_an_uncalibrated_judge_is_no_proof() -> None:
    """Nobody calibrated it, or it does not agree with people: the gate hears why."""
    items = evaluation.suite.Suite("s", "0", (evaluation.suite.Item("a", (), "x", "judge", (), False, (), 1),))
    assert "nobody calibrated" in str(evaluation._distrust(items, None))
    weak = evaluation.judge.Calibration("m", 60, 0.5, 0.1, 0.3, 0.2, 0.4, 0.6)
    assert "kappa 0.10" in str(evaluation._distrust(items, weak))
    assert evaluation._distrust(evaluation.suite.Suite("s", "0", ()), None) is None
