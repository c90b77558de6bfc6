"""The tables of drift on both databases."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from gateway.store import drift
from gateway.store.drift import Sample, State, Window
from serving.database import reading, writing

PLACE = ("r", "a", 1)


def state(level: drift.Level, version: int = 1, at: float = 5.0) -> State:
    return State(("r", "a", version), level, at, ("why",), "told", at, 7, {"features": []}, {"x": 1}, at)


def test_samples_are_taken_once_and_in_order(database: Engine) -> None:
    """The oldest first; one that is inserted twice is there once."""
    some = [Sample(f"req_{number}", 100.0 - number, "r", "a", 1, (number, None)) for number in range(5)]
    with writing(database) as conn:
        drift.lock(conn)
        drift.insert_samples(conn, [*some, some[0]])
        assert drift.waiting(conn)
        assert [sample.time for sample in drift.take_samples(conn, 3)] == [96.0, 97.0, 98.0]
        assert drift.take_samples(conn, 10) == [some[1], some[0]]
        assert not drift.waiting(conn)


def test_states_say_who_is_stopped(database: Engine) -> None:
    """Written, written over, read; stop and retrain are stopped, shadow is compared more."""
    levels: tuple[drift.Level, ...] = ("none", "notify", "shadow", "stop", "retrain")
    with writing(database) as conn:
        for version, level in enumerate(levels, 1):
            drift.put_state(conn, state("none", version))
            drift.put_state(conn, state(level, version))
    with reading(database) as conn:
        assert drift.states(conn, "r") == [state(level, version) for version, level in enumerate(levels, 1)]
        assert drift.states(conn, "other") == []
        assert drift.stopped(conn) == {("r", "a", 4), ("r", "a", 5)}
        assert drift.shadowed(conn) == {("r", "a", 3), ("r", "a", 4), ("r", "a", 5)}
    with writing(database) as conn:
        drift.forget(conn, 1e12)


def test_windows_and_proposals(database: Engine) -> None:
    """Counts by part; one open proposal for each version, renewed and withdrawn."""
    with writing(database) as conn:
        drift.put_window(conn, Window(PLACE, "input", 1, [1]), 5.0)
        drift.put_window(conn, Window(PLACE, "input", 2, [2]), 6.0)
        drift.put_window(conn, Window(PLACE, "input-003", 3, [3]), 6.0)
        assert {part: window.n for part, window in drift.windows(conn, PLACE).items()} == {"input": 2, "input-003": 3}
        drift.drop_windows(conn, PLACE)
        assert drift.windows(conn, PLACE) == {}
        first = drift.propose(conn, PLACE, 1.0, {"reasons": ["a"]}, 10.0)
        assert drift.propose(conn, PLACE, 2.0, {"reasons": ["b"]}, 11.0) == first
        drift.withdraw(conn, PLACE)
        second = drift.propose(conn, PLACE, 3.0, {"reasons": ["c"]}, 12.0)
        found = drift.proposals(conn, "r")
        assert [(proposal.id, proposal.status, proposal.since) for proposal in found] == [(second, "open", 3.0), (first, "withdrawn", 1.0)]
        assert found[1].summary == {"reasons": ["b"]}
        drift.put_window(conn, Window(PLACE, "output", 1, [1]), 6.0)
        assert drift.forget(conn, 1e12) == 3
        assert drift.proposals(conn) == []
    assert replace(state("none"), samples=8) != state("none")
