"""When a budget will be gone."""

from __future__ import annotations

import pytest

from gateway.forecast import forecast
from gateway.quotas import Budget

HOUR = 3600.0
DAY = 86_400.0
BUDGET = Budget("route", "r", "r", "day", 1000)


def test_a_straight_line_by_the_last_hours() -> None:
    """100 an hour since eight, at noon: 400 + 12 × 100 by midnight, and gone at six in the evening."""
    found = forecast(BUDGET, 400, {8 * HOUR: 100, 9 * HOUR: 100, 10 * HOUR: 100, 11 * HOUR: 100}, 12 * HOUR)
    assert found is not None
    assert (found.nanousd, found.exhausted_at) == (1600, 18 * HOUR)


def test_older_hours_do_not_count_and_the_one_the_window_begins_in_does_by_its_part() -> None:
    """At half past twelve the window begins at half past six: half of that hour is in it, nothing of the one before."""
    found = forecast(BUDGET, 0, {1 * HOUR: 10**6, 6 * HOUR: 120, 12 * HOUR: 0}, 12.5 * HOUR)
    assert found is not None
    assert found.nanousd == pytest.approx(60 / 6 * 11.5, abs=1)
    assert found.exhausted_at is None


def test_too_little_to_say() -> None:
    """Nothing yet, or a few minutes: no forecast rather than a wild one."""
    assert forecast(BUDGET, 0, {}, 12 * HOUR) is None
    assert forecast(BUDGET, 5, {12 * HOUR: 5}, 12 * HOUR + 300) is None
    assert forecast(BUDGET, 5, {12 * HOUR: 5}, 12 * HOUR + 900) is not None


def test_what_is_gone_is_not_going_to_be() -> None:
    """Of a budget that is spent, or that nothing is spent of any more, no instant is named."""
    assert [forecast(BUDGET, spent, {10 * HOUR: rate}, 12 * HOUR).exhausted_at for spent, rate in ((1000, 500), (500, 0))] == [None, None]  # type: ignore[union-attr]


def test_a_month_looks_back_three_days() -> None:
    """240 in each of two days: by the end of January 28 × 240 more."""
    month = Budget("key", "k", "k", "month", 10_000)
    hours = {day * DAY + hour * HOUR: 10 for day in (1, 2) for hour in range(24)}
    found = forecast(month, 480, hours, 3 * DAY)
    assert found is not None
    assert found.nanousd == 480 + 28 * 240
    assert found.exhausted_at is None
