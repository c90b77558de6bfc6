"""router.hedge: who may be called beside another, and the dollars of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.hedge import Purse, correct, earn, may_hedge, pay
from router.types import Candidate, Live
from tests.router.worlds import BASE, HELLO, LARGE, MINI, NOW, TRIAGE, UNPRICED, quick

ELSEWHERE = replace(BASE, backend="gpu2", owner="gpu2", model="gpu2")


@given(
    st.floats(0.0, 1.0),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0.0, 1.0), st.floats(0.0, 100.0)), max_size=80),
)
def test_hedges_cost_at_most_their_share(share: float, steps: list[tuple[int, int, float, float]]) -> None:
    """Whatever is spent and hedged, and whenever: the sum of hedges never exceeds the share of what was spent by then."""
    purse, now, spent, hedged = Purse(), 0.0, 0, 0
    for cost, wanted, part, pause in steps:
        now += pause
        purse = earn(purse, cost, share, now)
        spent += cost
        paid = pay(purse, wanted, now)
        if paid is not None:
            came_to = int(wanted * part)
            purse = correct(paid, wanted, came_to)
            hedged += came_to
        assert hedged <= share * spent + 1e-6


def test_a_purse_is_used_and_forgotten() -> None:
    """It starts empty; half of it is forgotten in ten minutes; a debt is not, and is paid off before the next hedge."""
    assert pay(Purse(), 1, NOW) is None
    full = earn(Purse(), 2_000, 0.5, NOW)
    assert full.nanousd == 1_000
    assert pay(full, 1_000, NOW) == Purse(0, NOW)
    assert pay(full, 1_001, NOW) is None
    assert pay(full, 501, NOW + 600.0) is None
    assert pay(full, 500, NOW + 600.0) is not None
    debt = correct(Purse(0, NOW), 100, 400)
    assert debt.nanousd == -300
    assert earn(debt, 400, 0.5, NOW + 3_600.0).nanousd == -100


def test_what_costs_nothing_is_always_there() -> None:
    """A hedge on an engine, also when hosted hedges are in debt."""
    assert pay(Purse(-50, NOW), 0, NOW) == Purse(-50, NOW)


def test_a_clock_that_steps_back_makes_no_dollars() -> None:
    """Nothing grows by forgetting."""
    purse = earn(Purse(), 100, 1.0, NOW)
    assert earn(purse, 0, 1.0, NOW - 1_000.0) == purse


@pytest.mark.parametrize(
    ("live", "may"),
    [
        ({}, True),
        ({"healthy": False}, False),
        ({"breaker": "open"}, False),
        ({"breaker": "half_open"}, False),
        ({"retry_at": NOW + 1.0}, False),
        ({"retry_at": NOW}, True),
        ({"requests_left": 0}, False),
        ({"requests_left": 1}, True),
        ({"tokens_left": 10}, False),
    ],
)
def test_a_hedge_tries_no_luck(live: dict[str, object], may: bool) -> None:
    """Only who is known to be well is called beside another."""
    assert may_hedge(HELLO, MINI, LARGE, replace(quick("x"), **live), NOW) is may  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "other", "live", "may"),
    [
        (MINI, UNPRICED, quick("x"), False),
        (UNPRICED, MINI, quick("x"), True),
        (MINI, TRIAGE, quick("x"), True),
        (MINI, TRIAGE, replace(quick("x"), in_flight=8), False),
        (MINI, TRIAGE, replace(quick("x"), in_flight=4, others_in_flight=4), False),
        (BASE, TRIAGE, quick("x"), False),
        (ELSEWHERE, TRIAGE, quick("x"), True),
        (TRIAGE, MINI, quick("x"), True),
    ],
)
def test_a_hedge_displaces_nobody(first: Candidate, other: Candidate, live: Live, may: bool) -> None:
    """An engine has a free slot and is not the same one; a provider's price is known."""
    assert may_hedge(HELLO, first, other, live, NOW) is may
