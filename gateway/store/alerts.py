"""Alerts about budgets: decided once, sent until they have arrived. The only writer of `alerts`.

Once: the decision is a row whose kind, budget, period and share are unique, so of all who decide the same one wins, for good. Not here: what is worth an
alert, and the sending (gateway.alerts).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, select, update

from gateway.store import bulk
from gateway.store.tables import alerts

# How long after a failure it is tried again: a receiver that is down for a day still hears of it.
WAITS_S = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)
CLAIM_S = 60.0
_KEPT_S = 400 * 86_400.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `since` is the first instant of the period, `at` the share of the budget; `body` is the JSON that is sent. `next_at` None: it is over, and
    `sent_at` None then means that it never arrived. Instants in epoch seconds."""

    id: str
    kind: str
    scope: str
    name: str
    period: str
    since: float
    at: float
    body: str
    created_at: float
    tries: int = 0
    next_at: float | None = None
    sent_at: float | None = None
    error: str | None = None


def new_id() -> str:
    """An id as receivers see it."""
    return f"alert_{secrets.token_hex(12)}"


def decide(conn: Connection, wanted: Sequence[Alert]) -> None:
    """Keep those that are not there yet, to be sent at once."""
    ready = [replace(alert, next_at=alert.created_at) for alert in wanted]
    bulk.insert_new(conn, alerts, [tuple(getattr(alert, column.name) for column in alerts.c) for alert in ready])


def of_period(conn: Connection, since: float) -> list[Alert]:
    """Those of periods that began then or later, oldest first."""
    return [_alert(row) for row in conn.execute(select(alerts).where(alerts.c.since >= since).order_by(alerts.c.created_at, alerts.c.at))]


def claim(conn: Connection, now: float, most: int) -> list[Alert]:
    """Those to be sent by now, oldest first: nobody else gets them until CLAIM_S have passed, in which this process says how it went."""
    found = [_alert(row) for row in conn.execute(select(alerts).where(alerts.c.next_at <= now).order_by(alerts.c.created_at, alerts.c.at).limit(most))]
    mine = update(alerts).values(next_at=now + CLAIM_S)
    return [alert for alert in found if conn.execute(mine.where(alerts.c.id == alert.id, alerts.c.next_at <= now)).rowcount == 1]


def arrived(conn: Connection, alert_id: str, now: float) -> None:
    """It was taken."""
    conn.execute(update(alerts).where(alerts.c.id == alert_id).values(sent_at=now, next_at=None, error=None, tries=alerts.c.tries + 1))


def failed(conn: Connection, alert: Alert, error: str, now: float) -> None:
    """It was not; it is tried again after a while that grows, and in the end no more."""
    wait_s = WAITS_S[alert.tries] if alert.tries < len(WAITS_S) else None
    values: dict[str, Any] = {"tries": alert.tries + 1, "error": error[:300], "next_at": None if wait_s is None else now + wait_s}
    conn.execute(update(alerts).where(alerts.c.id == alert.id).values(values))


def forget(conn: Connection, now: float) -> None:
    """Delete those of periods that are more than a year past."""
    conn.execute(delete(alerts).where(alerts.c.since < now - _KEPT_S))


def _alert(row: Any) -> Alert:
    return Alert(**{column.name: getattr(row, column.name) for column in alerts.c})
