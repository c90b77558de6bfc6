"""Decision records and the snapshots they were made from. The only writer of `decisions`, `decision_shapes` and `snapshots`.

Here: storing the texts and giving back values that router/record.py can replay. Not here: how a decision is packed (shape.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Connection, RowMapping, delete, select

from gateway.store import bulk, shape
from gateway.store.tables import decision_shapes, decisions, snapshots
from router import record
from router.types import Decision, Snapshot

if TYPE_CHECKING:
    from gateway.store.bulk import Writer
    from gateway.store.records import DecisionText, SnapshotBody
    from gateway.store.shape import Names

_PACKED = select(decisions.c.packed, decision_shapes.c.body.label("names")).join(decision_shapes, decision_shapes.c.digest == decisions.c.shape_digest)


def insert(conn: Connection, items: Sequence[DecisionText], shape_digest: str, into: Writer = bulk.insert_new) -> None:
    """Store decisions packed in the shape of `shape_digest`; one that is there already stays (or is refused, by `bulk.insert_fresh`)."""
    into(conn, decisions, [(name, time, route, digest, shape_digest, packed) for name, time, route, digest, packed in items])


def insert_snapshots(conn: Connection, items: Sequence[SnapshotBody]) -> None:
    """Store snapshots by their digest."""
    bulk.insert_new(conn, snapshots, [(s.digest, s.body) for s in items])


def keep_shape(conn: Connection, names: Names) -> str:
    """Store the shape of packed decisions; its digest."""
    body = orjson.dumps(names).decode()
    digest = hashlib.sha256(body.encode()).hexdigest()
    bulk.insert_new(conn, decision_shapes, [(digest, body)])
    return digest


def get(conn: Connection, decision_id: str) -> tuple[Decision, Snapshot] | None:
    """A decision and the snapshot it was made from, ready to replay; None when either is not (or no longer) there."""
    both = _PACKED.add_columns(snapshots.c.body).join(snapshots, snapshots.c.digest == decisions.c.snapshot_digest)
    row = conn.execute(both.where(decisions.c.id == decision_id)).mappings().one_or_none()
    return None if row is None else (_decision(row), record.from_dict(Snapshot, orjson.loads(row["body"])))


def several(conn: Connection, decision_ids: Collection[str]) -> dict[str, tuple[Decision, Snapshot]]:
    """Those decisions that are still there, with the snapshots they were made from, by id."""
    found: dict[str, tuple[Decision, Snapshot]] = {}
    read: dict[str, Snapshot] = {}
    for some in bulk.chunks(sorted(decision_ids)):
        rows = conn.execute(_PACKED.add_columns(decisions.c.id, decisions.c.snapshot_digest).where(decisions.c.id.in_(some))).mappings().all()
        missing = sorted({row["snapshot_digest"] for row in rows} - read.keys())
        for digest, body in conn.execute(select(snapshots.c.digest, snapshots.c.body).where(snapshots.c.digest.in_(missing))):
            read[digest] = record.from_dict(Snapshot, orjson.loads(body))
        found |= {row["id"]: (_decision(row), read[row["snapshot_digest"]]) for row in rows if row["snapshot_digest"] in read}
    return found


def recent(conn: Connection, limit: int, route: str | None = None) -> list[Decision]:
    """The newest decisions, newest first."""
    query = _PACKED.order_by(decisions.c.time.desc(), decisions.c.id.desc()).limit(limit)
    if route is not None:
        query = query.where(decisions.c.route == route)
    return [_decision(row) for row in conn.execute(query).mappings()]


def delete_before(conn: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` of the decisions older than `before`; how many were deleted. Snapshots without decisions go by `delete_unused`."""
    ids = list(conn.execute(select(decisions.c.id).where(decisions.c.time < before).order_by(decisions.c.time).limit(limit)).scalars())
    for some in bulk.chunks(ids):
        conn.execute(delete(decisions).where(decisions.c.id.in_(some)))
    return len(ids)


def _decision(row: RowMapping) -> Decision:
    return record.from_dict(Decision, shape.unpack_decision(orjson.loads(row["packed"]), orjson.loads(row["names"])))
