"""What vLLM's counters said, minute by minute, on both databases."""

from __future__ import annotations

from sqlalchemy import Engine

from gateway.store import engine_work
from gateway.store.engine_work import Seen
from router.foreign import Tokens
from serving.counters import Grown
from serving.database import reading, writing


def test_looks_add_up_and_replicas_too(database: Engine) -> None:
    """Two looks at one replica and one at another: tokens and time watched are summed, busy is the busiest one's, cached tokens are no work."""
    with writing(database) as conn:
        assert engine_work.minute(conn, "local", 7) is None
        engine_work.add(conn, [Grown("local", 0, 7, 5000, 2500, 100, 40, 9, 2, 1)])
        engine_work.add(conn, [Grown("local", 0, 7, 5000, 5000, 10, 0, 1, 1, 0), Grown("local", 1, 7, 5000, 0, 3, 0, 0, 0, 0)])
        engine_work.add(conn, [Grown("other", 0, 7, 5000, 0, 999, 0, 0, 0, 0), Grown("local", 0, 8, 5000, 0, 999, 0, 0, 0, 0)])
    with reading(database) as conn:
        assert engine_work.minute(conn, "local", 7) == Seen(15_000, 7_500, Tokens(73, 10))


def test_no_minute_is_watched_longer_than_it_lasts(sqlite: Engine) -> None:
    """A clock that was set back lives through a minute twice; cached tokens that were counted before their prompt are not less than no work."""
    with writing(sqlite) as conn:
        for _ in range(2):
            engine_work.add(conn, [Grown("local", 0, 7, 45_000, 40_000, 1, 5, 1, 1, 0)])
        assert engine_work.minute(conn, "local", 7) == Seen(60_000, 60_000, Tokens(0, 2))
