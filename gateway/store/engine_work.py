"""What vLLM's counters say each replica did, minute by minute, whoever asked. The only writer of `engine_work`.

Here: keeping what was sampled, and reading a minute back. Not here: sampling (serving/counters.py, gateway/engine_work.py), who pays (gpu.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, insert, select

from gateway.store.engine_tables import engine_work
from router.foreign import Tokens
from serving.counters import Grown

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A minute of an engine by its replicas' counters: milliseconds watched (summed over them), those the busiest was seen busy, and the work."""

    milliseconds: int
    busy_ms: int
    tokens: Tokens


def add(conn: Connection, grown: Iterable[Grown]) -> None:
    """Add what replicas did to their minutes. No minute is watched for longer than it lasts, whatever the clock did."""
    for one in grown:
        w = engine_work.c
        this = and_(w.engine == one.engine, w.replica == one.replica, w.minute == one.minute)
        known = conn.execute(select(engine_work).where(this)).one_or_none()
        row = {
            "milliseconds": one.milliseconds,
            "busy_ms": one.busy_ms,
            "prompt_tokens": one.prompt,
            "cached_tokens": one.cached,
            "generated_tokens": one.generated,
            "running": one.running,
            "waiting": one.waiting,
        }
        if known is not None:
            before = known._mapping
            row = {name: max(before[name], value) if name in ("running", "waiting") else before[name] + value for name, value in row.items()}
            conn.execute(delete(engine_work).where(this))
        row |= {name: min(row[name], _MINUTE_MS) for name in ("milliseconds", "busy_ms")}
        conn.execute(insert(engine_work).values(engine=one.engine, replica=one.replica, minute=one.minute, **row))


def minute(conn: Connection, engine: str, number: int) -> Seen | None:
    """A minute of an engine; None: nobody watched."""
    w = engine_work.c
    query = select(
        func.sum(w.milliseconds).label("milliseconds"),
        func.max(w.busy_ms).label("busy"),
        func.sum(w.prompt_tokens).label("prompt"),
        func.sum(w.cached_tokens).label("cached"),
        func.sum(w.generated_tokens).label("generated"),
    )
    row = conn.execute(query.where(w.engine == engine, w.minute == number)).one()
    if row.milliseconds is None:
        return None
    prefill = max(int(row.prompt) - int(row.cached), 0)
    return Seen(int(row.milliseconds), int(row.busy), Tokens(prefill, int(row.generated)))
