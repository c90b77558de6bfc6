"""Drift in the database: samples until they are counted, counts, levels, proposals of retraining. The only writer of the tables in drift_tables.py.

Here: rows in and out. Not here: what they mean (router/drift.py), when they are looked at (gateway/drift/).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, delete, insert, select, text, update

from gateway.store import bulk
from gateway.store.drift_tables import drift_proposals, drift_samples, drift_states, drift_windows
from gateway.store.quality_tables import shadow_pairs
from router.quick import quick

Level = Literal["none", "notify", "shadow", "stop", "retrain"]
# (route, adapter, version). The adapter without a name at version 0 is the route itself, whoever answers.
Place = tuple[str, str, int]

STOPPED: tuple[Level, ...] = ("stop", "retrain")
SHADOWED: tuple[Level, ...] = ("shadow", *STOPPED)
# Samples wait seconds. Where nobody counts them for so long, they are forgotten.
KEPT_S = 3600.0
# Of a route that left the configuration or a version that is retired.
GONE_S = 30 * 86_400.0
_PROPOSALS_KEPT_S = 400 * 86_400.0
_LOCK_ID = 0x62726B78


@quick
@dataclass(frozen=True, slots=True)
class Sample:
    """What a worker measured of one answered request: `body` is a row of numbers (gateway/drift/sketch.py), never text. `adapter` is empty where the answer was
    no adapter's."""

    exchange_id: str
    time: float
    route: str
    adapter: str
    version: int
    body: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class State:
    """How one adapter version does on one route. Instants in epoch seconds; `action` is what was done last about its level, at `acted_at`."""

    place: Place
    level: Level
    since: float
    reasons: tuple[str, ...]
    action: str | None
    acted_at: float | None
    samples: int
    report: Mapping[str, Any]
    memory: Mapping[str, Any]
    updated_at: float


@dataclass(frozen=True, slots=True)
class Window:
    """The counts of one part of a place."""

    place: Place
    part: str
    n: int
    body: Any


@dataclass(frozen=True, slots=True)
class Proposal:
    """Retraining was proposed. `since` is when what it is about began, `status` open or withdrawn, `summary` what differs."""

    id: str
    time: float
    place: Place
    since: float
    status: str
    summary: Mapping[str, Any]


def stopped(conn: Connection) -> set[Place]:
    """The (route, adapter, version) that drifted so far that the router should not send them requests."""
    return _at(conn, STOPPED)


def shadowed(conn: Connection) -> set[Place]:
    """Those whose answers should be compared with the hosted model's more often than usual; the stopped ones are among them."""
    return _at(conn, SHADOWED)


def lock(conn: Connection) -> None:
    """Whoever counts does so alone: on Postgres by a lock, on SQLite there is one writer anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})


def insert_samples(conn: Connection, items: Sequence[Sample]) -> None:
    """Keep what workers measured until it is counted; one that is there already stays."""
    bulk.insert_new(conn, drift_samples, [(s.exchange_id, s.time, s.route, s.adapter, s.version, orjson.dumps(s.body).decode()) for s in items])


def take_samples(conn: Connection, limit: int) -> list[Sample]:
    """The oldest samples, deleted in this transaction."""
    rows = conn.execute(select(drift_samples).order_by(drift_samples.c.time, drift_samples.c.exchange_id).limit(limit)).all()
    for some in bulk.chunks([row.exchange_id for row in rows]):
        conn.execute(delete(drift_samples).where(drift_samples.c.exchange_id.in_(some)))
    return [Sample(row.exchange_id, row.time, row.route, row.adapter, row.version, tuple(orjson.loads(row.body))) for row in rows]


def waiting(conn: Connection) -> bool:
    """Whether there is a sample to count."""
    return conn.execute(select(drift_samples.c.exchange_id).limit(1)).first() is not None


def pairs(conn: Connection, place: Place, after: float, until: float, limit: int) -> list[tuple[float, float]]:
    """When and how far a version's answers agreed (0 to 1) with the hosted model's, `after` excluded, `until` included, oldest first."""
    p = shadow_pairs.c
    where = (p.route == place[0], p.adapter == place[1], p.version == place[2], p.agreed.is_not(None), p.time > after, p.time <= until)
    return [(row.time, row.agreed) for row in conn.execute(select(p.time, p.agreed).where(*where).order_by(p.time, p.id).limit(limit))]


def states(conn: Connection, route: str | None = None) -> list[State]:
    """Every state, by route, adapter and version."""
    query = select(drift_states).order_by(drift_states.c.route, drift_states.c.adapter, drift_states.c.version)
    if route is not None:
        query = query.where(drift_states.c.route == route)
    return [_state(row) for row in conn.execute(query)]


def put_state(conn: Connection, state: State) -> None:
    """Write a state."""
    route, adapter, version = state.place
    values = {
        "level": state.level,
        "since": state.since,
        "reasons": list(state.reasons),
        "action": state.action,
        "acted_at": state.acted_at,
        "samples": state.samples,
        "report": dict(state.report),
        "memory": orjson.dumps(state.memory).decode(),
        "updated_at": state.updated_at,
    }
    where = (drift_states.c.route == route, drift_states.c.adapter == adapter, drift_states.c.version == version)
    if conn.execute(update(drift_states).where(*where).values(**values)).rowcount == 0:
        conn.execute(insert(drift_states).values(route=route, adapter=adapter, version=version, **values))


def windows(conn: Connection, place: Place) -> dict[str, Window]:
    """The counts of a place by part."""
    return {row.part: Window(place, row.part, row.n, orjson.loads(row.body)) for row in conn.execute(select(drift_windows).where(*_of(drift_windows, place)))}


def put_window(conn: Connection, window: Window, now: float) -> None:
    """Write the counts of one part."""
    route, adapter, version = window.place
    values = {"n": window.n, "updated_at": now, "body": orjson.dumps(window.body).decode()}
    where = (*_of(drift_windows, window.place), drift_windows.c.part == window.part)
    if conn.execute(update(drift_windows).where(*where).values(**values)).rowcount == 0:
        conn.execute(insert(drift_windows).values(route=route, adapter=adapter, version=version, part=window.part, **values))


def drop_windows(conn: Connection, place: Place) -> None:
    """Forget the counts of a place: what comes now is the new baseline."""
    conn.execute(delete(drift_windows).where(*_of(drift_windows, place)))


def propose(conn: Connection, place: Place, since: float, summary: Mapping[str, Any], now: float) -> str:
    """Propose that a version's successor be trained on the new traffic; the id. One that is open already is renewed instead."""
    route, adapter, version = place
    p = drift_proposals.c
    where = (p.route == route, p.adapter == adapter, p.version == version, p.status == "open")
    found: str | None = conn.execute(select(p.id).where(*where)).scalar()
    if found is not None:
        conn.execute(update(drift_proposals).where(p.id == found).values(summary=dict(summary)))
        return found
    made = f"prop_{secrets.token_hex(8)}"
    values = {"id": made, "time": now, "route": route, "adapter": adapter, "version": version, "since": since, "status": "open", "summary": dict(summary)}
    conn.execute(insert(drift_proposals).values(**values))
    return made


def withdraw(conn: Connection, place: Place) -> None:
    """What was proposed for a version is not wanted any more."""
    p = drift_proposals.c
    where = (p.route == place[0], p.adapter == place[1], p.version == place[2], p.status == "open")
    conn.execute(update(drift_proposals).where(*where).values(status="withdrawn"))


def proposals(conn: Connection, route: str | None = None, limit: int = 100) -> list[Proposal]:
    """What was proposed, newest first."""
    p = drift_proposals.c
    query = select(drift_proposals).order_by(p.time.desc(), p.id).limit(limit)
    if route is not None:
        query = query.where(p.route == route)
    return [Proposal(row.id, row.time, (row.route, row.adapter, row.version), row.since, row.status, row.summary) for row in conn.execute(query)]


def forget(conn: Connection, now: float) -> int:
    """Delete samples that nobody counted, and what was not touched for a month; how many rows."""
    gone = conn.execute(delete(drift_samples).where(drift_samples.c.time < now - KEPT_S)).rowcount
    gone += conn.execute(delete(drift_states).where(drift_states.c.updated_at < now - GONE_S)).rowcount
    # The counts of an hour of the week are touched once a week at most; they go with the place they belong to.
    live = select(drift_windows.c.route, drift_windows.c.adapter, drift_windows.c.version).where(drift_windows.c.updated_at >= now - GONE_S).distinct()
    known = {tuple(row) for row in conn.execute(live)}
    for row in conn.execute(select(drift_windows.c.route, drift_windows.c.adapter, drift_windows.c.version).distinct()).all():
        if tuple(row) not in known:
            gone += conn.execute(delete(drift_windows).where(*_of(drift_windows, (row.route, row.adapter, row.version)))).rowcount
    return gone + conn.execute(delete(drift_proposals).where(drift_proposals.c.time < now - _PROPOSALS_KEPT_S)).rowcount


def _at(conn: Connection, levels: Sequence[Level]) -> set[Place]:
    s = drift_states.c
    return {(row.route, row.adapter, row.version) for row in conn.execute(select(s.route, s.adapter, s.version).where(s.level.in_(levels)))}


def _of(table: Any, place: Place) -> tuple[Any, Any, Any]:
    return table.c.route == place[0], table.c.adapter == place[1], table.c.version == place[2]


def _state(row: Any) -> State:
    return State(
        place=(row.route, row.adapter, row.version),
        level=row.level,
        since=row.since,
        reasons=tuple(row.reasons),
        action=row.action,
        acted_at=row.acted_at,
        samples=row.samples,
        report=row.report,
        memory=orjson.loads(row.memory),
        updated_at=row.updated_at,
    )
