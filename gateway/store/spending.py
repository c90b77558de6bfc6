"""What hosted answers cost so far, for budgets: sums of the ledger by key, route or tag. Reads only.

A cost that is unknown is in no sum (`costs.report` lists those requests apart). Not here: the limits (gateway.quotas), what is under way (gateway.limits).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from gateway.store import costs
from gateway.store.period import Period

Spent = dict[tuple[str, str], int]


def totals(conn: Connection, scopes: Iterable[str], since: float) -> Spent:
    """Nano-dollars since an instant, by scope (`key`, `route`, `tag`) and id."""
    return {
        (scope, str(row[scope])): row["hosted_nanousd"]
        for scope in scopes
        for row in costs.report(conn, (scope,), Period(since))["data"]
        if row[scope] is not None and row["hosted_nanousd"]
    }


def by_hour(conn: Connection, scopes: Iterable[str], since: float) -> dict[tuple[str, str], dict[float, int]]:
    """As `totals`, hour by hour (its first instant); hours without requests are left out."""
    found: dict[tuple[str, str], dict[float, int]] = {}
    for scope in scopes:
        for row in costs.report(conn, (scope, "hour"), Period(since))["data"]:
            if row[scope] is not None:
                found.setdefault((scope, str(row[scope])), {})[datetime.fromisoformat(row["hour"]).timestamp()] = row["hosted_nanousd"] or 0
    return found
