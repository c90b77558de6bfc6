"""Percentiles from rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from gateway.store import exchanges
from gateway.store.latencies import Latency, percentiles
from gateway.store.period import ALWAYS, Period
from router.types import Outcome
from serving.database import reading, writing

Make = Callable[..., Any]


def test_percentiles_are_values_that_were_seen(database: Engine, exchange: Make) -> None:
    """Nearest rank over each route and backend: of 1 … 20, p1 is 1, p50 is 10, p95 is 19, p100 is 20; failures do not count."""
    answers = [exchange(f"a{n}", total_ms=float(n), ttft_ms=float(n) / 10) for n in range(1, 21)]
    answers += [exchange("slow", total_ms=1e6, outcome=Outcome.TIMEOUT), exchange("b", local=True, total_ms=7.0, ttft_ms=None)]
    with writing(database) as conn:
        exchanges.insert(conn, answers)
    with reading(database) as conn:
        assert percentiles(conn, ALWAYS, (1, 50, 95, 100)) == [
            Latency("triage", "local/triage@3", 1, {}, {1: 7.0, 50: 7.0, 95: 7.0, 100: 7.0}),
            Latency("triage", "openai/gpt-4o-mini", 20, {1: 0.1, 50: 1.0, 95: 1.9, 100: 2.0}, {1: 1.0, 50: 10.0, 95: 19.0, 100: 20.0}),
        ]


def test_only_the_period_counts(sqlite: Engine, exchange: Make) -> None:
    """Rows outside the period do not move a percentile."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", time=10.0, total_ms=1.0), exchange("b", time=20.0, total_ms=9.0)])
        assert [found.total_ms for found in percentiles(conn, Period(15.0))] == [{50: 9.0, 95: 9.0}]
        assert percentiles(conn, Period(30.0)) == []
