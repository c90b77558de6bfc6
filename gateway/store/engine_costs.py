"""What engines did and what it cost, over time and by adapter. Reads only; the rows are gpu.py's.

Sums are over closed minutes. Money covers the minutes whose price is known and is None when it is known of none; costs per token go by the tokens of those.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from gateway.store import gpu_sums
from gateway.store.gpu_sums import Sums
from gateway.store.gpu_tables import ENGINE_SUMS
from gateway.store.period import Period
from gateway.store.tables import engine_minutes
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
    replicas, did = gpu_sums.replicas(conn, period, minutes), gpu_sums.backends(conn, period, minutes)
    backends: dict[tuple[str, int], list[Did]] = {}
    for (engine, step, name), sums in sorted(did.items(), key=lambda item: item[0]):
        done = Did(name, sums["calls"] or 0, sums["prefill_tokens"] or 0, sums["decode_tokens"] or 0, sums["nanousd"])
        backends.setdefault((engine, step), []).append(done)
    found = sorted(gpu_sums.closed(conn, period, minutes).items(), key=lambda item: (item[0][1], item[0][0]))
    return [_step(place, sums, minutes, replicas.get(place, 0), backends.get(place, [])) for place, sums in found]


def tokens_of(conn: Connection, engine: str, period: Period) -> tuple[int, int]:
    """(computed prompt tokens, generated tokens) of our requests on an engine."""
    m = engine_minutes.c
    row = conn.execute(select(func.sum(m.prefill_tokens), func.sum(m.decode_tokens)).where(m.engine == engine, *period.minutes(m.minute))).one()
    return _whole(row[0]) or 0, _whole(row[1]) or 0


def _step(place: tuple[str, int], sums: Sums, minutes: int, replica_ms: int, did: list[Did]) -> EngineStep:
    rest = (sums["allocated_nanousd"] or 0) - sum(one.nanousd or 0 for one in did)
    counted = {name: sums[name] or 0 for name in ENGINE_SUMS if not name.endswith("_nanousd")}
    return EngineStep(
        engine=place[0],
        start=place[1] * minutes * 60.0,
        seconds_up=counted.pop("milliseconds") / 1000,
        replica_seconds=replica_ms / 1000,
        busy_s=counted.pop("busy_ms") / 1000,
        sampled_s=counted.pop("sampled_ms") / 1000,
        **counted,
        bill_nanousd=sums["bill_nanousd"],
        allocated_nanousd=sums["allocated_nanousd"],
        foreign_nanousd=sums["foreign_nanousd"],
        idle_nanousd=sums["idle_nanousd"],
        backends=(*did, *([Did(None, 0, 0, 0, rest)] if rest else [])),
    )


def _per(nanousd: int | None, tokens: int) -> int | None:
    return None if nanousd is None or tokens == 0 else half_even(nanousd * _MILLION, tokens)


def _whole(value: object) -> int | None:
    """Postgres sums big integers as decimals."""
    return None if value is None else int(str(value))
