"""Latency percentiles by route and backend, exact: read from the rows themselves. Reads only.

Nearest rank: p95 of 20 answers is the 19th, a value that was really seen. Only answers that succeeded count; a failure's duration says nothing of speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, func, or_, select

from gateway.store.period import Period
from gateway.store.tables import exchanges
from router.types import Outcome

PERCENTILES = (50, 95)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of the answers of one backend on one route. `ttft_ms` and `total_ms` map a percentile to a duration; empty where none was seen."""

    route: str | None
    backend: str | None
    answers: int
    ttft_ms: dict[int, float]
    total_ms: dict[int, float]


def percentiles(conn: Connection, period: Period, of: Sequence[int] = PERCENTILES) -> list[Latency]:
    """The percentiles `of` (whole numbers from 1 to 100) of time to first token and of total time."""
    totals = _ranked(conn, exchanges.c.total_ms, period, of)
    firsts = _ranked(conn, exchanges.c.ttft_ms, period, of)
    return [Latency(route, backend, answers, firsts.get((route, backend), (0, {}))[1], values) for (route, backend), (answers, values) in totals.items()]


def _ranked(conn: Connection, column: Column[Any], period: Period, of: Sequence[int]) -> dict[tuple[str | None, str | None], tuple[int, dict[int, float]]]:
    e = exchanges.c
    pair = (e.route, e.backend)
    ranks = (
        select(
            *pair,
            column.label("value"),
            func.row_number().over(partition_by=pair, order_by=column).label("rank"),
            func.count().over(partition_by=pair).label("answers"),
        )
        .where(*period.times(e.time), e.outcome == Outcome.OK.value, column.is_not(None))
        .subquery()
    )
    # The rank of percentile p of n is ceil(p·n / 100), in whole numbers.
    wanted = [ranks.c.rank == (ranks.c.answers * p + 99) // 100 for p in of]
    query = select(ranks).where(or_(*wanted)).order_by(ranks.c.route, ranks.c.backend)
    found: dict[tuple[str | None, str | None], tuple[int, dict[int, float]]] = {}
    for row in conn.execute(query):
        values = found.setdefault((row.route, row.backend), (row.answers, {}))[1]
        values |= {p: row.value for p in of if row.rank == math.ceil(p * row.answers / 100)}
    return found
