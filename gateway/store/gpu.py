"""The GPU bill, minute by minute, and who carries it. The only writer of `gpu_minutes`, `engine_minutes` and `local_allocations`.

Here: recording uptime, closing minutes, reopening them. Not here: how a minute's bill is shared (router/allocate.py).

A minute is `time // 60`. It is closed when it is over, a grace has passed and no admitted request that may have run in it is still open; its bill is
then spread by work over the exchanges that ran in it, and what is left is idle: bill = allocated + idle, exactly. What comes later (a row
from the spool of a worker that had died, more uptime) marks the minute stale, and the next `close_minutes` does it again from the rows, whole.
The replicas of an engine are one pool: while anything is in flight there, none of it counts as idle.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from gateway.store import bulk, exchanges
from gateway.store.period import Period
from gateway.store.tables import attempts, engine_minutes, gpu_minutes, local_allocations, open_admits
from router.allocate import Work, minute_allocation
from router.money import half_even
from router.types import Attempt

# One generated token costs as much work as this many prompt tokens: the ratio of output to input price that hosted models of this class have
# (gpt-4o-mini: 0.60 to 0.15 dollars per million). `breakeven calibrate` measures an engine's own.
DECODE_WEIGHT = 4.0
# Late enough for the last settle of a minute to be ingested; a later one reopens the minute.
GRACE_S = 5.0
# No request is taken to run longer: an admit that is still open after this cannot hold up the books, and attempts are looked for this far back.
LONGEST_S = 3600.0
_PER_CALL = 240


@dataclass(frozen=True, slots=True)
class Bill:
    """The GPU bill of a period in nano-dollars. None: of some minutes the price is not known, and of none it is. `open_minutes` are not closed yet."""

    bill_nanousd: int | None
    allocated_nanousd: int | None
    idle_nanousd: int | None
    unpriced_minutes: int
    open_minutes: int


def record_uptime(conn: Connection, engine: str, replica: int, minute: int, seconds: float, gpu_hour_nanousd: int | None) -> None:
    """Note that a replica was up for `seconds` of a minute. Saying it again changes nothing; more seconds raise it, fewer never lower it."""
    milliseconds = round(min(max(seconds, 0.0), 60.0) * 1000)
    this = and_(gpu_minutes.c.engine == engine, gpu_minutes.c.replica == replica, gpu_minutes.c.minute == minute)
    known = conn.execute(select(gpu_minutes.c.milliseconds, gpu_minutes.c.gpu_hour_nanousd).where(this)).one_or_none()
    if known is not None and known.milliseconds >= milliseconds and known.gpu_hour_nanousd == gpu_hour_nanousd:
        return
    milliseconds = milliseconds if known is None else max(milliseconds, known.milliseconds)
    bill = None if gpu_hour_nanousd is None else half_even(gpu_hour_nanousd * milliseconds, 3_600_000)
    conn.execute(delete(gpu_minutes).where(this))
    row = {"engine": engine, "replica": replica, "minute": minute, "milliseconds": milliseconds, "gpu_hour_nanousd": gpu_hour_nanousd, "bill_nanousd": bill}
    conn.execute(insert(gpu_minutes).values(row))
    conn.execute(update(engine_minutes).where(engine_minutes.c.engine == engine, engine_minutes.c.minute == minute).values(stale=True))


def reopen(conn: Connection, local: Iterable[Attempt]) -> None:
    """Mark the closed minutes that these local attempts touch as stale: `close_minutes` does them again."""
    spans: dict[str, tuple[int, int]] = {}
    for attempt in local:
        engine = attempt.backend.split("/", 1)[0]
        minutes = _minutes(attempt.started, attempt.started + attempt.total_ms / 1000)
        known = spans.get(engine, (minutes[0], minutes[-1]))
        spans[engine] = (min(minutes[0], known[0]), max(minutes[-1], known[1]))
    for engine, (first, last) in spans.items():
        touched = (engine_minutes.c.engine == engine, engine_minutes.c.minute.between(first, last), engine_minutes.c.stale.is_(False))
        conn.execute(update(engine_minutes).where(*touched).values(stale=True))


def close_minutes(conn: Connection, now: float, *, decode_weight: float = DECODE_WEIGHT, grace_s: float = GRACE_S) -> int:
    """Close the minutes that can be closed at `now` (a few hundred at most, oldest first): how many. Ingest the spool right before."""
    oldest_open = conn.execute(select(func.min(open_admits.c.time)).where(open_admits.c.time >= now - LONGEST_S)).scalar()
    until = now - grace_s if oldest_open is None else min(now - grace_s, oldest_open)
    booked = and_(engine_minutes.c.engine == gpu_minutes.c.engine, engine_minutes.c.minute == gpu_minutes.c.minute)
    query = (
        select(gpu_minutes.c.engine, gpu_minutes.c.minute)
        .distinct()
        .outerjoin(engine_minutes, booked)
        .where(gpu_minutes.c.minute <= math.floor(until / 60) - 1, or_(engine_minutes.c.engine.is_(None), engine_minutes.c.stale))
        .order_by(gpu_minutes.c.minute, gpu_minutes.c.engine)
        .limit(_PER_CALL)
    )
    due = conn.execute(query).all()
    touched: set[str] = set()
    for engine, minute in due:
        touched |= _close(conn, engine, minute, now, decode_weight)
    _book(conn, sorted(touched))
    return len(due)


def bill(conn: Connection, period: Period) -> Bill:
    """The GPU bill of the minutes that begin in `period`."""
    inside = period.minutes(gpu_minutes.c.minute)
    total = conn.execute(select(func.sum(gpu_minutes.c.bill_nanousd), func.count(), func.count(gpu_minutes.c.bill_nanousd)).where(*inside)).one()
    closed = conn.execute(
        select(func.sum(engine_minutes.c.allocated_nanousd), func.sum(engine_minutes.c.idle_nanousd), func.count()).where(
            *period.minutes(engine_minutes.c.minute)
        )
    ).one()
    engines = conn.execute(
        select(func.count()).select_from(select(gpu_minutes.c.engine, gpu_minutes.c.minute).where(*inside).distinct().subquery())
    ).scalar_one()
    priced = total[2] > 0 or total[1] == 0
    return Bill(
        bill_nanousd=int(total[0] or 0) if priced else None,
        allocated_nanousd=int(closed[0] or 0) if priced else None,
        idle_nanousd=int(closed[1] or 0) if priced else None,
        unpriced_minutes=total[1] - total[2],
        open_minutes=engines - closed[2],
    )


def _close(conn: Connection, engine: str, minute: int, now: float, decode_weight: float) -> set[str]:
    """Spread one minute's bill: the exchanges whose share is new or has changed."""
    ups = conn.execute(
        select(gpu_minutes.c.milliseconds, gpu_minutes.c.bill_nanousd).where(gpu_minutes.c.engine == engine, gpu_minutes.c.minute == minute)
    ).all()
    milliseconds = max(up.milliseconds for up in ups)
    bills = [up.bill_nanousd for up in ups]
    row = {"engine": engine, "minute": minute, "milliseconds": milliseconds, "closed_at": now, "stale": False}
    mine = and_(local_allocations.c.engine == engine, local_allocations.c.minute == minute)
    before = set(conn.execute(select(local_allocations.c.exchange_id).where(mine)).scalars())
    conn.execute(delete(local_allocations).where(mine))
    conn.execute(delete(engine_minutes).where(engine_minutes.c.engine == engine, engine_minutes.c.minute == minute))
    if None in bills:
        conn.execute(insert(engine_minutes).values(row))
        return before
    window = (minute * 60.0, minute * 60.0 + 60.0)
    work = _work(conn, engine, window, decode_weight)
    amounts, idle = minute_allocation(sum(bills), milliseconds / 1000, work, window)
    shares = {item[0]: 0 for item in work} | amounts
    bulk.insert_new(conn, local_allocations, [(engine, minute, exchange_id, amount) for exchange_id, amount in shares.items()])
    conn.execute(insert(engine_minutes).values(row | {"bill_nanousd": sum(bills), "allocated_nanousd": sum(bills) - idle, "idle_nanousd": idle}))
    return before | set(shares)


def _work(conn: Connection, engine: str, window: tuple[float, float], decode_weight: float) -> list[Work]:
    """What ran on an engine in a window. An attempt of unknown usage has no weight, but the time it took is not idle."""
    query = select(attempts).where(
        attempts.c.kind == "local",
        attempts.c.owner == engine,
        attempts.c.started < window[1],
        attempts.c.started >= window[0] - LONGEST_S,
        attempts.c.ended > window[0],
    )
    return [
        (row.exchange_id, row.started, row.ended, float((row.input_tokens or 0) - (row.cached_tokens or 0)), (row.output_tokens or 0) * decode_weight)
        for row in conn.execute(query.order_by(attempts.c.exchange_id, attempts.c.position))
    ]


def _book(conn: Connection, ids: Sequence[str]) -> None:
    """Write into each exchange its share of the bill, once every minute it ran in is closed and priced; until then it is unknown."""
    for some in bulk.chunks(ids):
        needed: dict[str, set[tuple[str, int]]] = {}
        query = select(attempts.c.exchange_id, attempts.c.owner, attempts.c.started, attempts.c.ended)
        for row in conn.execute(query.where(attempts.c.exchange_id.in_(some), attempts.c.kind == "local")):
            needed.setdefault(row.exchange_id, set()).update((row.owner, minute) for minute in _minutes(row.started, row.ended))
        closed = _closed(conn, {place for places in needed.values() for place in places})
        sums = select(local_allocations.c.exchange_id, func.sum(local_allocations.c.nanousd)).where(local_allocations.c.exchange_id.in_(some))
        amounts = {row[0]: int(row[1]) for row in conn.execute(sums.group_by(local_allocations.c.exchange_id))}
        exchanges.set_amortised(conn, {key: amounts.get(key, 0) if places <= closed else None for key, places in needed.items()})


def _closed(conn: Connection, places: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    if not places:
        return set()
    minutes = [minute for _, minute in places]
    query = select(engine_minutes.c.engine, engine_minutes.c.minute).where(
        engine_minutes.c.minute.between(min(minutes), max(minutes)), engine_minutes.c.bill_nanousd.is_not(None)
    )
    return {(row.engine, row.minute) for row in conn.execute(query)}


def _minutes(started: float, ended: float) -> range:
    """The minutes an attempt ran in; one that ends on the stroke of a minute did not run in the next."""
    first = math.floor(started / 60)
    return range(first, max(first, math.ceil(ended / 60) - 1) + 1)
