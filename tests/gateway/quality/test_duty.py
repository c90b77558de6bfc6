"""The controller's judgement: from rows of the ledger to stages, on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.quality.duty import Quality, judge, shown
from gateway.quality.gather import SETTLED_S, SPAN_S, Gatherer, is_fault, span_of
from gateway.store import exchanges, feedback, quality_states, shadow_pairs
from gateway.store.feedback import Feedback
from gateway.store.shadow_pairs import Pair
from router.types import Attempt, Exchange, Outcome, Stage, Usage
from serving import registry
from serving.database import connect, reading, writing
from serving.verbs import Change
from tests.databases import prepare
from tests.gateway.live_gateway import config_of
from tests.serving.making import version

PLACE, READY = ("local", 0), {"local": frozenset({0})}


class World:
    """Adapter `a` with two loaded versions, the first live, on route `r` with `one/m` as its hosted candidate."""

    def __init__(self, directory: Path, **quality: object) -> None:
        both = [{"provider": "one", "model": "m"}, {"engine": "local", "adapter": "a"}]
        self.config: Config = config_of(
            directory,
            {
                "providers": {"one": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"}},
                "engines": {"local": {"urls": ["http://127.0.0.1:9"]}},
                "routes": {"r": {"candidates": both, "quality": quality}},
            },
        )
        self.database: Engine = connect(self.config.database, directory)
        prepare(self.database)
        self.now, self.said, self.ids = 1_000_000.0, list[str](), 0
        self.quality = Quality(self.database, lambda: self.now, self.said.append)
        for digest in ("d1", "d2"):
            with writing(self.database) as conn:
                number = registry.add_version(conn, version("a", 0, digest), "local", "/src", "me", self.now).version
            self.ask("promote" if number == 1 else "load", number)
            with writing(self.database) as conn:
                registry.saw(conn, PLACE, ("a", number), "verified", "", self.now)
                registry.apply(conn, READY, {"a": {"r": False}}, self.now)

    def ask(self, verb: str, number: int | None = None, **more: object) -> None:
        with writing(self.database) as conn:
            registry.request(conn, Change(verb, "a", number, actor="me", **more), {"r": False}, self.now)  # type: ignore[arg-type]

    def answer(self, backend: str, count: int, failed: int = 0) -> None:
        """`count` requests that a backend was asked, of which some failed there."""
        self.now += 1.0
        rows = []
        for number in range(count):
            self.ids += 1
            error = "upstream_malformed" if number < failed else None
            made = Attempt(backend, 200, error, self.now, 1.0, 2.0, Usage(1, 0, 1), "provider", 0, "known", "local" if "@" in backend else "hosted")
            rows.append(_exchange(f"req_{self.ids}", self.now, backend, made))
        with writing(self.database) as conn:
            exchanges.insert(conn, rows)

    def pairs(self, number: int, count: int, agreed: int) -> None:
        with writing(self.database) as conn:
            for each in range(count):
                self.ids += 1
                verdict = float(each < agreed)
                shadow_pairs.put(conn, Pair(f"sh_{self.ids}", "req", "r", "a", number, "one/m", verdict, "text", self.now, 5))

    def scores(self, backend: str, count: int, score: float) -> None:
        with writing(self.database) as conn:
            for _ in range(count):
                self.ids += 1
                feedback.put(conn, Feedback(f"fb_{self.ids}", f"req_f{self.ids}", "r", backend, None, score, None, None, self.now))

    def look(self) -> list[str]:
        self.now += 10.0
        return self.quality.look(self.config)

    def stage(self, number: int) -> Stage | None:
        with reading(self.database) as conn:
            return registry.stages(conn).get(("r", "a", number))

    @property
    def adapter(self) -> registry.AdapterView:
        with reading(self.database) as conn:
            return registry.view(conn, "a")


def _exchange(name: str, now: float, backend: str, made: Attempt) -> Exchange:
    return Exchange(
        id=name, time=now, route="r", endpoint="/v1/chat/completions", backend=backend, adapter_version=None, key_id=None, tags={}, stream=False,
        status=200, outcome=Outcome.OK, usage=Usage(1, 0, 1), usage_state="provider", cost_nanousd=0, cost_state="known", opportunity_nanousd=None,
        all_hosted_nanousd=None, ttft_ms=1.0, total_ms=2.0, overhead_ms=0.1, reason="cost", decision_id=None, attempts=(made,),
    )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.dispose()


def test_a_good_canary_ramps_and_becomes_live(world: World) -> None:
    """As good as the live version: half of the requests, then all of them; each step is in the audit trail with its numbers."""
    world.ask("canary", 2, percent=5)
    assert world.look() == []
    world.answer("local/a@2", 1_500, failed=3)
    world.answer("local/a@1", 5_000, failed=10)
    assert "canary -> ramp" in world.look()[0]
    assert (world.stage(2), world.adapter.canary_percent) == (Stage.RAMP, 50.0)
    assert world.look() == []  # evidence begins anew in each stage
    world.answer("local/a@2", 3_000, failed=6)
    world.answer("local/a@1", 3_000, failed=6)
    assert "ramp -> open" in world.look()[0]
    assert (world.adapter.live, world.adapter.previous, world.stage(2), world.stage(1)) == (2, 1, Stage.OPEN, Stage.BLOCKED)
    with reading(world.database) as conn:
        trail = [row for row in registry.audit(conn, "a") if row["actor"] == "controller"]
    assert [(row["verb"], row["version"]) for row in trail] == [("promote", 2), ("stage", 2), ("canary", 2), ("stage", 2)]
    assert all("failures: -0.000" in row["reason"] or "failures: +0.000" in row["reason"] for row in trail)


@pytest.mark.parametrize("kind", ["failures", "feedback", "agreement"])
def test_a_degraded_canary_is_rolled_back(world: World, kind: str) -> None:
    """By any kind of evidence alone; it stays loaded, the live version has everything again, and it does not come back by itself."""
    world.ask("canary", 2, percent=20)
    world.answer("local/a@2", 100, failed=30 if kind == "failures" else 0)
    world.answer("local/a@1", 400)
    if kind == "feedback":
        world.scores("local/a@2", 100, 0.2)
        world.scores("local/a@1", 300, 0.9)
    elif kind == "agreement":
        world.pairs(2, 100, agreed=40)
    said = world.look()
    assert len(said) == 1
    assert kind in said[0]
    assert (world.adapter.canary_version, world.adapter.live, world.stage(2)) == (None, 1, Stage.BLOCKED)
    assert world.said == [f"quality: {said[0]}"]
    assert world.look() == []


def test_a_live_version_that_gets_worse_gives_way_to_the_previous(world: World) -> None:
    """Compared with the hosted candidate; the previous version is live again. Without a previous one only its stage changes."""
    world.ask("promote", 2)
    world.answer("local/a@2", 200, failed=60)
    world.answer("one/m", 400)
    assert "open -> blocked" in world.look()[0]
    assert (world.adapter.live, world.stage(2), world.stage(1)) == (1, Stage.BLOCKED, Stage.OPEN)
    world.answer("local/a@1", 200, failed=60)
    world.answer("one/m", 400)
    assert "open -> blocked" in world.look()[0]
    assert (world.adapter.live, world.stage(1)) == (1, Stage.BLOCKED)


def test_what_an_operator_forced_is_respected_and_shown(world: World) -> None:
    """A forced promotion stays live however bad it is; the document says who pinned it and what the evidence says."""
    world.ask("promote", 2, force=True, reason="the customer wants it")
    world.answer("local/a@2", 200, failed=100)
    world.answer("one/m", 400)
    assert world.look() == []
    assert (world.adapter.live, world.stage(2)) == (2, Stage.OPEN)
    with reading(world.database) as conn:
        body = quality_states.every(conn, "a")["r", "a", 2]
    assert body["held"] == "pinned by hand (me: the customer wants it)"
    assert body["evidence"][0]["verdict"] == "worse"
    assert body["reference"] == "one/m"


def test_the_way_in_from_loaded_to_canary_needs_pairs(tmp_path: Path) -> None:
    """Where shadow calls are made, a loaded version goes to shadow by itself, and gets its first requests when its answers agree."""
    world = World(tmp_path, shadow={"share": 0.1, "agree": 0.8})
    assert "blocked -> shadow" in world.look()[0]
    assert world.look() == []
    world.pairs(2, 300, agreed=290)
    assert "shadow -> canary" in world.look()[0]
    assert (world.adapter.canary_version, world.adapter.canary_percent, world.stage(2)) == (2, 5.0, Stage.CANARY)
    with reading(world.database) as conn:
        found = next(each for each in judge(conn, world.config, Gatherer(), world.now) if each.place[2] == 2)
    assert "answers of the baseline to compare with" in shown(found)["needed"]
    world.database.dispose()


def test_a_failed_gate_takes_it_back(tmp_path: Path) -> None:
    """A suite's verdict that comes later counts at once."""
    (tmp_path / "suite.jsonl").write_text("")
    world = World(tmp_path, suite=str(tmp_path / "suite.jsonl"))
    world.ask("canary", 2, percent=20)
    with writing(world.database) as conn:
        registry.set_gate(conn, "a", 2, {"route": "r", "passed": False}, world.now)
    assert "the gate did not pass" in world.look()[0]
    assert world.adapter.canary_version is None
    world.database.dispose()


def test_sums_that_were_remembered_are_the_sums_of_everything(world: World) -> None:
    """Rows older than any call can settle are counted once; together with the newer ones it is what a new process counts."""
    gatherer, since = Gatherer(), world.now
    for step in range(4):
        world.answer("local/a@1", 10 + step, failed=step)
        with reading(world.database) as conn:
            kept = gatherer.sums(conn, "r", since, world.now).calls
            again = Gatherer().sums(conn, "r", since, world.now).calls
        gatherer.forget()
        assert kept == again
        world.now += SETTLED_S
    assert (kept["local/a@1"].answers, kept["local/a@1"].failed) == (46, 6)
    gatherer.forget()
    assert not gatherer._known


def test_faults_of_a_model_are_told_from_those_of_its_surroundings() -> None:
    """Broken answers count, overload and dead connections do not; a span of evidence is a week."""
    assert [is_fault(error) for error in ("http_500", "upstream_cut", "http_503", "http_400", "client_gone", "upstream_unreachable")] == [True] * 2 + [
        False
    ] * 4
    assert [span_of(5.0, 5.0 + part * SPAN_S) for part in (0.0, 0.9, 1.1)] == [5.0, 5.0, 5.0 + SPAN_S]
