"""The last judgement of each version on each route, for people. The only writer of `quality_states`; nothing is decided from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from gateway.store.quality_tables import quality_states

# (route, adapter, version).
Place = tuple[str, str, int]


def put(conn: Connection, place: Place, body: Mapping[str, Any], now: float) -> None:
    """Keep a judgement in place of the one before."""
    c = quality_states.c
    where = and_(c.route == place[0], c.adapter == place[1], c.version == place[2])
    if conn.execute(update(quality_states).where(where).values(time=now, body=dict(body))).rowcount == 0:
        conn.execute(insert(quality_states).values(route=place[0], adapter=place[1], version=place[2], time=now, body=dict(body)))


def every(conn: Connection, adapter: str | None = None) -> dict[Place, dict[str, Any]]:
    """The judgements there are, of one adapter or of all, each with its `time`."""
    query = select(quality_states)
    if adapter is not None:
        query = query.where(quality_states.c.adapter == adapter)
    return {(row.route, row.adapter, row.version): {**row.body, "time": row.time} for row in conn.execute(query)}


def forget(conn: Connection, before: float) -> int:
    """Delete what nobody has looked at since `before`; how many."""
    return conn.execute(delete(quality_states).where(quality_states.c.time < before)).rowcount
