"""Drift as people see it: the command, the admin API, gauges, sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.drift import gauges
from gateway.drift.watch import sentence
from gateway.store import drift
from gateway.store.drift import State
from serving.database import reading, writing
from tests.commands import Run, runner
from tests.gateway.drift.world import PLACE, World

FEATURE: dict[str, Any] = {
    "feature": "language",
    "strand": "input",
    "statistic": "kl",
    "value": 0.3,
    "threshold": 0.1,
    "changed": 0.27,
    "psi": 1.7,
    "n": 256,
    "baseline_n": 2048,
    "window": 256,
    "seasonal": False,
    "firing": True,
    "near": True,
    "baseline": {"en": 0.5, "de": 0.2},
    "current": {"fr": 0.3, "en": 0.4},
}
RATE: dict[str, Any] = {**FEATURE, "feature": "not_json", "strand": "output", "statistic": "e", "changed": None, "psi": None, "threshold": None, "window": 0}
RATE |= {"baseline": {"rate": 0.01}, "current": {"rate": 0.2}, "firing": False}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A stopped version, written as the duty writes it."""
    made = World(tmp_path)
    strands = {strand: {"level": "stop", "streak": 4, "calm": 0} for strand in ("input", "output", "pace", "pairs")}
    ready = {"input": True, "output": True, "pairs": False}
    report = {"features": [FEATURE, RATE], "strands": strands, "baseline": {"input": 2048, "output": 2048, "pairs": 0}, "ready": ready}
    state = State(PLACE, "stop", made.now, (sentence(FEATURE),), "routing to it was stopped on this route", made.now, 4000, report, {}, made.now)
    with writing(made.database) as conn:
        drift.put_state(conn, state)
        drift.propose(conn, PLACE, made.now, {"reasons": ["x"]}, made.now)
    yield made
    made.database.dispose()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(tmp_path, monkeypatch, capsys)


def test_the_command_shows_levels_reasons_and_features(world: World, command: Run) -> None:
    """For people and as JSON; another route has nothing."""
    code, out, _ = command("drift")
    assert code == 0
    assert "triage@1" in out
    assert "language: at least 27% of the last 256 requests differ (en 50%, de 20% -> fr 30%, en 40%)" in out
    assert "language !" in out
    code, document, _ = command("drift", "--json")
    (found,) = document["data"]
    assert (code, found["level"], found["stopped"], found["since"]) == (0, "stop", True, "2026-11-23T14:00:00.000Z")
    assert found["strands"][0] == {"strand": "input", "level": "stop", "streak": 4, "calm": 0, "baseline": 2048, "ready": True}
    assert found["proposals"][0]["status"] == "open"
    assert command("drift", "--route", "other", "--json")[1]["data"] == []
    assert "nothing is watched" in command("drift", "--route", "other")[1]


def test_the_command_accepts(world: World, command: Run) -> None:
    """The level ends at once; a version that is not watched, or half a wish, is refused with what to write."""
    code, out, _ = command("drift", "--route", "triage", "--accept", "triage@1", "--reason", "fine")
    assert code == 0
    assert "accepts the traffic as it is now: fine" in out
    assert world.state().level == "none"
    code, _, err = command("drift", "--route", "triage", "--accept", "triage@9")
    assert code == 1
    assert "is not watched on route 'triage'" in err
    code, document, _ = command("drift", "--accept", "triage@1", "--json")
    assert code == 2
    assert "--accept takes NAME@VERSION and needs --route" in json.dumps(document)


def test_gauges_and_sentences(world: World) -> None:
    """One level for each version, one distance for each feature that has a threshold; rates say usual and now."""
    with reading(world.database) as conn:
        states = drift.states(conn)
    assert gauges.levels(states) == {("triage", "triage@1"): 3.0}
    assert gauges.features(states) == {("triage", "triage@1", "language"): pytest.approx(3.0)}
    assert sentence(RATE) == "not json: usually 1.0% of answers, 20.0% of the newest"
    assert sentence({**RATE, "current": {}}).endswith("clearly more now")
    assert sentence({**FEATURE, "strand": "output", "baseline": {}, "current": {"p50": 3.0}}).endswith("answers differ (- -> p50 3)")
