"""GET /admin/budgets: what keys, routes and tags may spend by day and month, what they have spent and reserved, and when it will be gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter

from gateway import quotas
from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed
from gateway.forecast import WINDOW_S, forecast
from gateway.quotas import PERIODS, Budget, Period
from gateway.spending import budgets_of
from gateway.store import alerts, spending
from serving.database import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from gateway.store.alerts import Alert

router = APIRouter(route_class=AdminRoute, tags=["budgets"])


class AlertBody(Body):
    """An alert that was decided for a budget in this period. Neither `sent_at` nor `next_try_at`: it was given up on, for `error`."""

    id: str
    kind: Literal["threshold", "forecast"]
    at: float
    created_at: Instant
    sent_at: Instant | None
    next_try_at: Instant | None
    tries: int
    error: str | None


class BudgetBody(Body):
    """A budget in its present period. `reserved`: what calls under way are expected to cost. `forecast`: by the end of the period, at the rate of the last
    hours; null while too little is known. `exhausted_at`: when nothing will be left at that rate; null where that is not in this period, or it is `exhausted`.
    `overspend`: the most that calls can come to beyond the limit, all workers of a host together, or one call alone where that can cost more."""

    scope: Literal["key", "route", "tag"]
    id: str
    name: str
    period: Literal["day", "month"]
    limit_nanousd: int
    limit_usd: str
    spent_nanousd: int
    spent_usd: str
    reserved_nanousd: int | None
    reserved_usd: str | None
    left_nanousd: int
    left_usd: str
    overspend_nanousd: int | None
    overspend_usd: str | None
    since: Instant
    resets_at: Instant
    forecast_nanousd: int | None
    forecast_usd: str | None
    exhausted: bool
    exhausted_at: Instant | None
    alerts: tuple[AlertBody, ...]


@router.get("/budgets")
def budgets(gateway: InGateway) -> Listed[BudgetBody]:
    """Every budget of keys that are in use, of routes and of tags."""
    now, limits = gateway.clock(), gateway.limits

    def known(budget: Budget) -> tuple[int, int | None, int | None]:
        purse = limits.account(budget).purse
        return purse.spent(quotas.since(budget.period, now)), purse.reserved()[0], limits.source.overspend(budget.nanousd)

    with reading(gateway.database) as conn:
        found = listed(conn, budgets_of(gateway), now, known)
    return Listed[BudgetBody](data=tuple(BudgetBody(**each) for each in found))


def listed(
    conn: Connection, every: Sequence[Budget], now: float, known: Callable[[Budget], tuple[int, int | None, int | None]] = lambda _: (0, None, None)
) -> list[dict[str, Any]]:
    """The fields of the BudgetBody of each. `known`: what a running gateway counts as spent, as reserved, and its bound; without one only the ledger speaks."""
    shown: dict[tuple[str, str, str], dict[str, Any]] = {}
    for period in PERIODS:
        mine = [budget for budget in every if budget.period == period]
        if not mine:
            continue
        since, scopes = quotas.since(period, now), sorted({budget.scope for budget in mine})
        spent, told = spending.totals(conn, scopes, since), alerts.of_period(conn, since)
        hours = spending.by_hour(conn, scopes, max(since, now - WINDOW_S[period]))
        for budget in mine:
            place = (budget.scope, budget.id)
            counted, reserved, overspend = known(budget)
            about = [alert for alert in told if (alert.scope, alert.name, alert.period) == (*place, period)]
            shown[(*place, period)] = _shape(budget, max(counted, spent.get(place, 0)), (reserved, overspend), hours.get(place, {}), about, now)
    return [shown[(budget.scope, budget.id, budget.period)] for budget in every]


def _shape(budget: Budget, spent: int, counted: tuple[int | None, int | None], hours: Mapping[float, int], told: Sequence[Alert], now: float) -> dict[str, Any]:
    period: Period = budget.period
    reserved, overspend = counted
    ahead = forecast(budget, spent, hours, now)
    left = budget.nanousd - spent - (reserved or 0)
    return {
        "scope": budget.scope,
        "id": budget.id,
        "name": budget.name,
        "period": period,
        **shapes.money("limit", budget.nanousd),
        **shapes.money("spent", spent),
        **shapes.money("reserved", reserved),
        **shapes.money("left", max(0, left)),
        **shapes.money("overspend", overspend),
        "since": quotas.since(period, now),
        "resets_at": quotas.until(period, now),
        **shapes.money("forecast", None if ahead is None else ahead.nanousd),
        "exhausted": spent >= budget.nanousd,
        "exhausted_at": None if ahead is None else ahead.exhausted_at,
        "alerts": [_told(alert) for alert in told],
    }


def _told(alert: Alert) -> dict[str, Any]:
    same = ("id", "kind", "at", "created_at", "sent_at", "tries", "error")
    return {name: getattr(alert, name) for name in same} | {"next_try_at": alert.next_at}
