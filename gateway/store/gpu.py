"""The GPU bill, minute by minute, and who carries it. The only writer of `gpu_minutes`, `engine_minutes`, `backend_minutes` and `local_allocations`.

Here: recording uptime, closing minutes, reopening them. Not here: how a minute's bill is shared (router/allocate.py), which work is foreign
(router/foreign.py), what ran in a minute (calls.py), days (gpu_days.py), sums of a
period (gpu_sums.py).

A minute is `time // 60`. It is closed when it is over, a grace has passed and no admitted request that may have run in it is still open; its bill is
then spread by work over the exchanges that ran in it, work that vLLM's counters saw and no exchange explains is foreign, and what is left is idle:
bill = allocated + foreign + idle, exactly. What comes later (a row from the spool of a worker that had died, more uptime) marks the minute stale, and the
next `close_minutes` does it again from the rows, whole. The replicas of an engine are one pool: while anything is in flight there, none of it counts as idle.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from gateway.store import bulk, calls, curves, engine_work, exchanges, gpu_days, gpu_sums
from gateway.store.calls import LONGEST_S, Ran, minutes_of
from gateway.store.engine_tables import backend_minutes
from gateway.store.gpu_tables import engine_days
from gateway.store.period import Period
from gateway.store.rows import Run
from gateway.store.tables import attempts, engine_minutes, gpu_minutes, local_allocations, open_admits
from router.allocate import Minute, Others, Work, busy_seconds, minute_allocation
from router.foreign import Tokens, explained, unexplained
from router.money import half_even
from router.types import Attempt

# One generated token costs as much work as this many prompt tokens: the ratio of output to input price that hosted models of this class have
# (gpt-4o-mini: 0.60 to 0.15 dollars per million), for engines whose own `breakeven calibrate` has not measured.
DECODE_WEIGHT = 4.0
# Late enough for the last settle of a minute to be ingested; a later one reopens the minute.
GRACE_S = 5.0
_PER_CALL = 240


@dataclass(frozen=True, slots=True)
class Bill:
    """The GPU bill of a period in nano-dollars. None: of some minutes the price is not known, and of none it is. `open_minutes` are not closed yet."""

    bill_nanousd: int | None
    allocated_nanousd: int | None
    idle_nanousd: int | None
    unpriced_minutes: int
    open_minutes: int
    foreign_nanousd: int | None = 0


def record_uptime(conn: Connection, engine: str, replica: int, minute: int, seconds: float, gpu_hour_nanousd: int | None) -> None:
    """Note that a replica was up for `seconds` of a minute. Saying it again changes nothing; more seconds raise it, fewer never lower it.

    A price that is not the one of before holds for the seconds from here on; a minute of which a part has no price has no bill.
    """
    milliseconds = round(min(max(seconds, 0.0), 60.0) * 1000)
    if minute < gpu_days.frozen(conn):
        return
    this = and_(gpu_minutes.c.engine == engine, gpu_minutes.c.replica == replica, gpu_minutes.c.minute == minute)
    known = conn.execute(select(gpu_minutes).where(this)).one_or_none()
    if known is not None and known.milliseconds >= milliseconds and known.gpu_hour_nanousd == gpu_hour_nanousd:
        return
    milliseconds = milliseconds if known is None else max(milliseconds, known.milliseconds)
    earlier_ms, earlier = _earlier(known, gpu_hour_nanousd)
    row = {"engine": engine, "replica": replica, "minute": minute, "milliseconds": milliseconds, "gpu_hour_nanousd": gpu_hour_nanousd}
    row |= {"earlier_ms": earlier_ms, "earlier_nanousd": earlier, "bill_nanousd": _bill(milliseconds - earlier_ms, gpu_hour_nanousd, earlier)}
    conn.execute(delete(gpu_minutes).where(this))
    conn.execute(insert(gpu_minutes).values(row))
    gpu_days.touch(conn, [minute])
    reopen_minutes(conn, [(engine, minute)])


def _earlier(known: Row[tuple[object, ...]] | None, gpu_hour_nanousd: int | None) -> tuple[int, int | None]:
    """The milliseconds of a minute at earlier prices, and what they cost."""
    if known is None:
        return 0, 0
    if known.gpu_hour_nanousd == gpu_hour_nanousd:
        return known.earlier_ms, known.earlier_nanousd
    return known.milliseconds, known.bill_nanousd


def _bill(milliseconds: int, gpu_hour_nanousd: int | None, earlier: int | None) -> int | None:
    if earlier is None or (gpu_hour_nanousd is None and milliseconds):
        return None
    return earlier + half_even((gpu_hour_nanousd or 0) * milliseconds, 3_600_000)


def reopen_minutes(conn: Connection, places: Iterable[tuple[str, int]]) -> None:
    """Mark these (engine, minute) as stale where they are closed and not frozen."""
    kept = gpu_days.frozen(conn)
    for engine, minute in places:
        if minute < kept:
            continue
        conn.execute(update(engine_minutes).where(engine_minutes.c.engine == engine, engine_minutes.c.minute == minute).values(stale=True))


def reopen(conn: Connection, local: Iterable[Attempt]) -> None:
    """Mark the closed minutes that these local attempts touch as stale: `close_minutes` does them again."""
    reopen_runs(conn, [(attempt.backend.split("/", 1)[0], attempt.started, attempt.started + attempt.total_ms / 1000) for attempt in local])


def reopen_runs(conn: Connection, runs: Iterable[Run]) -> None:
    """The same for what ran on an engine from a start to an end. What comes later than a minute is frozen has no share of it, and is listed as such."""
    spans: dict[str, tuple[float, float]] = {}
    for engine, started, ended in runs:
        known = spans.get(engine)
        spans[engine] = (started, ended) if known is None else (min(started, known[0]), max(ended, known[1]))
    for engine, span in spans.items():
        minutes = minutes_of(*span)
        first = max(minutes[0], gpu_days.frozen(conn))
        touched = (engine_minutes.c.engine == engine, engine_minutes.c.minute.between(first, minutes[-1]), engine_minutes.c.stale.is_(False))
        conn.execute(update(engine_minutes).where(*touched).values(stale=True))


def close_minutes(conn: Connection, now: float, *, decode_weight: float = DECODE_WEIGHT, grace_s: float = GRACE_S) -> int:
    """Close the minutes that can be closed at `now` (a few hundred at most, oldest first): how many. Ingest the spool right before.

    `decode_weight` is that of engines which were not calibrated before the minute.
    """
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
    weights = curves.weights(conn) if due else {}
    for engine, minute in due:
        touched |= _close(conn, engine, minute, now, curves.weight_at(weights, engine, minute * 60.0, decode_weight))
    gpu_days.touch(conn, {minute for _, minute in due})
    _book(conn, sorted(touched))
    return len(due)


def bill(conn: Connection, period: Period) -> Bill:
    """The GPU bill of the minutes that begin in `period`."""
    up, closed = gpu_sums.up(conn, period), list(gpu_sums.closed(conn, period, 1440).values())
    priced = up.priced_minutes > 0 or up.replica_minutes == 0
    sums = {name: sum(one[name] or 0 for one in closed) for name in ("allocated_nanousd", "idle_nanousd", "foreign_nanousd", "closed_minutes")}
    return Bill(
        bill_nanousd=(up.nanousd or 0) if priced else None,
        allocated_nanousd=sums["allocated_nanousd"] if priced else None,
        idle_nanousd=sums["idle_nanousd"] if priced else None,
        unpriced_minutes=up.replica_minutes - up.priced_minutes,
        open_minutes=up.minutes - sums["closed_minutes"],
        foreign_nanousd=sums["foreign_nanousd"] if priced else None,
    )


def fold(conn: Connection, before: int, limit: int) -> int:
    """Fold the oldest single shares (about `limit`) of minutes before `before`, which are frozen, into their days: how many. 0: there are no more."""
    a = local_allocations.c
    for engine in conn.execute(select(engine_days.c.engine).distinct()).scalars().all():
        first = conn.execute(select(func.min(a.minute)).where(a.engine == engine, a.minute < before)).scalar()
        if first is None:
            continue
        # Of one day, whole minutes, however many shares the first has.
        end = min(before, first + 60, (first // 1440 + 1) * 1440)
        counted = select(a.minute, func.count(), func.sum(a.nanousd)).where(a.engine == engine, a.minute >= first, a.minute < end)
        shares = nanousd = 0
        for minute, count, amount in conn.execute(counted.group_by(a.minute).order_by(a.minute)).all():
            if shares and shares + count > limit:
                end = minute
                break
            shares, nanousd = shares + count, nanousd + int(amount)
        gpu_days.keep_folded(conn, engine, first // 1440, shares, nanousd)
        conn.execute(delete(local_allocations).where(a.engine == engine, a.minute >= first, a.minute < end))
        return shares
    return 0


def _close(conn: Connection, engine: str, minute: int, now: float, decode_weight: float) -> set[str]:
    """Spread one minute's bill: the exchanges whose share is new or has changed."""
    ups = conn.execute(
        select(gpu_minutes.c.milliseconds, gpu_minutes.c.bill_nanousd).where(gpu_minutes.c.engine == engine, gpu_minutes.c.minute == minute)
    ).all()
    milliseconds = max(up.milliseconds for up in ups)
    bills = [up.bill_nanousd for up in ups if up.bill_nanousd is not None]
    window = (minute * 60.0, minute * 60.0 + 60.0)
    near = calls.near(conn, engine, window)
    ran = [call for call in near if call.started < window[1] and call.ended > window[0]]
    seen = engine_work.minute(conn, engine, minute)
    # A call of unknown usage may have done anything.
    rest = Tokens()
    if seen is not None and all(call.known for call in near):
        rest = unexplained(seen.tokens, explained([call.call for call in near], window))
    others = Others(rest.weighed(decode_weight), 0.0 if seen is None else seen.busy_ms / 1000)
    work: list[Work] = [(str(n), call.started, call.ended, float(call.prefill), call.decode * decode_weight) for n, call in enumerate(ran)]
    shared = minute_allocation(sum(bills), milliseconds / 1000, work, window, others) if len(bills) == len(ups) else None
    before = _clear(conn, engine, minute)
    parts = _parts(ran, window, shared)
    _backends(conn, engine, minute, parts, shared is not None)
    row = {
        "engine": engine,
        "minute": minute,
        "milliseconds": milliseconds,
        "closed_at": now,
        "stale": False,
        "busy_ms": round(1000 * busy_seconds(work, milliseconds / 1000, window, others)),
        "sampled_ms": None if seen is None else seen.milliseconds,
        "prefill_tokens": sum(part.prefill for _, part in parts),
        "decode_tokens": sum(part.decode for _, part in parts),
        "foreign_prefill_tokens": round(rest.prefill),
        "foreign_decode_tokens": round(rest.decode),
        "decode_weight": decode_weight,
    }
    if shared is None:
        conn.execute(insert(engine_minutes).values(row))
        return before
    allocated = sum(shared.amounts.values())
    money = {"bill_nanousd": sum(bills), "allocated_nanousd": allocated, "foreign_nanousd": shared.foreign, "idle_nanousd": shared.idle}
    conn.execute(insert(engine_minutes).values(row | money))
    return before | _allocate(conn, engine, minute, parts)


@dataclass(slots=True)
class _Part:
    """What somebody did in a minute, and what it costs."""

    calls: int = 0
    prefill: int = 0
    decode: int = 0
    nanousd: int = 0


def _parts(ran: Sequence[Ran], window: tuple[float, float], shared: Minute | None) -> list[tuple[Ran, _Part]]:
    """Each call's part of the minute."""
    found = []
    for n, call in enumerate(ran):
        prefill, decode = call.within(window)
        found.append((call, _Part(int(call.started >= window[0]), prefill, decode, 0 if shared is None else shared.amounts.get(str(n), 0))))
    return found


def _clear(conn: Connection, engine: str, minute: int) -> set[str]:
    """Take a minute out of the books: the exchanges that had a share of it."""
    mine = and_(local_allocations.c.engine == engine, local_allocations.c.minute == minute)
    before = set(conn.execute(select(local_allocations.c.exchange_id).where(mine)).scalars())
    conn.execute(delete(local_allocations).where(mine))
    for table in (engine_minutes, backend_minutes):
        conn.execute(delete(table).where(table.c.engine == engine, table.c.minute == minute))
    return before


def _backends(conn: Connection, engine: str, minute: int, parts: Sequence[tuple[Ran, _Part]], priced: bool) -> None:
    sums: dict[str, _Part] = {}
    for call, part in parts:
        whole = sums.setdefault(call.backend, _Part())
        whole.calls += part.calls
        whole.prefill += part.prefill
        whole.decode += part.decode
        whole.nanousd += part.nanousd
    rows = [(engine, minute, name, p.calls, p.prefill, p.decode, p.nanousd if priced else None) for name, p in sums.items()]
    bulk.insert_new(conn, backend_minutes, rows)


def _allocate(conn: Connection, engine: str, minute: int, parts: Sequence[tuple[Ran, _Part]]) -> set[str]:
    shares: dict[str, int] = {}
    for call, part in parts:
        shares[call.exchange_id] = shares.get(call.exchange_id, 0) + part.nanousd
    bulk.insert_new(conn, local_allocations, [(engine, minute, exchange_id, amount) for exchange_id, amount in shares.items()])
    return set(shares)


def _book(conn: Connection, ids: Sequence[str]) -> None:
    """Write into each exchange its share of the bill, once every minute it ran in is closed and priced; until then it is unknown."""
    for some in bulk.chunks(ids):
        needed: dict[str, set[tuple[str, int]]] = {}
        query = select(attempts.c.exchange_id, attempts.c.owner, attempts.c.started, attempts.c.ended)
        for row in conn.execute(query.where(attempts.c.exchange_id.in_(some), attempts.c.kind == "local")):
            needed.setdefault(row.exchange_id, set()).update((row.owner, minute) for minute in minutes_of(row.started, row.ended))
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
