"""What may be spent, as values: the budgets of keys, routes and tags by UTC day and month, and the periods they are for. Nothing is counted here.

Money is nano-dollars. A period is known by its first instant in epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from gateway.store.keys import Key

Scope = Literal["key", "route", "tag"]
Period = Literal["day", "month"]
PERIODS: tuple[Period, ...] = ("day", "month")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Budget:
    """Nano-dollars of hosted answers in one period. `id` is a key's id, a route's name or a tag as `name=value`; `name` is what people call it."""

    scope: Scope
    id: str
    name: str
    period: Period
    nanousd: int


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of a configuration, by route and by tag (`name=value`)."""

    routes: Mapping[str, tuple[Budget, ...]] = field(default_factory=dict)
    tags: Mapping[str, tuple[Budget, ...]] = field(default_factory=dict)


def of(scope: Scope, id: str, name: str, per_day: int | None, per_month: int | None) -> tuple[Budget, ...]:
    """The budgets that two limits stand for; None is no limit."""
    return tuple(Budget(scope, id, name, period, limit) for period, limit in zip(PERIODS, (per_day, per_month), strict=True) if limit is not None)


def of_key(key: Key) -> tuple[Budget, ...]:
    """The budgets of a key."""
    return of("key", key.id, key.name, key.nanousd_per_day, key.nanousd_per_month)


def every(budgets: Budgets, keys: Iterable[Key], now: float) -> list[Budget]:
    """All budgets there are: of usable keys, then routes, then tags, each by name."""
    limited = (key for key in keys if key.nanousd_per_day is not None or key.nanousd_per_month is not None)
    usable = sorted({key.id: key for key in limited if key.usable(now)}.values(), key=lambda key: (key.name, key.id))
    found = [budget for key in usable for budget in of_key(key)]
    return found + [budget for group in (budgets.routes, budgets.tags) for name in sorted(group) for budget in group[name]]


def since(period: Period, now: float) -> int:
    """The first instant of the period that `now` is in."""
    if period == "day":
        return int(now // _DAY_S) * _DAY_S
    return int(datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())


def until(period: Period, now: float) -> int:
    """The first instant of the next period."""
    first = since(period, now)
    # no month has more than 31 days, and the 32nd day after its first is in the next
    return first + _DAY_S if period == "day" else since("month", first + 32 * _DAY_S)
