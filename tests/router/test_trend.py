"""Growth and peaks of traffic."""

from __future__ import annotations

import math

import pytest

from router import trend


def test_exact_growth_is_found_exactly() -> None:
    """Traffic that doubles in a month does so at every length, with an interval of no width."""
    days = [1000.0 * 2 ** (day / trend.DAYS_PER_MONTH) for day in range(28)]
    assert trend.growth(days) == pytest.approx((1.0, 1.0, 1.0))


def test_weekends_widen_the_interval() -> None:
    """Flat traffic with quiet weekends is not called growing."""
    found = trend.growth([1000.0 if day % 7 < 5 else 200.0 for day in range(28)])
    assert found is not None
    assert found[1] < 0 < found[2]


def test_too_few_days_say_nothing() -> None:
    """Two weekends are needed; days without traffic do not count."""
    assert trend.growth([1.0] * 13) is None
    assert trend.growth([0.0] * 20 + [1.0] * 13) is None


def test_peak_is_the_busy_hour_over_the_mean() -> None:
    """One freak hour of a week is left out; without traffic there is no peak."""
    hours = [1.0] * 98 + [4.0, 100.0]
    assert trend.peak(hours) == pytest.approx(4.0 / 2.02)
    assert trend.peak([5.0] * 10) == 1.0
    assert trend.peak([0.0]) is None


def test_standard_error() -> None:
    """Of the mean, by hand; one day has none."""
    assert trend.standard_error([1.0, 3.0]) == pytest.approx(math.sqrt(2.0 / 2))
    assert trend.standard_error([1.0]) == 0.0
