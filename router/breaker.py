"""The circuit breaker of one backend: a pure transition table over frozen states. Not here: dropping candidates (router.gates), counting calls in flight.

closed     calls go through; failures and slow calls are counted, fading with time
open       nothing is sent until `open_until`; results that arrive late are ignored
half_open  from `open_until` on: one call at a time is let through (router.gates) until `PROBES` went well; calls from before do not count

Where a request has nobody else to go to, even an open circuit is probed, at a bounded rate (`probe_due`): such a probe may bring the circuit to half_open
before its time, and takes nothing from it when it fails.

What counts as a failure is the caller's decision: errors of the backend do, a client's mistakes (4xx) do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp2
from typing import Literal

from router.quick import quick

Phase = Literal["closed", "open", "half_open"]
Event = Literal["good", "bad", "trip"]

IN_A_ROW = 5  # this many bad calls in a row open the circuit, however few calls there are
LEAST_CALLS = 10.0  # below this decayed count a rate says nothing
BAD_RATE = 0.5
SLOW_RATE = 0.8  # a slow answer is still an answer: more of them are needed
HALF_LIFE_S = 10.0
FIRST_OPEN_S = 5.0
LONGEST_OPEN_S = 60.0
PROBES = 2
PROBE_EVERY_S = 1.0  # between two probes for requests that have nobody else; also what the others are told to wait

# (phase, event) -> next phase. `trip` is a bad call that exhausted the patience of the closed phase; `good` in half_open closes after PROBES.
TABLE: dict[tuple[Phase, Event], Phase] = {
    ("closed", "good"): "closed",
    ("closed", "bad"): "closed",
    ("closed", "trip"): "open",
    ("open", "good"): "open",
    ("open", "bad"): "open",
    ("open", "trip"): "open",
    ("half_open", "good"): "half_open",
    ("half_open", "bad"): "open",
    ("half_open", "trip"): "open",
}


@quick
@dataclass(frozen=True, slots=True)
class BreakerState:
    """Decayed counts of a closed circuit, or how long an open one stays open. `retry_at`: the backend asked not to be called before (429, 503)."""

    opened: bool = False
    open_until: float = 0.0
    open_s: float = FIRST_OPEN_S
    probes: int = 0
    calls: float = 0.0
    bad: float = 0.0
    slow: float = 0.0
    bad_in_a_row: int = 0
    at: float = 0.0
    retry_at: float | None = None


def view(state: BreakerState, now: float) -> Phase:
    """The phase of the circuit at `now`."""
    if not state.opened:
        return "closed"
    return "open" if now < state.open_until else "half_open"


def on_result(state: BreakerState, ok: bool, slow: bool, now: float) -> BreakerState:
    """The state after a call ended at `now`: `ok` False is a failure of the backend, `slow` an answer that came later than it should."""
    phase = view(state, now)
    if phase == "closed":
        counted = _count(state, ok, slow, now)
        return _open(counted, FIRST_OPEN_S, now) if TABLE[phase, _event(counted, ok and not slow)] == "open" else counted
    if phase == "open":
        return state
    if TABLE[phase, "good" if ok and not slow else "bad"] == "open":
        return _open(state, min(state.open_s * 2.0, LONGEST_OPEN_S), now)
    if state.probes + 1 >= PROBES:
        return BreakerState(at=now, retry_at=state.retry_at)
    return BreakerState(True, state.open_until, state.open_s, state.probes + 1, at=now, retry_at=state.retry_at)


def on_probe(state: BreakerState, ok: bool, slow: bool, now: float) -> BreakerState:
    """The state after a call ended that was let through although the circuit was not closed. It is never a late result."""
    if view(state, now) != "open":
        return on_result(state, ok, slow, now)
    if not ok or slow:
        return state
    return on_result(BreakerState(True, now, state.open_s, state.probes, at=now, retry_at=state.retry_at), ok, slow, now)


def probe_due(state: BreakerState, under_way: int, last_began: float, now: float) -> bool:
    """Whether a request that has nobody else may try a circuit that is not closed: one at a time, and not more than one in `PROBE_EVERY_S`."""
    return state.opened and not under_way and now - last_began >= PROBE_EVERY_S


def on_retry_after(state: BreakerState, until: float) -> BreakerState:
    """The state after the backend asked not to be called before `until`. An earlier request for a longer pause stands."""
    later = until if state.retry_at is None else max(state.retry_at, until)
    return BreakerState(state.opened, state.open_until, state.open_s, state.probes, state.calls, state.bad, state.slow, state.bad_in_a_row, state.at, later)


def _count(state: BreakerState, ok: bool, slow: bool, now: float) -> BreakerState:
    keep = exp2(-max(now - state.at, 0.0) / HALF_LIFE_S)
    return BreakerState(
        calls=state.calls * keep + 1.0,
        bad=state.bad * keep + (0.0 if ok else 1.0),
        slow=state.slow * keep + (1.0 if slow else 0.0),
        bad_in_a_row=0 if ok else state.bad_in_a_row + 1,
        at=max(now, state.at),
        retry_at=state.retry_at,
    )


def _event(counted: BreakerState, fine: bool) -> Event:
    if fine:
        return "good"
    enough = counted.calls >= LEAST_CALLS
    failing = counted.bad_in_a_row >= IN_A_ROW or (enough and counted.bad >= BAD_RATE * counted.calls)
    crawling = enough and counted.slow >= SLOW_RATE * counted.calls
    return "trip" if failing or crawling else "bad"


def _open(state: BreakerState, open_s: float, now: float) -> BreakerState:
    return BreakerState(opened=True, open_until=now + open_s, open_s=open_s, at=now, retry_at=state.retry_at)
