"""The only writer of `engine_replicas`: what the controller last saw of each vLLM server. Workers read it through `serving.registry.replicas`."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, and_, delete, insert, select, update

from serving.database import bump
from serving.tables import engine_replicas
from serving.views import ReplicaView

_T = engine_replicas.c


def replicas(conn: Connection) -> list[ReplicaView]:
    """Every replica known, in order of engine and index."""
    rows = conn.execute(select(engine_replicas).order_by(_T.engine, _T.replica)).mappings()
    return [ReplicaView(index=row["replica"], **{key: row[key] for key in row if key != "replica"}) for row in rows]


def put(conn: Connection, view: ReplicaView, now: float) -> None:
    """Record what was seen of one replica. Workers are told when it matters to them: url, state, health, model or context changed."""
    place = and_(_T.engine == view.engine, _T.replica == view.index)
    old = conn.execute(select(engine_replicas).where(place)).mappings().one_or_none()
    values = {
        "url": view.url,
        "model": view.model,
        "state": view.state,
        "healthy": view.healthy,
        "restarts": view.restarts,
        "detail": view.detail,
        "max_model_len": view.max_model_len,
        "room": view.room,
    }
    if old is None:
        conn.execute(insert(engine_replicas).values(engine=view.engine, replica=view.index, changed_at=now, **values))
    elif any(old[key] != value for key, value in values.items()):
        conn.execute(update(engine_replicas).where(place).values(changed_at=now, **values))
    else:
        return
    if old is None or any(old[key] != values[key] for key in ("url", "model", "state", "healthy", "max_model_len", "room")):
        bump(conn)


def keep_only(conn: Connection, known: Collection[tuple[str, int]]) -> None:
    """Forget replicas that the configuration no longer has."""
    gone = [(view.engine, view.index) for view in replicas(conn) if (view.engine, view.index) not in known]
    for engine, index in gone:
        conn.execute(delete(engine_replicas).where(_T.engine == engine, _T.replica == index))
    if gone:
        bump(conn)
