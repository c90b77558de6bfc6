"""What engines did and what it cost, over time and by adapter. Reads only; the rows are gpu.py's.

Sums are over closed minutes. Money covers the minutes whose price is known and is None when it is known of none; costs per token go by the tokens of those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, case, func, literal_column, select

from gateway.store.engine_tables import backend_minutes
from gateway.store.period import Period
from gateway.store.tables import engine_minutes, gpu_minutes
from router.money import half_even

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Did:
    """What one backend did in a step: calls that began in it, computed prompt tokens and generated ones, nano-dollars of the bill. `backend` None: minutes
    that were closed before this was kept apart."""

    backend: str | None
    calls: int
    prefill_tokens: int
    decode_tokens: int
    nanousd: int | None


@dataclass(frozen=True, slots=True)
class EngineStep:
    """Closed minutes of an engine that begin in one step, summed: bill = allocated + foreign + idle, and Σ `backends` = allocated, exactly.

    Seconds: the engine was up (`seconds_up`), all its replicas together (`replica_seconds`), it had work (`busy_s`), its counters were watched
    (`sampled_s`, replicas together). `priced_tokens` are ours in the minutes that have a price, `all_priced_tokens` those and the foreign ones.
    """

    engine: str
    start: float
    seconds_up: float
    replica_seconds: float
    busy_s: float
    sampled_s: float
    bill_nanousd: int | None
    allocated_nanousd: int | None
    foreign_nanousd: int | None
    idle_nanousd: int | None
    prefill_tokens: int
    decode_tokens: int
    foreign_prefill_tokens: int
    foreign_decode_tokens: int
    priced_tokens: int
    all_priced_tokens: int
    backends: tuple[Did, ...] = ()

    @property
    def per_million(self) -> int | None:
        """Nano-dollars that a million of our tokens carry; None: unknown, or there were none."""
        return _per(self.allocated_nanousd, self.priced_tokens)

    @property
    def whole_per_million(self) -> int | None:
        """The whole bill over all tokens, idle time included."""
        return _per(self.bill_nanousd, self.all_priced_tokens)


def steps(conn: Connection, period: Period, minutes: int) -> list[EngineStep]:
    """The closed minutes of `period` in steps of so many whole minutes, oldest first and by engine."""
    replicas = {(row["engine"], row["step"]): int(row["up"]) for row in conn.execute(_replicas(period, minutes)).mappings()}
    did: dict[tuple[str, int], list[Did]] = {}
    for row in conn.execute(_backends(period, minutes)).mappings():
        done = Did(row["backend"], int(row["calls"]), int(row["prefill"]), int(row["decode"]), _whole(row["nanousd"]))
        did.setdefault((row["engine"], row["step"]), []).append(done)
    found = []
    for row in conn.execute(_engines(period, minutes)).mappings():
        place = (row["engine"], row["step"])
        found.append(_step(row, minutes, replicas.get(place, 0), did.get(place, [])))
    return found


def tokens_of(conn: Connection, engine: str, period: Period) -> tuple[int, int]:
    """(computed prompt tokens, generated tokens) of our requests on an engine."""
    m = engine_minutes.c
    row = conn.execute(select(func.sum(m.prefill_tokens), func.sum(m.decode_tokens)).where(m.engine == engine, *period.minutes(m.minute))).one()
    return _whole(row[0]) or 0, _whole(row[1]) or 0


def _engines(period: Period, minutes: int) -> Select[Any]:
    m = engine_minutes.c
    priced = m.bill_nanousd.is_not(None)
    own = func.coalesce(m.prefill_tokens, 0) + func.coalesce(m.decode_tokens, 0)
    foreign = func.coalesce(m.foreign_prefill_tokens, 0) + func.coalesce(m.foreign_decode_tokens, 0)
    sums: Mapping[str, ColumnElement[Any]] = {
        "up": m.milliseconds,
        "busy": func.coalesce(m.busy_ms, 0),
        "sampled": func.coalesce(m.sampled_ms, 0),
        "bill": m.bill_nanousd,
        "allocated": m.allocated_nanousd,
        "foreign_nanousd": case((priced, func.coalesce(m.foreign_nanousd, 0))),
        "idle": m.idle_nanousd,
        "prefill": func.coalesce(m.prefill_tokens, 0),
        "decode": func.coalesce(m.decode_tokens, 0),
        "foreign_prefill": func.coalesce(m.foreign_prefill_tokens, 0),
        "foreign_decode": func.coalesce(m.foreign_decode_tokens, 0),
        "priced_tokens": case((priced, own), else_=0),
        "all_priced_tokens": case((priced, own + foreign), else_=0),
    }
    return _by_step(m.minute, minutes, [m.engine], sums).where(*period.minutes(m.minute)).order_by(literal_column("step"), m.engine)


def _backends(period: Period, minutes: int) -> Select[Any]:
    b = backend_minutes.c
    sums: Mapping[str, ColumnElement[Any]] = {"calls": b.calls, "prefill": b.prefill_tokens, "decode": b.decode_tokens, "nanousd": b.nanousd}
    return _by_step(b.minute, minutes, [b.engine, b.backend], sums).where(*period.minutes(b.minute)).order_by(b.backend)


def _replicas(period: Period, minutes: int) -> Select[Any]:
    g, m = gpu_minutes.c, engine_minutes.c
    closed = and_(m.engine == g.engine, m.minute == g.minute)
    query = _by_step(g.minute, minutes, [g.engine], {"up": g.milliseconds})
    return query.select_from(gpu_minutes.join(engine_minutes, closed)).where(*period.minutes(g.minute))


def _by_step(minute: ColumnElement[Any], minutes: int, keys: list[ColumnElement[Any]], sums: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
    # By name: Postgres would not see that two bound parameters of the same expression are the same.
    columns = [func.sum(column).label(name) for name, column in sums.items()]
    return select(*keys, (minute // minutes).label("step"), *columns).group_by(*keys, literal_column("step"))


def _step(row: RowMapping, minutes: int, replica_ms: int, did: list[Did]) -> EngineStep:
    allocated = _whole(row["allocated"])
    rest = (allocated or 0) - sum(one.nanousd or 0 for one in did)
    return EngineStep(
        engine=row["engine"],
        start=row["step"] * minutes * 60.0,
        seconds_up=int(row["up"]) / 1000,
        replica_seconds=replica_ms / 1000,
        busy_s=int(row["busy"]) / 1000,
        sampled_s=int(row["sampled"]) / 1000,
        bill_nanousd=_whole(row["bill"]),
        allocated_nanousd=allocated,
        foreign_nanousd=_whole(row["foreign_nanousd"]),
        idle_nanousd=_whole(row["idle"]),
        **{name: int(row[name.removesuffix("_tokens")]) for name in ("prefill_tokens", "decode_tokens", "foreign_prefill_tokens", "foreign_decode_tokens")},
        priced_tokens=int(row["priced_tokens"]),
        all_priced_tokens=int(row["all_priced_tokens"]),
        backends=(*did, *([Did(None, 0, 0, 0, rest)] if rest else [])),
    )


def _per(nanousd: int | None, tokens: int) -> int | None:
    return None if nanousd is None or tokens == 0 else half_even(nanousd * _MILLION, tokens)


def _whole(value: object) -> int | None:
    """Postgres sums big integers as decimals."""
    return None if value is None else int(str(value))
