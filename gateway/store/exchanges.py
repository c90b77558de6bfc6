"""Settled exchanges and their attempts: the ledger's rows. The only writer of `exchanges` and `attempts`.

Here: writing rows, reading one, paging. Not here: sums (costs.py, series.py) and where rows come from (ingest.py).
An exchange whose usage is unknown has NULL tokens in the table; the Exchange value carries zeros and `usage_state="unknown"`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, String, bindparam, cast, delete, exists, func, select, tuple_, update

from gateway.store import bulk, rollups, shape
from gateway.store.bulk import Writer
from gateway.store.period import ALWAYS, Period
from gateway.store.rows import Layout, Rows
from gateway.store.tables import TOKEN_COLUMNS, attempts, exchanges
from router.errors import RequestError
from router.types import Attempt, Exchange, Outcome, Usage

_counts = attrgetter(*(field.name for field in fields(Usage)))  # in the order of TOKEN_COLUMNS

# SQLite and Postgres both take far more bound parameters than this.
_MOST_IDS = 500

MAX_PAGE = 1000
_LAYOUT = Layout(shape.EXCHANGE)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges: every field that is set must match, and every one of the `tags` (name, value). Tags are in no index: what lies in the period is read
    until a page is full."""

    route: str | None = None
    backend: str | None = None
    key_id: str | None = None
    period: Period = ALWAYS
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger row. `amortised_nanousd` is its share of the GPU bill: 0 where nothing was local, None until the minutes it touched are closed."""

    exchange: Exchange
    amortised_nanousd: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, newest first; `next_cursor` is None on the last page."""

    entries: tuple[Entry, ...]
    next_cursor: str | None


def insert(conn: Connection, items: Sequence[Exchange]) -> None:
    """Store settled exchanges with their attempts; one that is there already stays as it is."""
    rows = Rows()
    for item in items:
        _LAYOUT.read(shape.pack_exchange(item), rows)
    insert_rows(conn, rows)


def insert_rows(conn: Connection, rows: Rows, into: Writer = bulk.insert_new) -> None:
    """The same for exchanges that are rows already; with `bulk.insert_fresh` as `into` one that is there already is refused."""
    into(conn, exchanges, rows.exchanges)
    into(conn, attempts, rows.attempts)
    rollups.touch(conn, rows.minutes)


def interrupted(exchange_id: str, time: float, route: str | None, endpoint: str, key_id: str | None) -> Exchange:
    """The outcome of an admitted request whose process died: status 0 (what the client saw, if anything, is not known), usage and costs unknown."""
    return Exchange(
        id=exchange_id,
        time=time,
        route=route,
        endpoint=endpoint,
        backend=None,
        adapter_version=None,
        key_id=key_id,
        tags={},
        stream=False,
        status=0,
        outcome=Outcome.INTERRUPTED,
        usage=Usage(),
        usage_state="unknown",
        cost_nanousd=None,
        cost_state="unknown",
        opportunity_nanousd=None,
        all_hosted_nanousd=None,
        ttft_ms=None,
        total_ms=0.0,
        overhead_ms=None,
        reason=None,
        decision_id=None,
    )


def get(conn: Connection, exchange_id: str) -> Entry | None:
    """One ledger row by its id (the `x-request-id`)."""
    rows = _entries(conn, select(exchanges).where(exchanges.c.id == exchange_id))
    return rows[0] if rows else None


def page(conn: Connection, where: Filter, cursor: str | None = None, limit: int = 100) -> Page:
    """A page of the ledger, newest first. `cursor` is the previous page's `next_cursor`. Raises RequestError for a cursor that is not one."""
    limit = max(1, min(limit, MAX_PAGE))
    query = _filtered(conn, select(exchanges), where).order_by(exchanges.c.time.desc(), exchanges.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        time, last = _read_cursor(cursor)
        query = query.where(tuple_(exchanges.c.time, exchanges.c.id) < tuple_(time, last))
    found = _entries(conn, query)
    more = len(found) > limit
    return Page(tuple(found[:limit]), _cursor(found[limit - 1].exchange) if more else None)


def first(conn: Connection) -> float | None:
    """When the oldest exchange came in; None in an empty ledger."""
    time: float | None = conn.execute(select(func.min(exchanges.c.time))).scalar()
    return time


def set_amortised(conn: Connection, amounts: Mapping[str, int | None]) -> None:
    """Book each exchange's share of the GPU bill, in nano-dollars; None while it is not known."""
    if amounts:
        statement = update(exchanges).where(exchanges.c.id == bindparam("exchange")).values(amortised_nanousd=bindparam("amount"))
        conn.execute(statement, [{"exchange": key, "amount": amount} for key, amount in amounts.items()])
        minutes: set[int] = set()
        for some in bulk.chunks(list(amounts)):
            minutes.update(conn.execute(select(exchanges.c.minute).distinct().where(exchanges.c.id.in_(some))).scalars())
        rollups.touch(conn, minutes)


def amortised(conn: Connection, ids: Collection[str]) -> dict[str, int]:
    """The share of the GPU bill of those exchanges that have one, nano-dollars by id; one whose minute is open is left out."""
    found: dict[str, int] = {}
    wanted = sorted(ids)
    for start in range(0, len(wanted), _MOST_IDS):
        query = select(exchanges.c.id, exchanges.c.amortised_nanousd).where(exchanges.c.id.in_(wanted[start : start + _MOST_IDS]))
        found |= {row.id: row.amortised_nanousd for row in conn.execute(query) if row.amortised_nanousd is not None}
    return found


def delete_before(conn: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` of the exchanges older than `before`, with their attempts; how many were deleted."""
    ids = list(conn.execute(select(exchanges.c.id).where(exchanges.c.time < before).order_by(exchanges.c.time).limit(limit)).scalars())
    for some in bulk.chunks(ids):
        conn.execute(delete(attempts).where(attempts.c.exchange_id.in_(some)))
        conn.execute(delete(exchanges).where(exchanges.c.id.in_(some)))
    return len(ids)


def _filtered(conn: Connection, query: Select[Any], where: Filter) -> Select[Any]:
    for column, value in ((exchanges.c.route, where.route), (exchanges.c.backend, where.backend), (exchanges.c.key_id, where.key_id)):
        if value is not None:
            query = query.where(column == value)
    for name, value in where.tags:
        query = query.where(_tagged(conn.dialect.name, name, value))
    return query.where(*where.period.times(exchanges.c.time))


def _tagged(dialect: str, name: str, value: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return cast(exchanges.c.tags[name].as_string(), String) == value
    # A path such as $."name" cannot hold every name.
    each = func.json_each(exchanges.c.tags).table_valued("key", "value")
    return exists(select(1).select_from(each).where(each.c.key == name, each.c.value == value))


def _entries(conn: Connection, query: Select[Any]) -> list[Entry]:
    rows = conn.execute(query).all()
    calls = _attempts(conn, [row.id for row in rows])
    return [Entry(_exchange(row, calls.get(row.id, [])), row.amortised_nanousd) for row in rows]


def _attempts(conn: Connection, ids: Sequence[str]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for some in bulk.chunks(ids):
        query = select(attempts).where(attempts.c.exchange_id.in_(some)).order_by(attempts.c.exchange_id, attempts.c.position)
        for row in conn.execute(query):
            found.setdefault(row.exchange_id, []).append(_attempt(row))
    return found


def _cursor(exchange: Exchange) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([exchange.time, exchange.id])).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        time, last = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(time), str(last)
    except (ValueError, TypeError, binascii.Error) as error:
        raise RequestError("`cursor` is not one of ours; pass `next_cursor` of the page before, unaltered", param="cursor") from error


def _usage(row: Row[Any]) -> Usage:
    return Usage(*[getattr(row, name) or 0 for name in TOKEN_COLUMNS])


def _exchange(row: Row[Any], calls: Sequence[Attempt]) -> Exchange:
    return Exchange(
        id=row.id,
        time=row.time,
        route=row.route,
        endpoint=row.endpoint,
        backend=row.backend,
        adapter_version=row.adapter_version,
        key_id=row.key_id,
        tags=row.tags,
        stream=row.stream,
        status=row.status,
        outcome=Outcome(row.outcome),
        usage=_usage(row),
        usage_state=row.usage_state,
        cost_nanousd=row.cost_nanousd,
        cost_state=row.cost_state,
        opportunity_nanousd=row.opportunity_nanousd,
        all_hosted_nanousd=row.all_hosted_nanousd,
        ttft_ms=row.ttft_ms,
        total_ms=row.total_ms or 0.0,
        overhead_ms=row.overhead_ms,
        reason=row.reason,
        decision_id=row.decision_id,
        sandbox=row.sandbox,
        attempts=tuple(calls),
        prompt_bytes=row.prompt_bytes,
        trace=row.trace,
        finish_reason=row.finish_reason,
    )


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        backend=row.backend,
        status=row.status,
        error=row.error,
        started=row.started,
        ttft_ms=row.ttft_ms,
        total_ms=row.total_ms,
        usage=_usage(row),
        usage_state=row.usage_state,
        cost_nanousd=row.cost_nanousd,
        cost_state=row.cost_state,
        kind=row.kind,
        service_tier=row.service_tier,
    )
