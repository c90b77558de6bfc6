"""Limits of keys and budgets of routes: reserve, settle, and what cannot be exceeded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import Limits
from gateway.store.keys import Key
from router.errors import LimitError

KEY = Key("key_1", "team", "bk-x", None, None, None, None, None, None, None, 0.0, None)
DAY = 86_400.0


def test_without_limits_nothing_is_counted() -> None:
    """No key and a key without limits pass at no cost, and have no headers."""
    limits = Limits()
    for key in (None, KEY):
        hold = limits.reserve(key, "r", 100, 0.0)
        limits.settle(hold, 100, 5, 0.0)
        assert limits.headers(key, 0.0) == []


def test_requests_per_minute() -> None:
    """A minute's allowance at once, then one every 60/rpm seconds."""
    limits, key = Limits(), replace(KEY, rpm=2)
    for _ in range(2):
        limits.settle(limits.reserve(key, None, 0, 0.0), 0, 0, 0.0)
    with pytest.raises(LimitError) as caught:
        limits.reserve(key, None, 0, 10.0)
    assert caught.value.retry_after_s == pytest.approx(20.0)
    assert "Rate limit reached" in caught.value.message
    limits.reserve(key, None, 0, 30.0)


def test_tokens_per_minute_settle_to_what_was_used() -> None:
    """More than expected is a debt, less is given back."""
    limits, key = Limits(), replace(KEY, tpm=600)
    first = limits.reserve(key, None, 100, 0.0)
    limits.settle(first, 600, 0, 0.0)
    with pytest.raises(LimitError) as caught:
        limits.reserve(key, None, 100, 0.0)
    assert caught.value.retry_after_s == pytest.approx(10.0)
    second = limits.reserve(key, None, 100, 10.0)
    limits.settle(second, 0, 0, 10.0)
    limits.reserve(key, None, 100, 10.0)


def test_a_request_larger_than_a_minute_is_let_in_once() -> None:
    """Otherwise it could never be answered; the debt is worked off afterwards."""
    limits, key = Limits(), replace(KEY, tpm=100)
    limits.settle(limits.reserve(key, None, 300, 0.0), 300, 0, 0.0)
    with pytest.raises(LimitError) as caught:
        limits.reserve(key, None, 1, 60.0)
    assert caught.value.retry_after_s == pytest.approx(60.6)


def test_concurrency() -> None:
    """A place is free again once the request is settled, and settling twice frees no second one."""
    limits, key = Limits(), replace(KEY, concurrency=1)
    hold = limits.reserve(key, None, 0, 0.0)
    with pytest.raises(LimitError):
        limits.reserve(key, None, 0, 0.0)
    limits.settle(hold, 0, 0, 0.0)
    limits.settle(hold, 0, 0, 0.0)
    limits.reserve(key, None, 0, 0.0)
    with pytest.raises(LimitError):
        limits.reserve(key, None, 0, 0.0)


def test_headers_in_openais_format() -> None:
    """limit, remaining and reset for requests and tokens."""
    limits, key = Limits(), replace(KEY, rpm=60, tpm=6000)
    limits.reserve(key, None, 3000, 0.0)
    got = dict(limits.headers(key, 0.0))
    assert got[b"x-ratelimit-limit-requests"] == b"60"
    assert got[b"x-ratelimit-remaining-requests"] == b"59"
    assert got[b"x-ratelimit-reset-requests"] == b"1s"
    assert got[b"x-ratelimit-remaining-tokens"] == b"3000"
    assert got[b"x-ratelimit-reset-tokens"] == b"30s"
    slow = replace(KEY, id="key_2", rpm=1)
    limits.reserve(slow, None, 0, 0.0)
    assert dict(limits.headers(slow, 0.0))[b"x-ratelimit-reset-requests"] == b"1m0s"
    assert dict(limits.headers(slow, 59.99))[b"x-ratelimit-reset-requests"] == b"10ms"


def test_a_budget_is_reserved_and_settled() -> None:
    """Dollars that are reserved are not there for others; what was not used is."""
    limits = Limits({"r": 100})
    one, two = (limits.reserve(None, "r", 0, 0.0) for _ in range(2))
    assert limits.commit(one, 70, 0.0)
    assert not limits.commit(two, 40, 0.0)
    assert limits.hosted_left(None, "r", 0.0)
    limits.settle(one, 0, 20, 0.0)
    assert limits.spent_today("r", 0.0) == 20
    assert limits.commit(two, 80, 0.0)
    assert not limits.hosted_left(None, "r", 0.0)
    assert limits.commit(two, 0, 0.0)
    assert limits.hosted_left(None, "other", 0.0)


def test_a_day_ends_at_midnight_utc() -> None:
    """What was spent yesterday does not count; what is under way does."""
    limits, key = Limits({"r": 100}), replace(KEY, nanousd_per_day=100)
    hold = limits.reserve(key, "r", 0, DAY - 1)
    assert limits.commit(hold, 100, DAY - 1)
    limits.settle(hold, 0, 100, DAY - 1)
    assert not limits.hosted_left(key, "r", DAY - 0.5)
    assert limits.hosted_left(key, "r", DAY)
    assert limits.spent_today("r", DAY) == 0
    assert limits.spent_today("nothing", DAY) == 0


def test_what_the_ledger_knows_is_taken_over() -> None:
    """A restart does not give the day's budget out again, and never lowers what is known."""
    limits, key = Limits({"r": 100}), replace(KEY, nanousd_per_day=50)
    limits.preset({"r": 60}, {"key_1": 50}, 0.0)
    limits.preset({"r": 10}, {}, 0.0)
    assert limits.spent_today("r", 0.0) == 60
    assert not limits.hosted_left(key, "r", 0.0)
    assert limits.hosted_left(None, "r", 0.0)


@given(costs=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=40))
def test_expected_costs_never_pass_the_budget(costs: list[tuple[int, int, bool]]) -> None:
    """Whatever order requests come and go in: with honest expectations the day's sum stays within the budget."""
    limits, running, spent = Limits({"r": 200}), [], 0
    for expected, actual, ends in costs:
        hold = limits.reserve(None, "r", 0, 0.0)
        if limits.hosted_left(None, "r", 0.0) and limits.commit(hold, expected, 0.0):
            running.append((hold, min(actual, expected)))
        if ends and running:
            done, cost = running.pop(0)
            limits.settle(done, 0, cost, 0.0)
            spent += cost
    for done, cost in running:
        limits.settle(done, 0, cost, 0.0)
        spent += cost
    assert limits.spent_today("r", 0.0) == spent <= 200
