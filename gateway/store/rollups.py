"""Roll-ups of the ledger: made from the rows, never counted up. The only writer of the tables in rollup_tables.py.

Here: marking what changed (`touch`), making marked units again (`refresh`), freezing what is older than the rows (`freeze`). Not here: what is summed
(measures.py), which roll-ups answer a period (coverage.py).

Exactly once: whoever changes rows of a minute marks it in the same transaction; a unit is deleted, made again from its rows and unmarked in one
transaction. A late row, a share of the GPU bill booked afterwards, another price: all the same. On Postgres, where writers run side by side, marking shares
a lock that making takes alone, so that a mark is never removed by somebody who did not see its rows; on SQLite there is one writer at a time anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Delete,
    Engine,
    FromClause,
    Insert,
    Integer,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
)

from gateway.store import bulk, durations, histogram, measures, tag_values
from gateway.store.coverage import DAY, HOUR, MINUTE, horizon
from gateway.store.durations import Durations
from gateway.store.period import Period
from gateway.store.rollup_tables import rollup_dirty, rollup_horizon, rollup_keys, rollup_latencies, rollup_tags, rollup_thin, rollups
from gateway.store.spans import Span, of_units
from gateway.store.tables import exchanges, open_admits
from serving.database import reading, writing

# A minute is made when this much time has passed since its end: its GPU minutes are closed by then, which changes its rows.
SETTLE_S = 10.0
# Requests that are still running come into their minute later. Longer than this it does not wait for them.
PATIENCE_S = 120.0
# An hour of fewer rows is quicker read from its rows than its minutes are kept.
THIN_ROWS = 10_000
# Hours and days made by one call: a history is worked off in pieces, newest first.
PER_CALL = 48
_LOCK_ID = 0x62726B77
_LATENCY_GROUP = ("route", "backend", "adapter_version")
# What each table of sums is grouped by.
_GROUPS: Mapping[Table, tuple[str, ...]] = {
    rollups: _LATENCY_GROUP,
    rollup_keys: (*_LATENCY_GROUP, "key_id"),
    rollup_tags: (*_LATENCY_GROUP, "key_id", "tag"),
}
_TABLES = (*_GROUPS, rollup_latencies)


def touch(conn: Connection, minutes: Iterable[int]) -> None:
    """Rows that came in during these minutes (`exchanges.minute`) are new or have changed. Call it in the transaction that changes them."""
    marks = {(MINUTE, minute) for minute in minutes}
    marks |= {(step, minute // step * step) for _, minute in marks for step in (HOUR, DAY)}
    if marks:
        _lock(conn, "pg_advisory_xact_lock_shared")
        # In one order, for writers side by side wait for each other here.
        bulk.insert_new(conn, rollup_dirty, sorted(marks))


def refresh(engine: Engine, now: float, limit: int = PER_CALL, keep: Collection[str] = ()) -> int:
    """Make again what was marked and is over at `now`, newest first (at most `limit` hours and as many days): how many. A transaction each.

    Tags (`name=value`) in `keep` have sums of their own however many values their name has (tag_values.py).
    """
    with reading(engine) as conn:
        settled = _settled(conn, now)
        hours = _marked(conn, HOUR, settled, limit)
        days = _marked(conn, DAY, settled - DAY + 1, limit)
        due = {hour for hour in hours if hour + HOUR <= settled or _minutes_due(conn, hour, settled)}
    made = sum(_hour(engine, hour, settled, keep) for hour in hours if hour in due)
    return made + sum(_day(engine, day) for day in days)


def freeze(engine: Engine, minute: int) -> bool:
    """Keep hours and days before `minute` (a whole day) as they are from now on, for their rows are going to be deleted. False: some are not made yet."""
    with writing(engine) as conn:
        _lock(conn, "pg_advisory_xact_lock")
        kept = horizon(conn)
        if kept is not None and kept >= minute:
            return True
        start = rollup_dirty.c.start
        open_units = select(start).where(start < minute, *([] if kept is None else [start >= kept])).limit(1)
        if conn.execute(open_units).first() is not None:
            return False
        conn.execute(delete(rollup_horizon))
        conn.execute(insert(rollup_horizon).values(id=1, minute=minute))
        conn.execute(delete(rollup_thin).where(rollup_thin.c.start < minute))
    return True


def drop_minutes(conn: Connection, before: int, limit: int) -> int:
    """Delete the oldest minutes (a sixtieth of `limit`) that are before the frozen minute `before` from each table: how many rows. 0: there are no more."""
    gone = 0
    for table in _TABLES:
        t = table.c
        first = conn.execute(select(func.min(t.start)).where(t.step == MINUTE, t.start < before)).scalar()
        if first is not None:
            gone += conn.execute(delete(table).where(t.step == MINUTE, t.start < min(first + max(1, limit // HOUR), before))).rowcount
    return gone


def _settled(conn: Connection, now: float) -> int:
    """The minute before which minutes are made: those that are over, and whose requests have ended."""
    oldest = conn.execute(select(func.min(open_admits.c.time)).where(open_admits.c.time >= now - PATIENCE_S)).scalar()
    return int(min(now - SETTLE_S, now if oldest is None else oldest) // 60)


def _marked(conn: Connection, step: int, before: int, limit: int) -> list[int]:
    d = rollup_dirty.c
    return list(conn.execute(select(d.start).where(d.step == step, d.start < before).order_by(d.start.desc()).limit(limit)).scalars())


def _minutes_due(conn: Connection, hour: int, settled: int) -> list[int]:
    d = rollup_dirty.c
    return list(conn.execute(select(d.start).where(d.step == MINUTE, d.start >= hour, d.start < min(hour + HOUR, settled))).scalars())


def _hour(engine: Engine, hour: int, settled: int, keep: Collection[str]) -> int:
    with writing(engine) as conn:
        _lock(conn, "pg_advisory_xact_lock")
        kept = horizon(conn)
        if kept is not None and hour < kept:
            # Rows that come later than the rows of their day are kept: they go, and what has been rolled up stays.
            _unmark(conn, MINUTE, (hour, hour + HOUR))
            _unmark(conn, HOUR, (hour, hour + HOUR))
            return 0
        if hour + HOUR > settled:
            for span in of_units(_minutes_due(conn, hour, settled), MINUTE):
                _from_rows(conn, MINUTE, span, keep)
                _unmark(conn, MINUTE, span)
            return 0
        _whole_hour(conn, hour, keep)
        return 1


def _whole_hour(conn: Connection, hour: int, keep: Collection[str]) -> None:
    span = (hour, hour + HOUR)
    rows = conn.execute(select(func.count()).select_from(exchanges).where(*_times(span))).scalar_one()
    if rows < THIN_ROWS:
        for table in _TABLES:
            _drop(conn, table, MINUTE, span)
        _from_rows(conn, HOUR, span, keep)
        bulk.insert_new(conn, rollup_thin, [(hour,)])
    else:
        was_thin = conn.execute(delete(rollup_thin).where(rollup_thin.c.start == hour)).rowcount > 0
        for part in [span] if was_thin else of_units(_minutes_due(conn, hour, hour + HOUR), MINUTE):
            _from_rows(conn, MINUTE, part, keep)
        _from_units(conn, HOUR, hour, MINUTE)
    _unmark(conn, MINUTE, span)
    _unmark(conn, HOUR, span)


def _day(engine: Engine, day: int) -> int:
    with writing(engine) as conn:
        _lock(conn, "pg_advisory_xact_lock")
        kept, d = horizon(conn), rollup_dirty.c
        frozen = kept is not None and day < kept
        if not frozen:
            if conn.execute(select(d.start).where(d.step == HOUR, d.start >= day, d.start < day + DAY).limit(1)).first() is not None:
                return 0
            _from_units(conn, DAY, day, HOUR)
        _unmark(conn, DAY, (day, day + DAY))
        return int(not frozen)


def _from_rows(conn: Connection, step: int, span: Span, keep: Collection[str]) -> None:
    """Make the units of `step` minutes in `span` from the rows."""
    period = _period(span)
    times = {"p_step": step, "p_since": period.since, "p_until": period.until}
    for table in _GROUPS:
        _drop(conn, table, step, span)
        conn.execute(_made_from_rows(table, conn.dialect.name), times)
    if not tag_values.admit(conn, step, span, keep):
        _drop(conn, rollup_tags, step, span)
        conn.execute(_made_from_rows(rollup_tags, conn.dialect.name, True), times)
    counted = durations.of_rows(conn, period, ("minute", *_LATENCY_GROUP), lambda key: (key[0] // step * step, *key[1:]))
    _keep_latencies(conn, step, span, counted)


def _from_units(conn: Connection, step: int, start: int, finer: int) -> None:
    """Make one unit from finer ones."""
    span = (start, start + step)
    for table in _GROUPS:
        _drop(conn, table, step, span)
        conn.execute(_made_from_units(table), {"p_step": step, "p_finer": finer, "p_first": start, "p_end": start + step})
    counted = durations.of_rollups(conn, finer, span, _LATENCY_GROUP, lambda key: (start, *key))
    _keep_latencies(conn, step, span, counted)


@cache
def _made_from_rows(table: Table, dialect: str, bounded: bool = False) -> Insert:
    """Made once: building it takes longer than running it for an hour. `bounded`: tags by the values that have sums of their own."""
    e, step = exchanges.c, bindparam("p_step", type_=Integer)
    source: FromClause = exchanges
    columns: dict[str, ColumnElement[Any]] = dict(e.items())
    if table is rollup_tags:
        tagged = measures.tagged(dialect)
        source, columns["tag"] = tagged.source, tag_values.bounded(tagged) if bounded else tagged.label
    names = _GROUPS[table]
    query = select((e.minute // step * step).label("unit"), *(columns[name].label(name) for name in names), *measures.of_rows()).select_from(source)
    query = query.where(e.time >= bindparam("p_since"), e.time < bindparam("p_until"))
    return _filled(table, query.group_by(*measures.by_name(["unit", *names])), step)


@cache
def _made_from_units(table: Table) -> Insert:
    t, names = table.c, _GROUPS[table]
    query = select(bindparam("p_first", type_=Integer).label("unit"), *(t[name] for name in names), *measures.of_rollups(table))
    query = query.where(t.step == bindparam("p_finer"), t.start >= bindparam("p_first", type_=Integer), t.start < bindparam("p_end"))
    return _filled(table, query.group_by(*(t[name] for name in names)), bindparam("p_step", type_=Integer))


def _filled(table: Table, query: Select[Any], step: BindParameter[int]) -> Insert:
    made = query.subquery()
    position = func.row_number().over(partition_by=made.c.unit)
    names = [column.name for column in table.columns]
    return insert(table).from_select(names, select(step, made.c.unit, position, *(made.c[name] for name in names[3:])))


def _keep_latencies(conn: Connection, step: int, span: Span, counted: Mapping[tuple[Any, ...], Durations]) -> None:
    _drop(conn, rollup_latencies, step, span)
    rows = [(step, key[0], n, *key[1:], *map(histogram.to_text, found.counts)) for n, (key, found) in enumerate(counted.items())]
    bulk.insert_new(conn, rollup_latencies, rows)


def _drop(conn: Connection, table: Table, step: int, span: Span) -> None:
    conn.execute(_dropped(table), {"p_step": step, "p_first": span[0], "p_end": span[1]})


@cache
def _dropped(table: Table) -> Delete:
    return delete(table).where(table.c.step == bindparam("p_step"), table.c.start >= bindparam("p_first"), table.c.start < bindparam("p_end"))


def _unmark(conn: Connection, step: int, span: Span) -> None:
    _drop(conn, rollup_dirty, step, span)


def _times(span: Span) -> list[ColumnElement[bool]]:
    return _period(span).times(exchanges.c.time)


def _period(span: Span) -> Period:
    return Period(span[0] * 60.0, span[1] * 60.0)


def _lock(conn: Connection, function: str) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(text(f"SELECT {function}(:id)"), {"id": _LOCK_ID})
