"""How daily traffic grows, and how far its busiest hour is above the mean. Pure.

Growth is the slope of the logarithm of each day's tokens (least squares), per month, with the 95 % interval of that slope. Weekends widen it, as they should.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from router.economy import DAYS_PER_MONTH

LEAST_DAYS = 14  # two weekends
_BUSY = 0.99  # of the hours are no busier than the busy one: a single freak hour is not what a GPU is bought for
_Z = 1.959964


def growth(days: Sequence[float]) -> tuple[float, float, float] | None:
    """Change per month as a share, with its interval, from tokens by day in order; None: fewer than LEAST_DAYS days have any."""
    points = [(float(day), math.log(tokens)) for day, tokens in enumerate(days) if tokens > 0.0]
    n = len(points)
    if n < LEAST_DAYS:
        return None
    x_mean, y_mean = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
    left = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    error = math.sqrt(left / (n - 2) / spread)
    middle, low, high = (_monthly(value) for value in (slope, slope - _Z * error, slope + _Z * error))
    return middle, low, high


def standard_error(days: Sequence[float]) -> float:
    """Of the mean of these days; 0 for fewer than two."""
    n = len(days)
    if n < 2:
        return 0.0
    mean = sum(days) / n
    return math.sqrt(sum((tokens - mean) ** 2 for tokens in days) / (n - 1) / n)


def peak(hours: Sequence[float]) -> float | None:
    """The busy hour over the mean one, at least 1; None where nothing happened. Hours without traffic count."""
    mean = sum(hours) / len(hours) if hours else 0.0
    if mean <= 0.0:
        return None
    ordered = sorted(hours)
    return max(1.0, ordered[min(len(ordered) - 1, math.ceil(_BUSY * len(ordered)) - 1)] / mean)


def _monthly(slope: float) -> float:
    return math.exp(max(-20.0, min(20.0, slope * DAYS_PER_MONTH))) - 1.0
