"""router.breaker: when a backend is left alone, and how it comes back."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.breaker import FIRST_OPEN_S, LONGEST_OPEN_S, PROBE_EVERY_S, TABLE, BreakerState, on_probe, on_result, on_retry_after, probe_due, view


def after(results: str, state: BreakerState | None = None, start: float = 100.0, every: float = 0.1) -> tuple[BreakerState, float]:
    """The state after a string of results: `.` good, `x` failed, `s` slow."""
    now, state = start, state or BreakerState()
    for result in results:
        state = on_result(state, result != "x", result == "s", now)
        now += every
    return state, now


def test_the_table_is_total() -> None:
    """Every phase answers every event."""
    assert set(TABLE) == set(product(("closed", "open", "half_open"), ("good", "bad", "trip")))


@pytest.mark.parametrize("results", ["....", "xxxx", "xxxx.xxxx.", ".x.x.x.x", "ssss", "......ssss"])
def test_what_a_closed_circuit_bears(results: str) -> None:
    """Four failures in a row, an even mix of few calls, some slow answers: still closed."""
    state, now = after(results)
    assert view(state, now) == "closed"


@pytest.mark.parametrize("results", ["xxxxx", "..........xxxxx", "xx.xx.xx.xx.xx.", "ssssssssssss"])
def test_what_opens_it(results: str) -> None:
    """Five failures in a row, half of ten or more calls failing, nearly all of them slow."""
    state, now = after(results)
    assert view(state, now) == "open"


def test_rare_failures_over_a_day_do_not_add_up() -> None:
    """Two failures, a success, a minute apart: never a rate, never five in a row."""
    state, now = after("xx." * 50, every=60.0)
    assert view(state, now) == "closed"


def test_it_comes_back_through_good_probes() -> None:
    """Open for five seconds, half-open until two calls went well, then closed with a clean slate."""
    state, now = after("xxxxx")
    assert view(state, now + FIRST_OPEN_S - 1.0) == "open"
    now += FIRST_OPEN_S
    assert view(state, now) == "half_open"
    state = on_result(state, True, False, now)
    assert view(state, now) == "half_open"
    state = on_result(state, True, False, now)
    assert view(state, now) == "closed"
    assert view(*after("xxxx", state, now)) == "closed"


@pytest.mark.parametrize("result", ["x", "s"])
def test_a_bad_probe_doubles_the_pause_up_to_a_minute(result: str) -> None:
    """5, 10, 20, 40, 60, 60 seconds; a slow probe is a bad one."""
    state, now = after("xxxxx")
    pauses = []
    for _ in range(6):
        now = state.open_until
        pauses.append(state.open_s)
        state, _ = after(result, state, now)
        assert view(state, now) == "open"
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, LONGEST_OPEN_S]


def test_late_results_do_not_touch_an_open_circuit() -> None:
    """Calls that were on their way when it opened neither close nor prolong it."""
    state, now = after("xxxxx")
    assert on_result(state, True, False, now) == state
    assert on_result(state, False, False, now) == state


def test_a_longer_pause_asked_for_before_stands() -> None:
    """Retry-After is the later of the old and the new instant, and survives results."""
    state = on_retry_after(BreakerState(), 160.0)
    assert on_retry_after(state, 130.0).retry_at == 160.0
    assert on_retry_after(state, 190.0).retry_at == 190.0
    opened, _ = after("xxxxx", state)
    assert opened.retry_at == 160.0
    closed, _ = after("..", opened, opened.open_until)
    assert closed.retry_at == 160.0
    assert on_retry_after(opened, 500.0).open_until == opened.open_until


@given(st.lists(st.tuples(st.sampled_from("..xs"), st.floats(0.0, 30.0)), max_size=60))
def test_it_always_comes_back(results: list[tuple[str, float]]) -> None:
    """Whatever happened, after a minute of quiet and two good calls it is closed."""
    state, now = BreakerState(), 0.0
    for result, pause in results:
        now += pause
        state, _ = after(result, state, now)
    now += LONGEST_OPEN_S
    assert view(state, now) != "open"
    state, now = after("..", state, now)
    assert view(state, now) == "closed"


def test_a_good_probe_brings_an_open_circuit_forward() -> None:
    """Half-open from then on, and the next good one closes it; a bad or slow one takes nothing and gives nothing."""
    state, now = after("xxxxx")
    assert on_probe(state, False, False, now) == state
    assert on_probe(state, True, True, now) == state
    better = on_probe(state, True, False, now)
    assert (view(better, now), better.open_s) == ("half_open", state.open_s)
    assert view(on_probe(better, True, False, now), now) == "closed"
    assert view(on_probe(better, False, False, now), now) == "open"
    assert view(on_probe(better, True, True, now), now) == "open"


def test_a_probe_that_ends_after_the_circuit_closed_is_a_call_like_any_other() -> None:
    """It counts once."""
    assert on_probe(BreakerState(), True, False, 5.0) == on_result(BreakerState(), True, False, 5.0)


@pytest.mark.parametrize(("under_way", "since", "due"), [(0, PROBE_EVERY_S, True), (0, PROBE_EVERY_S - 0.1, False), (1, 60.0, False), (0, float("inf"), True)])
def test_probes_are_rare(under_way: int, since: float, due: bool) -> None:
    """One at a time, one in a second, and none of a closed circuit."""
    state, now = after("xxxxx")
    assert probe_due(state, under_way, now - since, now) is due
    assert not probe_due(BreakerState(), under_way, now - since, now)
