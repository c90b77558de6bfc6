"""Captured conversations: what a route's clients asked and what they were answered, for training and evaluation. The only writer of `captures`.

Here: the value, redaction on the way in, reading as a stream, deleting what is too old. Not here: which requests are captured (the data plane
samples) and for how long (config, retention.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, func, select

from gateway.store import bulk, redact
from gateway.store.tables import captures


@dataclass(frozen=True, slots=True)
class Capture:
    """One captured exchange. `request` is the body the client sent (`messages` inside), `response` the text it got, `tool_calls` the calls it got
    (OpenAI's shape), `finish` the finish reason, `backend` who answered. Build it with `redacted`: this goes to disk as it is."""

    exchange_id: str
    route: str | None
    time: float
    request: dict[str, Any]
    response: str
    finish: str | None = None
    backend: str | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()


def redacted(capture: Capture, kinds: Collection[str]) -> Capture:
    """The same capture without personal data of `kinds` (config `capture.redact`: email, phone, card)."""
    return Capture(
        capture.exchange_id,
        capture.route,
        capture.time,
        redact.body(capture.request, kinds),
        redact.text(capture.response, kinds),
        capture.finish,
        capture.backend,
        tuple(redact.body(capture.tool_calls, kinds)),
    )


def insert(conn: Connection, items: Sequence[Capture]) -> None:
    """Store captures; one that is there already stays."""
    bulk.insert_new(
        conn,
        captures,
        [(c.exchange_id, c.time, c.route, c.backend, _json(c.request), c.response, _json(c.tool_calls), c.finish) for c in items],
    )


def iterate(conn: Connection, route: str, since: float | None = None, until: float | None = None) -> Iterator[Capture]:
    """Captures of a route in the order of time, `since` included, `until` not (epoch seconds). Streams: memory does not grow with their number."""
    query = select(captures).where(captures.c.route == route).order_by(captures.c.time, captures.c.exchange_id)
    if since is not None:
        query = query.where(captures.c.time >= since)
    if until is not None:
        query = query.where(captures.c.time < until)
    for row in conn.execute(query.execution_options(yield_per=500)):
        yield _capture(row)


def get(conn: Connection, exchange_id: str) -> Capture | None:
    """The capture of one exchange."""
    row = conn.execute(select(captures).where(captures.c.exchange_id == exchange_id)).one_or_none()
    return None if row is None else _capture(row)


def counts(conn: Connection) -> Mapping[str, int]:
    """How many captures each route has."""
    rows = conn.execute(select(captures.c.route, func.count()).where(captures.c.route.is_not(None)).group_by(captures.c.route))
    return {route: count for route, count in rows}  # noqa: C416 - a Row is not a tuple of two for mypy


def delete_before(conn: Connection, route: str | None, before: float, limit: int) -> int:
    """Delete at most `limit` captures of `route` older than `before`; how many were deleted."""
    oldest = select(captures.c.exchange_id).where(captures.c.route.is_not_distinct_from(route), captures.c.time < before).limit(limit)
    return conn.execute(delete(captures).where(captures.c.exchange_id.in_(oldest))).rowcount


def routes(conn: Connection) -> list[str | None]:
    """Every route that has captures, those no longer configured included."""
    return list(conn.execute(select(captures.c.route).distinct()).scalars())


def _capture(row: Row[Any]) -> Capture:
    return Capture(row.exchange_id, row.route, row.time, orjson.loads(row.request), row.response, row.finish, row.backend, tuple(orjson.loads(row.tool_calls)))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
