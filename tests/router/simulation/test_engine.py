"""The simulated engine: times that can be worked out by hand, and nothing lost whatever happens."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.simulation.engine import EngineShape, Event, Job, Replica

# A step takes ten milliseconds, whatever is in it.
FLAT = EngineShape(step_ms=((1, 10.0), (4096, 10.0)), overhead_ms=0.0, kv_us=0.0, most_seqs=2, most_batched=100, kv_tokens=1000)


def run(replica: Replica) -> list[Event]:
    events: list[Event] = []
    while replica.next_at < inf:
        events += replica.advance(replica.next_at)
    return events


def test_one_request() -> None:
    """250 tokens of prompt in chunks of 100 are three steps, the first token is there then, nine more steps for ten tokens."""
    replica = Replica(FLAT)
    replica.submit(Job(1, 250, 10, 250), 5.0)
    assert [(event.key, event.done, round(event.at, 6)) for event in run(replica)] == [(1, False, 5.03), (1, True, 5.12)]
    assert replica.busy_s == pytest.approx(0.12)
    assert (replica.running, replica.kv_share) == (0, 0.0)


def test_a_step_costs_what_is_in_it() -> None:
    """Tokens between two entries of the table are interpolated, beyond the last in proportion; the cache is read for every sequence."""
    shape = EngineShape(step_ms=((1, 5.0), (11, 15.0), (100, 100.0)), overhead_ms=1.0, kv_us=2.0)
    assert shape.step_s(6, 0) == pytest.approx(0.011)
    assert shape.step_s(1, 0) == pytest.approx(0.006)
    assert shape.step_s(200, 0) == pytest.approx(0.201)
    assert shape.step_s(1, 1000) == pytest.approx(0.008)


def test_who_does_not_fit_waits() -> None:
    """Two at a time, first come first served; and nobody whose answer does not fit the cache."""
    replica = Replica(FLAT)
    for key in range(3):
        replica.submit(Job(key, 10, 5, 10), 0.0)
    assert [event.key for event in run(replica) if event.done] == [0, 1, 2]
    tight = Replica(FLAT)
    tight.submit(Job(0, 10, 400, 500), 0.0)
    tight.submit(Job(1, 10, 5, 200), 0.001)
    tight.advance(0.5)
    assert (tight.running, len(tight.waiting)) == (1, 1)
    assert [event.key for event in run(tight) if event.done] == [0, 1]


def test_a_newcomer_is_let_in_at_the_next_step() -> None:
    """Steps that were to be taken at once are cut short when somebody comes."""
    replica = Replica(FLAT)
    replica.submit(Job(0, 10, 30, 10), 0.0)
    replica.advance(0.011)
    replica.submit(Job(1, 10, 2, 10), 0.034)
    done = {event.key: round(event.at, 6) for event in run(replica) if event.done}
    assert done == {1: 0.06, 0: 0.3}


def test_gone_dead_and_slow() -> None:
    """A cancelled sequence makes room; a dead replica names what died with it and starts empty; a slow one takes longer."""
    replica = Replica(FLAT)
    for key in range(3):
        replica.submit(Job(key, 10, 50, 10), 0.0)
    replica.advance(0.1)
    replica.cancel(0)
    replica.cancel(2)
    assert [event.key for event in run(replica) if event.done] == [1]
    replica.submit(Job(7, 10, 50, 10), 9.0)
    replica.submit(Job(8, 10, 50, 10), 9.0)
    assert replica.kill(9.1) == [7, 8]
    assert replica.next_at == inf
    replica.slow = 2.0
    replica.submit(Job(9, 10, 5, 10), 10.0)
    assert [round(event.at, 6) for event in run(replica)] == [10.02, 10.1]


def test_slots() -> None:
    """As many as decode at nearly full speed."""
    assert FLAT.slots() == 2
    assert 60 < EngineShape().slots() < 128


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 400), st.integers(1, 60)), max_size=40), st.integers(1, 8))
def test_everybody_is_served(jobs: list[tuple[float, int, int]], seqs: int) -> None:
    """Each job has one first token and one end, after its arrival and in that order, and no schedule does with less work than the bound says."""
    shape = EngineShape(most_seqs=seqs, kv_tokens=5000)
    replica = Replica(shape)
    events: list[Event] = []
    arrivals = {}
    for key, (at, entered, made) in enumerate(sorted(jobs)):
        events += replica.advance(at)
        replica.submit(Job(key, entered, made, entered), at)
        arrivals[key] = at
    events += run(replica)
    first = {event.key: event.at for event in events if not event.done}
    done = {event.key: event.at for event in events if event.done}
    assert first.keys() == done.keys() == arrivals.keys()
    assert len(events) == 2 * len(jobs)
    assert all(arrivals[key] < first[key] <= done[key] for key in done)
    assert [event.at for event in events] == sorted(event.at for event in events)
    for mixed in (0.0, 0.3, 1.0):
        assert replica.busy_s >= sum(shape.least_work_s(entered, made, mixed) for _, entered, made in jobs) * (1 - 1e-12)
    assert (replica.kv, replica.kv_share) == (0, 0.0)


def test_adapters_wait_for_a_slot() -> None:
    """Two adapters on one slot: the second is passed over until the first is done, and loading it stalls the step; the first's next request does not wait."""
    replica = Replica(EngineShape(lora_slots=1, lora_load_ms=500.0))
    replica.submit(Job(0, 100, 50, 100, adapter=1), 0.0)
    replica.submit(Job(1, 100, 5, 100, adapter=2), 0.01)
    replica.submit(Job(2, 100, 5, 100, adapter=1), 0.02)
    events = replica.advance(100.0)
    done = {event.key: event.at for event in events if event.done}
    assert list(done) == [2, 0, 1]
    assert done[1] > done[0] + 0.5
