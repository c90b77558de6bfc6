"""What hosted answers cost so far, for budgets: sums of the ledger by key, route or tag. Reads only.

A cost that is unknown is in no sum (`costs.report` lists those requests apart). Not here: the limits (gateway.quotas), what is under way (gateway.limits).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from gateway.store import costs, measures
from gateway.store.groups import checked
from gateway.store.period import Period

_HOSTED = measures.NAMES.index("hosted_nanousd")
Spent = dict[tuple[str, str], int]


def totals(conn: Connection, scopes: Iterable[str], since: float) -> Spent:
    """Nano-dollars since an instant, by scope (`key`, `route`, `tag`) and id."""
    return {
        (scope, str(group[0])): nanousd
        for scope in scopes
        for group, amounts in costs.sums(conn, checked((scope,)), Period(since)).items()
        if group[0] is not None and (nanousd := amounts[_HOSTED])
    }


def by_hour(conn: Connection, scopes: Iterable[str], since: float) -> dict[tuple[str, str], dict[float, int]]:
    """As `totals`, hour by hour (its first instant); hours without requests are left out."""
    found: dict[tuple[str, str], dict[float, int]] = {}
    for scope in scopes:
        groups = checked((scope, "hour"))
        for group, amounts in costs.sums(conn, groups, Period(since)).items():
            if group[0] is not None:
                hour = datetime.fromisoformat(groups.shown(group)["hour"]).timestamp()
                found.setdefault((scope, str(group[0])), {})[hour] = amounts[_HOSTED] or 0
    return found
