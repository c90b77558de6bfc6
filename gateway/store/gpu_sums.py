"""What is summed over GPU minutes, from days where they are whole and in order and else from the minutes: the same sums, always. Reads only.

Steps are numbered from the epoch: a minute belongs to step `minute // minutes`. An amount is None where it is known of none of what is summed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, case, func, literal_column, select

from gateway.store import spans
from gateway.store.engine_tables import backend_minutes
from gateway.store.gpu_tables import ENGINE_SUMS, backend_days, engine_days, gpu_dirty
from gateway.store.period import Period
from gateway.store.spans import Span
from gateway.store.tables import engine_minutes, gpu_minutes

Sums = dict[str, int | None]
_Key = TypeVar("_Key")
_DAY = 1440
# Further than any clock: whole days, and small enough for an integer column.
_FIRST, _LAST = -_DAY * 1_000_000, _DAY * 1_000_000
_MOST_RANGES = 64
_DID = ("calls", "prefill_tokens", "decode_tokens", "nanousd")
# The sums of no closed minute.
NOTHING: Mapping[str, int | None] = {name: None if name.endswith("_nanousd") else 0 for name in (*ENGINE_SUMS, "closed_minutes")}


@dataclass(frozen=True, slots=True)
class Up:
    """What was up: minutes of replicas, those of them with a price and what those cost, minutes of engines."""

    replica_minutes: int = 0
    priced_minutes: int = 0
    nanousd: int | None = None
    minutes: int = 0


def up(conn: Connection, period: Period) -> Up:
    """What was up in a period, all engines together."""
    days, rest = _parts(conn, period, _DAY)
    d = engine_days.c
    whole = select(func.sum(d.replica_minutes), func.sum(d.priced_minutes), func.sum(d.up_nanousd), func.sum(d.minutes))
    found = [_up(conn.execute(whole.where(*_of_days(engine_days, span))).one()) for span in days]
    return _together([*found, *(one for span in rest for one in ups(conn, span).values())])


def ups(conn: Connection, span: Span) -> dict[str, Up]:
    """What was up in a range of minutes, from the minutes, by engine."""
    g = gpu_minutes.c
    query = select(g.engine, func.count(), func.count(g.bill_nanousd), func.sum(g.bill_nanousd), func.count(g.minute.distinct()))
    return {row[0]: _up(row[1:]) for row in conn.execute(query.where(g.minute >= span[0], g.minute < span[1]).group_by(g.engine))}


def closed(conn: Connection, period: Period, minutes: int) -> dict[tuple[str, int], Sums]:
    """The closed minutes of a period by engine and step: ENGINE_SUMS and the number of them (`closed_minutes`)."""
    days, rest = _parts(conn, period, minutes)
    found: dict[tuple[str, int], Sums] = {}
    for span in days:
        _add(found, _rows(conn, _by_step(engine_days, (*ENGINE_SUMS, "closed_minutes"), span, minutes)))
    for span in rest:
        _add(found, closed_minutes(conn, span, minutes))
    return {key: sums for key, sums in found.items() if sums["closed_minutes"]}


def closed_minutes(conn: Connection, span: Span, minutes: int) -> dict[tuple[str, int], Sums]:
    """The same of a range of minutes, from the minutes."""
    m = engine_minutes.c
    columns = [func.sum(value).label(name) for name, value in _measures().items()]
    step = (m.minute // minutes).label("step")
    query = select(m.engine, step, *columns, func.count().label("closed_minutes")).where(m.minute >= span[0], m.minute < span[1])
    return _rows(conn, query.group_by(m.engine, literal_column("step")))


def replicas(conn: Connection, period: Period, minutes: int) -> dict[tuple[str, int], int]:
    """Milliseconds that replicas were up in closed minutes, by engine and step."""
    days, rest = _parts(conn, period, minutes)
    found: dict[tuple[str, int], int] = {}
    parts = [{key: sums["replica_ms"] or 0 for key, sums in _rows(conn, _by_step(engine_days, ("replica_ms",), span, minutes)).items()} for span in days]
    for part in [*parts, *(replica_minutes(conn, span, minutes) for span in rest)]:
        for key, value in part.items():
            found[key] = found.get(key, 0) + value
    return found


def replica_minutes(conn: Connection, span: Span, minutes: int) -> dict[tuple[str, int], int]:
    """The same of a range of minutes, from the minutes."""
    g, m = gpu_minutes.c, engine_minutes.c
    joined = gpu_minutes.join(engine_minutes, and_(m.engine == g.engine, m.minute == g.minute))
    query = select(g.engine, (g.minute // minutes).label("step"), func.sum(g.milliseconds)).select_from(joined)
    query = query.where(g.minute >= span[0], g.minute < span[1]).group_by(g.engine, literal_column("step"))
    return {(engine, step): int(value) for engine, step, value in conn.execute(query)}


def backends(conn: Connection, period: Period, minutes: int) -> dict[tuple[str, int, str], Sums]:
    """What each backend did in closed minutes, by engine and step: calls, tokens, nano-dollars."""
    days, rest = _parts(conn, period, minutes)
    found: dict[tuple[str, int, str], Sums] = {}
    for span in days:
        query = _by_step(backend_days, _DID, span, minutes, backend_days.c.backend)
        _add(found, {(row[0], row[1], row[2]): _sums(row[3:], _DID) for row in conn.execute(query)})
    for span in rest:
        _add(found, backend_minutes_of(conn, span, minutes))
    return found


def backend_minutes_of(conn: Connection, span: Span, minutes: int) -> dict[tuple[str, int, str], Sums]:
    """The same of a range of minutes, from the minutes."""
    b = backend_minutes.c
    columns = [func.sum(b[name]).label(name) for name in _DID]
    query = select(b.engine, (b.minute // minutes).label("step"), b.backend, *columns).where(b.minute >= span[0], b.minute < span[1])
    return {(row[0], row[1], row[2]): _sums(row[3:], _DID) for row in conn.execute(query.group_by(b.engine, literal_column("step"), b.backend))}


@cache
def _measures() -> Mapping[str, ColumnElement[Any]]:
    """ENGINE_SUMS over `engine_minutes`. Minutes that were closed before work was kept apart have none of it."""
    m = engine_minutes.c
    priced = m.bill_nanousd.is_not(None)
    own = func.coalesce(m.prefill_tokens, 0) + func.coalesce(m.decode_tokens, 0)
    foreign = func.coalesce(m.foreign_prefill_tokens, 0) + func.coalesce(m.foreign_decode_tokens, 0)
    special: Mapping[str, ColumnElement[Any]] = {
        "foreign_nanousd": case((priced, func.coalesce(m.foreign_nanousd, 0))),
        "priced_tokens": case((priced, own), else_=0),
        "all_priced_tokens": case((priced, own + foreign), else_=0),
    }
    return {name: special[name] if name in special else m[name] if name.endswith("_nanousd") else func.coalesce(m[name], 0) for name in ENGINE_SUMS}


def _parts(conn: Connection, period: Period, minutes: int) -> tuple[list[Span], list[Span]]:
    """Which minutes of a period days answer, and for which the minutes themselves are read."""
    first, end = (default if edge is None else math.ceil(edge / 60) for edge, default in ((period.since, _FIRST), (period.until, _LAST)))
    whole: list[Span] = [(first, end)] if first < end else []
    if minutes % _DAY:
        return [], whole
    d = gpu_dirty.c.day
    dirty = conn.execute(select(d).where(d >= first // _DAY, d <= end // _DAY)).scalars()
    days = spans.without(spans.aligned(whole, _DAY), spans.joined(spans.of_units((day * _DAY for day in dirty), _DAY), _MOST_RANGES))
    return days, spans.without(whole, days)


def _of_days(table: Table, span: Span) -> list[ColumnElement[bool]]:
    return [table.c.day >= span[0] // _DAY, table.c.day < span[1] // _DAY]


def _by_step(table: Table, names: Sequence[str], span: Span, minutes: int, *more: ColumnElement[Any]) -> Select[Any]:
    t = table.c
    columns = [func.sum(t[name]).label(name) for name in names]
    # By name: Postgres would not see that two bound parameters of the same expression are the same.
    query = select(t.engine, (t.day // (minutes // _DAY)).label("step"), *more, *columns).where(*_of_days(table, span))
    return query.group_by(t.engine, literal_column("step"), *more)


def _rows(conn: Connection, query: Select[Any]) -> dict[tuple[str, int], Sums]:
    found = conn.execute(query)
    names = list(found.keys())[2:]
    return {(row[0], row[1]): _sums(row[2:], names) for row in found}


def _sums(values: Sequence[Any], names: Sequence[str]) -> Sums:
    """Postgres sums big integers as decimals."""
    return {name: None if value is None else int(value) for name, value in zip(names, values, strict=True)}


def _add(found: dict[_Key, Sums], more: Mapping[_Key, Sums]) -> None:
    for key, sums in more.items():
        known = found.get(key)
        if known is None:
            found[key] = sums
        else:
            found[key] = {name: b if (a := known[name]) is None else a if b is None else a + b for name, b in sums.items()}


def _up(values: Sequence[Any]) -> Up:
    return Up(int(values[0] or 0), int(values[1] or 0), None if values[2] is None else int(values[2]), int(values[3] or 0))


def _together(found: Sequence[Up]) -> Up:
    known = [one.nanousd for one in found if one.nanousd is not None]
    return Up(sum(o.replica_minutes for o in found), sum(o.priced_minutes for o in found), sum(known) if known else None, sum(o.minutes for o in found))
