"""Days of the GPU bill: made from its minutes, never counted up. The only writer of the tables in gpu_tables.py.

Here: marking days whose minutes changed (`touch`), summing marked days again (`refresh`), freezing old ones (`freeze`). Not here: the minutes themselves
(gpu.py), what is summed and reading it (gpu_sums.py).

It is the way of the ledger's roll-ups: whoever changes a minute marks its day in the same transaction; a day is deleted, made again from its minutes and
unmarked in one transaction; readers take the minutes of marked days. On Postgres marking shares a lock that making takes alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update

from gateway.store import bulk, gpu_sums
from gateway.store.gpu_tables import allocation_days, backend_days, engine_days, gpu_dirty, gpu_horizon
from gateway.store.tables import engine_minutes
from serving.database import reading, writing

# A day is summed when this much time has passed since its end: its last minutes are closed by then.
SETTLE_S = 600.0
# Days summed by one call, newest first.
PER_CALL = 48
_DAY = 1440
_LOCK_ID = 0x62726B78


def touch(conn: Connection, minutes: Iterable[int]) -> None:
    """The bill of these minutes, or who carries it, is new or has changed. Call it in the transaction that changes it."""
    days = {minute // _DAY for minute in minutes}
    if days:
        _lock(conn, "pg_advisory_xact_lock_shared")
        bulk.insert_new(conn, gpu_dirty, [(day,) for day in sorted(days)])


def frozen(conn: Connection) -> int:
    """The minute before which closed minutes stay as they are; it holds until the transaction ends."""
    _lock(conn, "pg_advisory_xact_lock_shared")
    return _horizon(conn)


def refresh(engine: Engine, now: float, limit: int = PER_CALL) -> int:
    """Sum again the days that were marked and are over at `now`, newest first: how many. A transaction each."""
    over, d = int((now - SETTLE_S) // 86_400), gpu_dirty.c.day
    with reading(engine) as conn:
        days = list(conn.execute(select(d).where(d < over).order_by(d.desc()).limit(limit)).scalars())
    for day in days:
        with writing(engine) as conn:
            _lock(conn, "pg_advisory_xact_lock")
            _day(conn, day)
    return len(days)


def freeze(engine: Engine, minute: int) -> bool:
    """Keep closed minutes before `minute` (a whole day) as they are from now on, for single shares of them are going to be folded. False: some are not
    closed yet, or to be closed again, or their day is not summed."""
    with writing(engine) as conn:
        _lock(conn, "pg_advisory_xact_lock")
        kept, day = _horizon(conn), minute // _DAY
        if kept >= minute:
            return True
        m, d = engine_minutes.c, engine_days.c
        unready = (
            select(gpu_dirty.c.day).where(gpu_dirty.c.day < day),
            select(d.day).where(d.day < day, d.day >= kept // _DAY, d.minutes > d.closed_minutes),
            select(m.minute).where(m.minute < minute, m.minute >= kept, m.stale),
        )
        if any(conn.execute(query.limit(1)).first() is not None for query in unready):
            return False
        conn.execute(delete(gpu_horizon))
        conn.execute(insert(gpu_horizon).values(id=1, minute=minute))
    return True


def keep_folded(conn: Connection, engine: str, day: int, shares: int, nanousd: int) -> None:
    """Add what single shares of a day carried to what was folded of it before. Call it in the transaction that deletes them."""
    d = allocation_days.c
    more = {"shares": d.shares + shares, "nanousd": d.nanousd + nanousd}
    if conn.execute(update(allocation_days).where(d.engine == engine, d.day == day).values(more)).rowcount == 0:
        conn.execute(insert(allocation_days).values(engine=engine, day=day, shares=shares, nanousd=nanousd))


def _day(conn: Connection, day: int) -> None:
    span = (day * _DAY, (day + 1) * _DAY)
    for table in (engine_days, backend_days):
        conn.execute(delete(table).where(table.c.day == day))
    rows: dict[str, dict[str, Any]] = {engine: {"engine": engine, "day": day} | _whole(up) for engine, up in gpu_sums.ups(conn, span).items()}
    closed, replicas = gpu_sums.closed_minutes(conn, span, _DAY), gpu_sums.replica_minutes(conn, span, _DAY)
    nothing = {"replica_minutes": 0, "priced_minutes": 0, "minutes": 0, "up_nanousd": None}
    for engine in rows.keys() | {engine for engine, _ in closed}:
        row = rows.setdefault(engine, {"engine": engine, "day": day} | nothing)
        row |= closed.get((engine, day)) or gpu_sums.NOTHING
        row["replica_ms"] = replicas.get((engine, day), 0)
    if rows:
        conn.execute(insert(engine_days), list(rows.values()))
    did = [{"engine": engine, "day": day, "backend": name} | sums for (engine, _, name), sums in gpu_sums.backend_minutes_of(conn, span, _DAY).items()]
    if did:
        conn.execute(insert(backend_days), did)
    conn.execute(delete(gpu_dirty).where(gpu_dirty.c.day == day))


def _whole(up: gpu_sums.Up) -> dict[str, Any]:
    return {"replica_minutes": up.replica_minutes, "priced_minutes": up.priced_minutes, "minutes": up.minutes, "up_nanousd": up.nanousd}


def _horizon(conn: Connection) -> int:
    return conn.execute(select(func.max(gpu_horizon.c.minute))).scalar() or 0


def _lock(conn: Connection, function: str) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(text(f"SELECT {function}(:id)"), {"id": _LOCK_ID})
