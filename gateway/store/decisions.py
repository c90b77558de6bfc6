"""Decision records and the snapshots they were made from. The only writer of `decisions` and `snapshots`.

Here: storing the JSON texts and giving back values that router/record.py can replay. Not here: the format of those texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Connection, delete, select

from gateway.store import bulk
from gateway.store.tables import decisions, snapshots
from router import record
from router.types import Decision, Snapshot

if TYPE_CHECKING:
    from gateway.store.records import DecisionText, SnapshotBody


def insert(conn: Connection, items: Sequence[DecisionText]) -> None:
    """Store decisions; one that is there already stays."""
    bulk.insert_new(conn, decisions, [(d.id, d.time, d.route, d.snapshot_digest, d.record) for d in items])


def insert_snapshots(conn: Connection, items: Sequence[SnapshotBody]) -> None:
    """Store snapshots by their digest."""
    bulk.insert_new(conn, snapshots, [(s.digest, s.body) for s in items])


def get(conn: Connection, decision_id: str) -> tuple[Decision, Snapshot] | None:
    """A decision and the snapshot it was made from, ready to replay; None when either is not (or no longer) there."""
    query = select(decisions.c.record, snapshots.c.body).join(snapshots, snapshots.c.digest == decisions.c.snapshot_digest)
    row = conn.execute(query.where(decisions.c.id == decision_id)).one_or_none()
    if row is None:
        return None
    return record.decision_from_dict(orjson.loads(row.record)), record.snapshot_from_dict(orjson.loads(row.body))


def recent(conn: Connection, limit: int, route: str | None = None) -> list[Decision]:
    """The newest decisions, newest first."""
    query = select(decisions.c.record).order_by(decisions.c.time.desc(), decisions.c.id.desc()).limit(limit)
    if route is not None:
        query = query.where(decisions.c.route == route)
    return [record.decision_from_dict(orjson.loads(text)) for text in conn.execute(query).scalars()]


def delete_before(conn: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` of the decisions older than `before`; how many were deleted. Snapshots without decisions go by `delete_unused`."""
    ids = list(conn.execute(select(decisions.c.id).where(decisions.c.time < before).order_by(decisions.c.time).limit(limit)).scalars())
    for some in bulk.chunks(ids):
        conn.execute(delete(decisions).where(decisions.c.id.in_(some)))
    return len(ids)
