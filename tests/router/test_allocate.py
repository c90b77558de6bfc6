"""router.allocate: the parts sum to the bill, to the nano-dollar."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.allocate import Others, Work, minute_allocation, spread

weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=40)
totals = st.integers(-(10**13), 10**13)


@given(totals, weights)
def test_nothing_is_lost_or_made(total: int, given_weights: list[int]) -> None:
    """The parts sum exactly, and each is within one unit of its exact share."""
    parts = spread(total, given_weights)
    assert sum(parts) == total
    whole = sum(given_weights)
    if whole:
        assert all(abs(part * whole - total * weight) < whole for part, weight in zip(parts, given_weights, strict=True))
        assert all(part == 0 for part, weight in zip(parts, given_weights, strict=True) if weight == 0)


@given(totals, weights)
def test_more_work_never_pays_less(total: int, given_weights: list[int]) -> None:
    """Parts are ordered as weights are."""
    paid = sorted(zip(given_weights, (abs(part) for part in spread(total, given_weights)), strict=True))
    assert all(a[1] <= b[1] for a, b in pairwise(paid) if a[0] < b[0])


def test_the_rest_goes_to_the_largest_remainders() -> None:
    """Ten over three equal parts, and over 1:2:4; without work, equal parts; debts like bills."""
    assert spread(10, [1, 1, 1]) == [4, 3, 3]
    assert spread(10, [1, 2, 4]) == [1, 3, 6]
    assert spread(5, [0, 0]) == [3, 2]
    assert spread(-10, [1, 2, 4]) == [-1, -3, -6]
    assert spread(0, []) == []


@pytest.mark.parametrize(("total", "bad"), [(1, []), (1, [1, -1])])
def test_what_cannot_be_spread_is_refused(total: int, bad: Sequence[int]) -> None:
    """Nobody to pay, or a negative share."""
    with pytest.raises(ValueError, match=r"spread|negative"):
        spread(total, bad)


def test_idle_time_is_its_own_line() -> None:
    """Busy for 15 of 60 seconds (overlaps counted once): a quarter of the bill, by work; the rest is idle."""
    requests: list[Work] = [("a", 0.0, 10.0, 1.0, 2.0), ("b", 5.0, 15.0, 0.5, 0.5)]
    assert minute_allocation(4_000, 60.0, requests) == ({"a": 750, "b": 250}, 0, 3_000)


def test_an_empty_minute_is_all_idle() -> None:
    """No requests, no time in flight, or a GPU that was not up: nobody pays."""
    assert minute_allocation(4_000, 60.0, []) == ({}, 0, 4_000)
    assert minute_allocation(4_000, 60.0, [("a", 5.0, 5.0, 1.0, 1.0), ("b", 9.0, 8.0, 1.0, 1.0)]) == ({}, 0, 4_000)
    assert minute_allocation(0, 0.0, [("a", 0.0, 5.0, 1.0, 1.0)]) == ({}, 0, 0)


def test_a_full_minute_leaves_nothing_idle() -> None:
    """In flight for at least as long as the GPU was up; a request without work among workers pays nothing."""
    assert minute_allocation(999, 30.0, [("a", 0.0, 31.0, 1.0, 0.0), ("b", 0.0, 1.0, 0.0, 0.0)]) == ({"a": 999, "b": 0}, 0, 0)


def test_a_long_request_pays_in_each_minute_it_ran_in() -> None:
    """Cut to the window, its work with it; outside it pays nothing."""
    requests: list[Work] = [("long", 30.0, 90.0, 0.0, 6.0), ("short", 60.0, 90.0, 0.0, 1.0), ("past", 0.0, 59.0, 1.0, 1.0), ("instant", 70.0, 70.0, 0.0, 1.0)]
    amounts, foreign, idle = minute_allocation(1_000, 60.0, requests, window=(60.0, 120.0))
    assert amounts == {"long": 300, "short": 100, "instant": 100}
    assert (foreign, idle) == (0, 500)


@st.composite
def minutes(draw: st.DrawFn) -> list[Work]:
    """Requests around one minute, some repeated ids, some inside, some across its borders."""
    requests = []
    for i in range(draw(st.integers(0, 20))):
        start = draw(st.floats(-60, 120))
        work = st.floats(0, 1e6)
        requests.append((f"r{i % 7}", start, start + draw(st.floats(0, 200)), draw(work), draw(work)))
    return requests


others = st.builds(Others, st.one_of(st.just(0.0), st.floats(0, 1e7)), st.floats(0, 90))


@given(st.integers(0, 10**12), st.floats(0, 60), minutes(), others)
def test_a_minute_sums_to_its_bill(bill: int, up: float, requests: list[Work], beside: Others) -> None:
    """Amounts, work of others and idle sum exactly to the bill and none is negative."""
    for window in (None, (0.0, 60.0)):
        amounts, foreign, idle = minute_allocation(bill, up, requests, window, beside)
        assert sum(amounts.values()) + foreign + idle == bill
        assert min(foreign, idle, 0, *amounts.values()) == 0


@given(st.integers(0, 10**12), st.floats(0, 60), minutes(), others)
def test_work_of_others_never_makes_a_request_dearer(bill: int, up: float, requests: list[Work], beside: Others) -> None:
    """Each request pays at most what it would have paid alone (to the nano-dollar that rounding may move); without work of others the minute is as ever."""
    alone = minute_allocation(bill, up, requests, (0.0, 60.0))
    shared = minute_allocation(bill, up, requests, (0.0, 60.0), beside)
    assert alone.foreign == 0
    assert sum(shared.amounts.values()) <= sum(alone.amounts.values())
    assert all(amount <= alone.amounts[name] + requests_of(requests, name) for name, amount in shared.amounts.items())
    if beside.work == 0.0:
        assert shared == alone


def requests_of(requests: list[Work], name: str) -> int:
    """How many requests share a name: each is rounded by itself."""
    return sum(request[0] == name for request in requests)


def test_others_pay_beside_and_beyond() -> None:
    """Ours ran for 15 of 60 s, the engine was busy for 30: half of the others' work fell beside ours and pays by work, the other half pays its time alone."""
    requests: list[Work] = [("a", 0.0, 15.0, 10.0, 0.0)]
    assert minute_allocation(6_000, 60.0, requests, None, Others(20.0, 30.0)) == ({"a": 750}, 2_250, 3_000)
    assert minute_allocation(6_000, 60.0, [], None, Others(20.0, 30.0)) == ({}, 3_000, 3_000)
    assert minute_allocation(6_000, 60.0, requests, None, Others(10.0, 5.0)) == ({"a": 750}, 750, 4_500), "seen busy for less than ours ran"
    assert minute_allocation(6_000, 60.0, requests, None, Others(0.0, 60.0)) == ({"a": 1_500}, 0, 4_500), "no work is no one"
