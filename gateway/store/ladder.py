"""What evaluations of a route found: the newest ladder of each route. The only writer of `ladder_results`.

Here: keeping and reading a report as it was written (docs/evaluation.md has its shape). Not here: evaluating, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Column, Connection, Double, String, Table, delete, insert, select

from serving.database import metadata

_KEPT = 20  # reports of a route that are kept beside the newest, for comparison

ladder_results = Table(
    "ladder_results",
    metadata,
    Column("route", String, primary_key=True),
    Column("time", Double, primary_key=True),
    Column("report", JSON, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Result:
    """A report of `time` (epoch seconds)."""

    time: float
    report: Mapping[str, Any]


def keep(conn: Connection, route: str, report: Mapping[str, Any], now: float) -> None:
    """Store a report; the oldest of the route go."""
    c = ladder_results.c
    conn.execute(insert(ladder_results).values(route=route, time=now, report=dict(report)))
    old = list(conn.execute(select(c.time).where(c.route == route).order_by(c.time.desc()).offset(_KEPT)).scalars())
    if old:
        conn.execute(delete(ladder_results).where(c.route == route, c.time.in_(old)))


def latest(conn: Connection, route: str) -> Result | None:
    """The newest report of a route; None: it was never evaluated."""
    c = ladder_results.c
    row = conn.execute(select(c.time, c.report).where(c.route == route).order_by(c.time.desc()).limit(1)).one_or_none()
    return None if row is None else Result(row.time, row.report)
