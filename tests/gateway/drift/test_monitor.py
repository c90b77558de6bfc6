"""The duty about drift, from samples in the database to levels, audit trail, webhook and proposals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from gateway.drift import monitor
from gateway.drift.monitor import Monitor
from gateway.store import alerts, drift, shadow_pairs
from gateway.store.drift_tables import drift_samples, drift_windows
from gateway.store.shadow_pairs import Pair
from serving import registry
from serving.database import reading, writing
from tests.gateway.drift import streams
from tests.gateway.drift.world import NOW, PLACE, World, promoted

HOOKED = {"alerts": {"webhook": "http://127.0.0.1:9/hook"}}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A live adapter with two days of ordinary traffic behind it. Only copied."""
    made = World(tmp_path_factory.mktemp("lived"), HOOKED)
    made.feed(streams.usual(), 3000)
    made.database.dispose()
    return made


@pytest.fixture
def world(lived: World, tmp_path: Path) -> Iterator[World]:
    """A copy of `lived` of the test's own."""
    made = World(tmp_path, HOOKED, lived)
    yield made
    made.database.dispose()


def trail(world: World) -> list[tuple[str, str]]:
    with reading(world.database) as conn:
        return [(line["detail"]["from"], line["detail"]["to"]) for line in registry.trail(conn) if line["verb"] == "drift"]


def test_a_shift_stops_routing_and_is_told(world: World) -> None:
    """Another language: the version is stopped, the reasons say so, and audit trail, webhook and proposal follow; nothing was wrong before."""
    assert world.state().level == "none"
    assert trail(world) == []
    world.feed(streams.shifted("language"), 300)
    state = world.state()
    assert state.level == "stop"
    assert any(reason.startswith("language: at least") for reason in state.reasons)
    assert state.action == monitor.ACTIONS["stop"]
    with reading(world.database) as conn:
        assert drift.stopped(conn) == {PLACE}
        assert drift.shadowed(conn) == {PLACE}
        assert drift.proposals(conn) == []
    world.feed(streams.shifted("language"), 400)
    assert world.state().level == "retrain"
    assert trail(world)[-1][1] == "retrain"
    with reading(world.database) as conn:
        (proposal,) = drift.proposals(conn, "triage")
        sent = [orjson.loads(alert.body) for alert in alerts.of_period(conn, 0.0)]
    assert proposal.status == "open"
    assert any(feature["feature"] == "language" for feature in proposal.summary["features"])
    assert {each["type"] for each in sent} == {"drift.level"}
    assert sent[-1]["data"]["level"] == "retrain"
    assert "triage@1 on route triage" in sent[-1]["text"]


def test_a_level_is_left_when_traffic_is_as_it_was(world: World) -> None:
    """The long window forgets the shift, several looks in a row are calm, then the level ends and the proposal is withdrawn."""
    world.feed(streams.shifted("language"), 800)
    world.feed(streams.usual(), 2000)
    assert world.state().level == "none"
    assert trail(world)[-1][1] == "none"
    with reading(world.database) as conn:
        assert drift.stopped(conn) == set()
        assert drift.proposals(conn)[0].status == "withdrawn"


def test_slower_answers_are_told_and_do_not_stop_routing(world: World) -> None:
    """The router weighs latency by itself."""
    world.feed(streams.shifted("slower"), 800)
    assert world.state().level == "notify"
    assert any("total ms" in reason for reason in world.state().reasons)
    with reading(world.database) as conn:
        assert drift.stopped(conn) == set()


def compare(world: World, agreed: list[float]) -> None:
    """Comparisons with the hosted model, and a turn that counts them."""
    with writing(world.database) as conn:
        for number, value in enumerate(agreed):
            pair = Pair(f"p{world.now}-{number}", "req", *PLACE, "openai/gpt-4o-mini", value, "exact", world.now + number / 1000, None)
            shadow_pairs.put(conn, pair)
    world.feed(streams.usual(), 1)
    world.feed(streams.usual(), 1)


def test_disagreement_with_the_hosted_model_stops_routing(world: World) -> None:
    """Comparisons are counted once each; from mostly agreeing to mostly not is found within some dozens."""
    compare(world, ([1.0] * 9 + [0.0]) * 20)
    assert world.state().level == "none"
    assert world.state().report["baseline"]["pairs"] >= 48
    compare(world, [1.0, 0.0, 0.0] * 60)
    state = world.state()
    assert state.level in {"stop", "retrain"}
    assert any(reason.startswith("disagreement: usually ") for reason in state.reasons)
    assert next(each for each in state.report["features"] if each["feature"] == "disagreement")["n"] == 376  # those of the last look


def test_another_process_goes_on_where_one_ended(world: World) -> None:
    """What a monitor counts and decides does not depend on what it has in memory."""
    twin = World.__new__(World)
    for name in ("config", "database", "rng", "_sent"):
        setattr(twin, name, getattr(world, name))
    twin.now = world.now
    twin.monitor = Monitor(world.database, lambda: twin.now)
    before = world.state()
    twin.feed(streams.shifted("keys"), 100)
    world.now = twin.now
    world._sent = twin._sent
    world.feed(streams.shifted("keys"), 60)
    state = world.state()
    assert state.samples == before.samples + 160
    assert state.level == "stop"
    with reading(world.database) as conn:
        found = drift.windows(conn, PLACE)
    assert found["output"].body["baseline"][0] == found["output"].n >= 2048
    assert conn.closed


def test_a_turn_that_fails_counts_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples stay, and are counted once by the next turn."""
    before = world.state().samples
    with monkeypatch.context() as broken:
        broken.setattr(drift, "put_state", lambda *_: (_ for _ in ()).throw(OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            world.feed(streams.usual(), 100)
    assert world.state().samples == before
    world.monitor.turn(world.config)
    assert world.state().samples == before + 100


def test_a_new_version_begins_with_the_traffic_at_its_promotion(world: World) -> None:
    """Its input baseline is what the route saw last, whoever answered, so that a shift which led to it is no shift for it."""
    world.feed(streams.shifted("language"), 1200)
    assert world.state().level == "retrain"
    promoted(world.database, 2, world.now)
    second = ("triage", "triage", 2)
    world.feed(streams.shifted("language"), 1500, place=second)
    assert world.state(second).level == "none"
    assert world.state(second).report["baseline"]["input"] >= 1024
    world.feed(streams.shifted("intent"), 1500, place=second)
    assert world.state(second).level in {"stop", "retrain"}


def test_an_operator_accepts_the_traffic_as_it_is(world: World) -> None:
    """The level ends, a new baseline begins with what the route saw last, and the audit trail has who and why."""
    world.feed(streams.shifted("language"), 1200)
    with writing(world.database) as conn:
        monitor.accept(conn, PLACE, "we sell in France now", "ops", world.now)
    assert world.state().level == "none"
    world.feed(streams.shifted("language"), 1000)
    assert world.state().level == "none"
    with reading(world.database) as conn:
        line = [line for line in registry.trail(conn) if line["verb"] == "drift"][-1]
        assert drift.proposals(conn)[0].status == "withdrawn"
    assert (line["actor"], line["detail"]["accepted"]) == ("ops", True)
    assert "we sell in France now" in line["reason"]


def test_where_it_may_not_act_it_only_tells(tmp_path: Path) -> None:
    """`act: false` on the route: the level stays at notify."""
    world = World(tmp_path, {"route": {"drift": {"act": False}}})
    world.feed(streams.usual(), 2500)
    world.feed(streams.shifted("keys"), 600)
    assert world.state().level == "notify"
    with reading(world.database) as conn:
        assert drift.stopped(conn) == set()
        assert alerts.of_period(conn, 0.0) == []
    world.database.dispose()


def test_samples_of_others_are_dropped(tmp_path: Path) -> None:
    """Routes that are not configured or not watched, and versions that are not in use, leave nothing behind."""
    world = World(tmp_path, {"route": {"drift": {"enabled": False}}})
    world.feed(streams.usual(), 100)
    world.feed(streams.usual(), 100, place=("gone", "triage", 1))
    with reading(world.database) as conn:
        assert drift.states(conn) == []
        assert conn.execute(select(drift_samples)).all() == []
        assert conn.execute(select(drift_windows)).all() == []
    world.database.dispose()


def test_what_is_old_is_forgotten(world: World) -> None:
    """Samples nobody counted go after an hour, states and counts of what is gone after a month."""
    world._put([streams.usual()[0]], 1.0, PLACE)
    assert monitor.forget(world.database, world.now + 10.0) == 0
    assert monitor.forget(world.database, world.now + 2 * drift.KEPT_S) == 1
    assert monitor.forget(world.database, world.now + drift.GONE_S + 1.0) > 0
    with reading(world.database) as conn:
        assert drift.states(conn) == []
        assert drift.windows(conn, PLACE) == {}
        assert drift.windows(conn, ("triage", "", 0)) == {}


def test_nothing_personal_is_kept(world: World) -> None:
    """No word of a mail is in any row."""
    with reading(world.database) as conn:
        rows = [*conn.execute(select(drift_windows)), *drift.states(conn)]
    said = " ".join(map(str, rows)).lower()
    words = {word for ticket in streams.mails()[:200] for word in ticket.text.lower().split() if word.isalpha() and len(word) > 7}
    assert not [word for word in words if word in said and word != "disagreement"]
    assert world.now > NOW
