"""Limits of keys and budgets of keys, routes and tags: reserve, settle, and what cannot be exceeded."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule, run_state_machine_as_test

from gateway import pool, quotas
from gateway.limits import Hold, Limits
from gateway.pool import Pool
from gateway.quotas import Budget, Budgets
from gateway.store.keys import Key
from router.errors import LimitError

KEY = Key("key_1", "team", "bk-x", None, None, None, None, None, None, None, 0.0, None)
DAY = 86_400.0
R = Budget("route", "r", "r", "day", 100)


def one_route(nanousd: int = 100) -> Limits:
    return Limits(Budgets({"r": (replace(R, nanousd=nanousd),)}))


def spent(limits: Limits, budget: Budget = R, now: float = 0.0) -> int:
    return limits.account(budget).purse.spent(quotas.since(budget.period, now))


def test_without_limits_nothing_is_counted() -> None:
    """No key and a key without limits pass at no cost, and have no headers."""
    limits = Limits()
    for key in (None, KEY):
        hold = limits.reserve(key, "r", 100, 0.0)
        assert limits.hosted_left(hold, 0.0)
        assert limits.commit(hold, 10**9, 10**12, 0.0)
        limits.settle(hold, 100, 5, 0.0)
        assert limits.headers(key, 0.0) == []
        assert limits.exhausted(hold, 0.0) is None


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


def test_tokens_are_corrected_when_they_are_known() -> None:
    """What was reserved is replaced by what was used; more than the allowance is a debt."""
    limits, key = Limits(), replace(KEY, tpm=600)
    first = limits.reserve(key, None, 100, 0.0)
    limits.settle(first, 600, 0, 0.0)
    with pytest.raises(LimitError) as caught:
        limits.reserve(key, None, 100, 0.0)
    assert caught.value.retry_after_s == pytest.approx(10.0)
    second = limits.reserve(key, None, 100, 10.0)
    limits.settle(second, 0, 0, 10.0)
    limits.reserve(key, None, 100, 10.0)


def test_a_request_larger_than_a_minute() -> None:
    """It is let in when nothing was used, and then the debt is paid off first."""
    limits, key = Limits(), replace(KEY, tpm=100)
    limits.settle(limits.reserve(key, None, 300, 0.0), 300, 0, 0.0)
    with pytest.raises(LimitError):
        limits.reserve(key, None, 1, 60.0)
    limits.reserve(key, None, 100, 180.0)


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


def test_a_changed_limit_holds_for_the_next_request() -> None:
    """What was used stays used; the new number counts from now on, in both directions."""
    limits, key = Limits(), replace(KEY, rpm=2)
    limits.reserve(key, None, 0, 0.0)
    limits.reserve(key, None, 0, 0.0)
    for _ in range(3):
        limits.reserve(replace(key, rpm=5), None, 0, 0.0)
    with pytest.raises(LimitError, match="Limit 4, Used 4"):
        limits.reserve(replace(key, rpm=4), None, 0, 0.0)


def test_a_budget_is_reserved_and_settled() -> None:
    """Dollars that are reserved are not there for others; what was not used is."""
    limits = one_route()
    one, two = (limits.reserve(None, "r", 0, 0.0) for _ in range(2))
    assert limits.commit(one, 70, 70, 0.0)
    assert not limits.commit(two, 40, 40, 0.0)
    assert limits.hosted_left(two, 0.0)
    limits.settle(one, 0, 20, 0.0)
    assert limits.spent_today("r", 0.0) == 20
    assert limits.commit(two, 80, 80, 0.0)
    assert not limits.hosted_left(two, 0.0)
    assert limits.commit(two, 0, 0, 0.0)
    assert limits.hosted_left(limits.look("other", 0.0), 0.0)
    assert limits.spent_today("other", 0.0) == 0


def test_what_calls_can_cost_at_most_is_held_to_the_bound() -> None:
    """Beside others a call must not be able to take the budget further than a twentieth beyond; alone it is always let in."""
    limits = one_route()
    one, two, three = (limits.reserve(None, "r", 0, 0.0) for _ in range(3))
    assert limits.commit(one, 10, 95, 0.0)
    assert not limits.commit(two, 5, 11, 0.0)
    assert limits.commit(two, 5, 10, 0.0)
    limits.settle(one, 0, 40, 0.0)
    limits.settle(two, 0, 5, 0.0)
    assert limits.commit(three, 10, 1000, 0.0)
    assert not limits.commit(limits.reserve(None, "r", 0, 0.0), 1, 1, 0.0)


def test_the_tightest_of_all_budgets_counts() -> None:
    """Day and month of the key, the route and each tag the request carries; all are charged, and which one is spent is known."""
    key = replace(KEY, nanousd_per_day=1000, nanousd_per_month=50)
    tags = {"team=search": (Budget("tag", "team=search", "team=search", "month", 500),)}
    limits = Limits(Budgets({"r": (R,)}, tags))
    hold = limits.reserve(key, "r", 0, 0.0, {"team": "search", "other": "x"})
    assert [(each.budget.scope, each.budget.period) for each in hold.accounts] == [("key", "day"), ("key", "month"), ("route", "day"), ("tag", "month")]
    assert not limits.commit(hold, 51, 51, 0.0)
    assert limits.commit(hold, 50, 50, 0.0)
    gone = limits.exhausted(hold, 0.0)
    assert gone is not None
    assert (gone.budget.period, gone.spent) == ("month", False)
    limits.settle(hold, 0, 50, 0.0)
    assert [spent(limits, each.budget) for each in hold.accounts] == [50] * 4
    gone = limits.exhausted(hold, DAY * 3)
    assert gone is not None
    assert (gone.budget.scope, gone.budget.period, gone.spent, gone.until) == ("key", "month", True, 31 * DAY)
    assert limits.reserve(None, "r", 0, 0.0, {"team": "ads"}).accounts[0].budget == R


def test_a_day_ends_at_midnight_utc_and_a_month_on_its_last_day() -> None:
    """What was spent before does not count; what is under way does, and is booked on the day it began, as in the ledger."""
    limits, key = one_route(), replace(KEY, nanousd_per_day=100, nanousd_per_month=1000)
    late = limits.reserve(key, "r", 0, DAY - 1)
    early = limits.reserve(key, "r", 0, DAY - 1)
    assert limits.commit(early, 60, 60, DAY - 1)
    assert limits.commit(late, 40, 40, DAY - 1)
    limits.settle(early, 0, 60, DAY - 1)
    assert not limits.hosted_left(late, DAY - 0.5)
    assert limits.hosted_left(late, DAY)
    limits.raise_to(R, 5, DAY)
    limits.settle(late, 0, 40, DAY + 1)
    assert limits.spent_today("r", DAY + 1) == 5
    month = quotas.of_key(key)[1]
    assert [spent(limits, month, at) for at in (DAY + 1, 31 * DAY)] == [100, 0]


def test_what_the_ledger_knows_is_taken_over() -> None:
    """A restart does not give the day's budget out again, and never lowers what is known."""
    limits = one_route()
    limits.raise_to(R, 60, 0.0)
    limits.raise_to(R, 10, 0.0)
    assert limits.spent_today("r", 0.0) == 60
    assert limits.hosted_left(limits.look("r", 0.0), 0.0)
    limits.raise_to(R, 100, 0.0)
    assert not limits.hosted_left(limits.look("r", 0.0), 0.0)


def test_new_budgets_are_in_force_at_once() -> None:
    """A reload takes nothing from what was spent."""
    limits = one_route()
    hold = limits.reserve(None, "r", 0, 0.0)
    assert limits.commit(hold, 50, 50, 0.0)
    limits.configure(Budgets({"r": (replace(R, nanousd=40),)}))
    assert not limits.hosted_left(limits.look("r", 0.0), 0.0)
    limits.settle(hold, 0, 50, 0.0)
    assert limits.spent_today("r", 0.0) == 50
    limits.configure(Budgets())
    assert limits.look("r", 0.0).accounts == ()


class Crowd(RuleBasedStateMachine):
    """Three workers that share a host's pool, one budget of 1,000: whatever they do and whenever one is killed, what is spent stays within the bound."""

    holds = Bundle("holds")
    LIMIT = 1_000

    @initialize()
    def begin(self) -> None:
        self.files = [pool.make(3)]
        self.workers = [self.worker(index) for index in range(3)]
        self.lives = [0, 0, 0]
        self.dead: list[Limits] = []
        self.spent = 0
        self.most_of_one = 0
        self.ledger = 0

    def worker(self, index: int) -> Limits:
        return Limits(Budgets({"r": (replace(R, nanousd=self.LIMIT),)}), Pool(pool.path_of(self.files[-1]), 3, index))

    @rule(target=holds, index=st.integers(0, 2), expected=st.integers(0, 150), more=st.integers(0, 300))
    def admit(self, index: int, expected: int, more: int) -> tuple[int, int, Hold | None]:
        """Let a request in, reserve its first call."""
        limits = self.workers[index]
        hold = limits.reserve(None, "r", 0, 0.0)
        if limits.hosted_left(hold, 0.0) and limits.commit(hold, expected, expected + more, 0.0):
            self.most_of_one = max(self.most_of_one, expected + more)
            return index, self.lives[index], hold
        limits.settle(hold, 0, 0, 0.0)
        return index, self.lives[index], None

    @rule(held=holds, expected=st.integers(0, 150), more=st.integers(0, 300))
    def fail_over(self, held: tuple[int, int, Hold | None], expected: int, more: int) -> None:
        """Another call of the same request: more or less than before."""
        index, life, hold = held
        if hold is not None and not hold.settled and life == self.lives[index] and self.workers[index].commit(hold, expected, expected + more, 0.0):
            self.most_of_one = max(self.most_of_one, expected + more)

    @rule(held=consumes(holds), share=st.floats(0, 1))
    def settle(self, held: tuple[int, int, Hold | None], share: float) -> None:
        """It came to something between nothing and the most it could."""
        index, life, hold = held
        if hold is not None and life == self.lives[index]:
            cost = round(hold.most * share)
            self.workers[index].settle(hold, 0, cost, 0.0)
            self.spent += cost

    @rule(index=st.integers(0, 2))
    def kill(self, index: int) -> None:
        """Its requests under way are lost with it; its successor takes back what they had reserved."""
        self.dead.append(self.workers[index])
        self.workers[index] = self.worker(index)
        self.lives[index] += 1

    @rule()
    def look(self) -> None:
        """The ledger lags behind, and never takes anything back."""
        self.workers[0].raise_to(replace(R, nanousd=self.LIMIT), self.ledger, 0.0)
        self.ledger = self.spent

    @rule()
    def restart(self) -> None:
        """All of them end at once; a fresh pool starts from the ledger."""
        self.dead += self.workers
        self.files.append(pool.make(3))
        self.workers = [self.worker(index) for index in range(3)]
        self.lives = [life + 1 for life in self.lives]
        self.ledger = self.spent
        self.look()

    @invariant()
    def bounded(self) -> None:
        """The stated bound, and all workers see the same."""
        if not hasattr(self, "workers"):
            return
        over = max(self.workers[0].source.overspend(self.LIMIT), self.most_of_one)
        assert self.spent <= self.LIMIT + over
        seen = {spent(limits) for limits in self.workers}
        assert seen == {self.spent}

    def teardown(self) -> None:
        for limits in (*getattr(self, "dead", ()), *getattr(self, "workers", ())):
            limits.source.close()
        for file in getattr(self, "files", ()):
            os.close(file)


def test_whatever_happens_no_more_is_spent_than_the_bound_allows() -> None:
    """Reserve, fail over, settle, kill, restart, in any order, by three workers."""
    run_state_machine_as_test(Crowd, settings=settings(max_examples=30, stateful_step_count=40, deadline=None))
