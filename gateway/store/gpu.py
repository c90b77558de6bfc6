"""The GPU bill, minute by minute, and who carries it. The only writer of `gpu_minutes`, `engine_minutes` and `local_allocations`.

Here: recording uptime, closing minutes, reopening them. Not here: how a minute's bill is shared (router/allocate.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, update

from gateway.store.tables import engine_minutes
from router.types import Attempt


def reopen(conn: Connection, local: Iterable[Attempt]) -> None:
    """Mark the closed minutes that these local attempts touch as stale: `close_minutes` does them again."""
    spans: dict[str, tuple[int, int]] = {}
    for attempt in local:
        engine = attempt.backend.split("/", 1)[0]
        first, last = int(attempt.started // 60), int((attempt.started + attempt.total_ms / 1000) // 60)
        known = spans.get(engine, (first, last))
        spans[engine] = (min(first, known[0]), max(last, known[1]))
    for engine, (first, last) in spans.items():
        touched = (engine_minutes.c.engine == engine, engine_minutes.c.minute.between(first, last), engine_minutes.c.stale.is_(False))
        conn.execute(update(engine_minutes).where(*touched).values(stale=True))
