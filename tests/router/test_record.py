"""router.record: what was decided can be read back and decided again."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import DataError, StateError
from router.policy import decide
from router.record import digest, from_dict, replay, to_dict
from router.types import Decision, Features, Live, Price, Snapshot, Why
from tests.router.worlds import CANARY, HELLO, MINI, NOW, TRIAGE, quick, world, worlds

World = tuple[Features, Snapshot, dict[str, Live]]


def stored(value: Decision | Snapshot) -> dict[str, Any]:
    """The record after a trip through JSON text."""
    read: dict[str, Any] = json.loads(json.dumps(to_dict(value), allow_nan=False))
    return read


@given(worlds(), st.integers(0, 2**64), st.floats(0, 4e9))
def test_records_round_trip_and_replay(given_world: World, seed: int, now: float) -> None:
    """Through JSON and back every bit is there, and the decision comes out the same."""
    features, snapshot, live = given_world
    snapshot = replace(snapshot, digest=digest(snapshot))
    decision = decide(features, snapshot, live, now, seed, "d-1")
    read, read_snapshot = from_dict(Decision, stored(decision)), from_dict(Snapshot, stored(snapshot))
    assert read == decision
    assert read_snapshot == snapshot
    again, same = replay(read, read_snapshot)
    assert same
    assert again == decision


def test_a_snapshot_is_named_by_its_content() -> None:
    """The digest ignores itself and the order of sets, and changes with any content."""
    snapshot, _ = world(MINI, TRIAGE, CANARY)
    name = digest(snapshot)
    assert len(name) == 64
    assert digest(replace(snapshot, digest=name)) == name
    shuffled = replace(TRIAGE, takes=frozenset(sorted(TRIAGE.takes, reverse=True)))
    assert digest(replace(snapshot, candidates=(MINI, shuffled, CANARY))) == name
    others = [
        replace(snapshot, miss_price_factor=3.0),
        replace(snapshot, hosted_budget_left=False),
        replace(snapshot, candidates=(TRIAGE, MINI, CANARY)),
        replace(snapshot, candidates=(replace(MINI, price=Price(1, 2)), TRIAGE, CANARY)),
    ]
    assert len({name, *map(digest, others)}) == 5


def test_a_reason_set_afterwards_does_not_break_a_replay() -> None:
    """The gateway may name a failover as the reason; the choice is still the same."""
    snapshot, live = world(MINI, TRIAGE)
    decision = decide(HELLO, snapshot, live, NOW, 1, "d-1")
    assert replay(replace(decision, reason=Why.FAILOVER), snapshot)[1]


def test_a_changed_outcome_is_seen() -> None:
    """A record whose order is not what the policy gives is not the same."""
    snapshot, live = world(MINI, TRIAGE)
    decision = decide(HELLO, snapshot, live, NOW, 1, "d-1")
    forged = replace(decision, order=tuple(reversed(decision.order)))
    again, same = replay(forged, snapshot)
    assert not same
    assert again.order == decision.order


def test_another_snapshot_is_refused() -> None:
    """A replay on other prices would prove nothing."""
    snapshot, live = world(MINI, TRIAGE)
    snapshot = replace(snapshot, digest=digest(snapshot))
    decision = decide(HELLO, snapshot, live, NOW, 1, "d-1")
    with pytest.raises(StateError, match=snapshot.digest):
        replay(decision, replace(snapshot, miss_price_factor=9.0))


def test_older_and_newer_records_are_read() -> None:
    """Missing fields take their defaults, unknown ones are left out."""
    data = stored(world(MINI)[0])
    del data["pinned"], data["candidates"][0]["sandbox"]
    data["later"] = 1
    data["candidates"][0]["later"] = 1
    assert from_dict(Snapshot, data) == world(MINI)[0]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"route": "r"},
        {"route": "r", "candidates": 3},
        {"route": "r", "candidates": [{"backend": "x", "stage": "odd"}]},
        {"route": "r", "candidates": ["x"]},
        [],
    ],
)
def test_what_is_no_record_is_refused(data: Any) -> None:
    """The error says of what it is no record."""
    with pytest.raises(DataError, match="snapshot"):
        from_dict(Snapshot, data)


def test_live_numbers_of_backends_outside_the_snapshot_are_not_kept() -> None:
    """A record holds what the decision used, in the snapshot's order."""
    snapshot, live = world(MINI, TRIAGE)
    decision = decide(HELLO, snapshot, {**live, "other": quick("other")}, NOW, 1, "d-1")
    assert [state.backend for state in decision.live] == [MINI.backend, TRIAGE.backend]


@given(worlds(), st.booleans())
def test_snapshots_of_before_prices_by_kind_keep_their_digest(given_world: World, priced: bool) -> None:
    """A record without the kinds of price that came later replays under the digest it was stored with; a price that has one has another digest."""
    snapshot = given_world[1]
    before = {key: value for key, value in to_dict(snapshot).items() if key != "digest"}
    for candidate in before["candidates"]:
        del candidate["program_bytes"]
        for name in ("cache_write", "reasoning", "audio_input", "audio_output"):
            if candidate["price"] is not None:
                del candidate["price"][name]
    stored_then = sha256(json.dumps(before, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
    assert digest(from_dict(Snapshot, before)) == digest(snapshot) == stored_then
    dearer = tuple(replace(c, price=replace(c.price, audio_input=0)) if priced and c.price is not None else c for c in snapshot.candidates)
    assert (digest(replace(snapshot, candidates=dearer)) == stored_then) == (dearer == snapshot.candidates)
