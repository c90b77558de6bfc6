"""When a budget is going to be spent, at the rate of the last hours. Pure; instants are epoch seconds, money nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway import quotas
from gateway.quotas import Budget, Period

# How far back the rate is taken from, and how much of it there must be.
WINDOW_S: Mapping[Period, float] = {"day": 6 * 3600.0, "month": 72 * 3600.0}
_LEAST_S = 600.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will have been spent by the end of the period, and when nothing will be left; None: not in this period."""

    nanousd: int
    exhausted_at: float | None


def forecast(budget: Budget, spent: int, hours: Mapping[float, int], now: float) -> Forecast | None:
    """A straight line from `spent` by the last `hours` (first instant -> what was spent); None while there is too little to draw it from."""
    began = now - WINDOW_S[budget.period]
    recent = {at: nanousd for at, nanousd in hours.items() if at + 3600.0 > began}
    if not recent:
        return None
    first = max(began, min(recent))
    if now - first < _LEAST_S:
        return None
    # the hour that the window begins in counts by the part of it that is in the window
    per_s = sum(nanousd * min(1.0, (at + 3600.0 - began) / 3600.0) for at, nanousd in recent.items()) / (now - first)
    ends = quotas.until(budget.period, now)
    left = budget.nanousd - spent
    gone_at = None if left <= 0 or per_s <= 0.0 else now + left / per_s
    return Forecast(spent + round(per_s * (ends - now)), gone_at if gone_at is not None and gone_at < ends else None)
