"""Budgets as values, and the periods they are for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway import quotas
from gateway.quotas import Budget, Budgets
from gateway.store.keys import Key

KEY = Key("key_1", "b", "bk-x", None, None, None, None, None, 5, None, 0.0, None, nanousd_per_month=7)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("period", "now", "since", "until"),
    [
        ("day", "2026-11-24T23:59:59", "2026-11-24", "2026-11-25"),
        ("month", "2026-11-24T20:00:00", "2026-11-01", "2026-12-01"),
        ("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-29T00:00:00", "2028-02-01", "2028-03-01"),
        ("month", "2027-02-01T00:00:00", "2027-02-01", "2027-03-01"),
    ],
)
def test_periods_are_of_the_utc_calendar(period: quotas.Period, now: str, since: str, until: str) -> None:
    """From the first instant, included, to that of the next."""
    assert (quotas.since(period, at(now)), quotas.until(period, at(now))) == (at(since), at(until))


def test_every_budget_once() -> None:
    """Keys that are in use, by name; then routes, then tags. A rotated key, which a snapshot has twice, is one."""
    routes = {"r": quotas.of("route", "r", "r", 1, None)}
    tags = {"a=b": quotas.of("tag", "a=b", "a=b", None, 2)}
    first, gone, free = replace(KEY, id="key_2", name="a"), replace(KEY, id="key_3", revoked_at=1.0), replace(KEY, nanousd_per_day=None, nanousd_per_month=None)
    found = quotas.every(Budgets(routes, tags), [KEY, replace(KEY, prefix="old"), first, gone, replace(free, id="key_4")], 2.0)
    assert [(each.scope, each.id, each.period, each.nanousd) for each in found] == [
        ("key", "key_2", "day", 5),
        ("key", "key_2", "month", 7),
        ("key", "key_1", "day", 5),
        ("key", "key_1", "month", 7),
        ("route", "r", "day", 1),
        ("tag", "a=b", "month", 2),
    ]
    assert found[0] == Budget("key", "key_2", "a", "day", 5)
