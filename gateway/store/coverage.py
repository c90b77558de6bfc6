"""Which roll-ups answer a period, and for which parts of it the rows themselves are read. Reads only.

A day is taken where it is whole and in order, else its hours, else their minutes, else the rows: every minute of the period is in exactly one of them. What
changed a moment ago is never in a roll-up that does not know it yet, so answers are those of the rows, always.
Before the horizon rows and minutes have been deleted: a period that begins or ends there is widened to whole hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.store import spans
from gateway.store.period import Period
from gateway.store.rollup_tables import STEPS, rollup_dirty, rollup_horizon, rollup_thin
from gateway.store.spans import Span

DAY, HOUR, MINUTE = STEPS
# Further than any clock: whole days, and small enough for an integer column.
_FIRST, _LAST = -DAY * 1_000_000, DAY * 1_000_000
# Ranges of one kind that one answer is put together from. More than that (a history that is being rolled up) are read as one range of rows.
_MOST_RANGES = 64


@dataclass(frozen=True, slots=True)
class Coverage:
    """The parts of a period. `units` by step: ranges of minutes that roll-ups answer; `rows`: what is read from the rows."""

    units: dict[int, list[Span]]
    rows: list[Period]


def horizon(conn: Connection) -> int | None:
    """The minute before which rows are gone; None while all are there."""
    minute: int | None = conn.execute(select(rollup_horizon.c.minute)).scalar()
    return minute


def cover(conn: Connection, period: Period, coarsest: int = DAY) -> Coverage:
    """Put a period together from units of at most `coarsest` minutes (1, 60 or 1440); before the horizon hours may be the finest there are."""
    kept = horizon(conn)
    old = _FIRST if kept is None else kept
    since, until = _widened(period, old)
    first = _FIRST if since is None else math.ceil(since / 60)
    end = _LAST if until is None else math.floor(until / 60)
    if first >= end:
        return Coverage({}, [Period(since, until)])
    dirty = {step: _marked(conn, step, first, end, old) for step in STEPS}
    left: list[Span] = [(first, end)]
    units: dict[int, list[Span]] = {}
    if coarsest >= DAY:
        units[DAY] = spans.without(spans.aligned(left, DAY), dirty[DAY])
        left = spans.without(left, units[DAY])
    hours = left if coarsest >= HOUR else spans.inside(left, first, old)
    units[HOUR] = spans.without(spans.aligned(hours, HOUR), dirty[HOUR])
    left = spans.without(left, units[HOUR])
    left = spans.inside(left, old, end)
    units[MINUTE] = spans.without(spans.without(left, dirty[MINUTE]), _thin(conn, left))
    left = spans.without(left, units[MINUTE])
    return Coverage(units, [*_edges(since, until, first, end), *(Period(start * 60.0, stop * 60.0) for start, stop in left)])


def _widened(period: Period, kept: int) -> tuple[float | None, float | None]:
    since, until = period.since, period.until
    if since is not None and since < kept * 60:
        since = math.floor(since / 3600) * 3600.0
    if until is not None and until < kept * 60:
        until = math.ceil(until / 3600) * 3600.0
    return since, until


def _edges(since: float | None, until: float | None, first: int, end: int) -> list[Period]:
    """The seconds before the first whole minute and after the last."""
    found = []
    if since is not None and since < first * 60:
        found.append(Period(since, first * 60.0))
    if until is not None and end * 60 < until:
        found.append(Period(end * 60.0, until))
    return found


def _marked(conn: Connection, step: int, first: int, end: int, kept: int) -> list[Span]:
    d = rollup_dirty.c
    query = select(d.start).where(d.step == step, d.start > first - step, d.start < end, d.start >= kept)
    return spans.joined(spans.of_units(conn.execute(query).scalars(), step), _MOST_RANGES)


def _thin(conn: Connection, left: Sequence[Span]) -> list[Span]:
    start = rollup_thin.c.start
    # Not all between the first and the last: the two edges of a period may be a year apart.
    parts = spans.joined(left, _MOST_RANGES)
    found = [each for first, end in parts for each in conn.execute(select(start).where(start > first - HOUR, start < end)).scalars()]
    return spans.joined(spans.of_units(found, HOUR), _MOST_RANGES)
