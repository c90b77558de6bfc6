"""Percentiles from rows and roll-ups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.store import exchanges, histogram, latencies
from gateway.store.period import ALWAYS, Period
from router.errors import RequestError
from router.types import Outcome
from serving.database import reading, writing

Make = Callable[..., Any]


def near(value: float) -> Any:
    """A duration as histograms give it back."""
    return pytest.approx(value, rel=histogram.RELATIVE_ERROR)


def test_percentiles_are_near_values_that_were_seen(database: Engine, exchange: Make) -> None:
    """Nearest rank over each route and backend: of 1 … 20, p1 is 1, p50 is 10, p95 is 19, p100 is 20; failures do not count."""
    answers = [exchange(f"a{n}", total_ms=float(n), ttft_ms=float(n) / 10) for n in range(1, 21)]
    answers += [exchange("slow", total_ms=1e6, outcome=Outcome.TIMEOUT), exchange("b", local=True, total_ms=7.0, ttft_ms=None)]
    with writing(database) as conn:
        exchanges.insert(conn, answers)
    with reading(database) as conn:
        local, hosted = latencies.by(conn, ["route", "backend"], ALWAYS)
    assert [local[0], hosted[0]] == [{"route": "triage", "backend": "local/triage@3"}, {"route": "triage", "backend": "openai/gpt-4o-mini"}]
    assert histogram.percentiles(local[1].ttft, (50,)) == {}
    assert histogram.percentiles(local[1].total, (1, 100)) == {1: near(7.0), 100: near(7.0)}
    assert histogram.percentiles(hosted[1].total, (1, 50, 95, 100)) == {1: near(1.0), 50: near(10.0), 95: near(19.0), 100: near(20.0)}
    assert histogram.percentiles(hosted[1].ttft, (1, 50)) == {1: near(0.1), 50: near(1.0)}


def test_only_the_period_counts(sqlite: Engine, exchange: Make) -> None:
    """Rows outside the period do not move a percentile."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", time=10.0, total_ms=1.0), exchange("b", time=20.0, total_ms=9.0)])
        assert [histogram.percentiles(found.total, (50,)) for _, found in latencies.by(conn, [], Period(15.0))] == [{50: near(9.0)}]
        assert latencies.by(conn, [], Period(30.0)) == []


def test_by_adapter_and_time(sqlite: Engine, exchange: Make, noon: float) -> None:
    """An adapter is told with its version, hours are UTC; keys and tags have no histograms."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", time=noon), exchange("b", local=True, time=noon + 60), exchange("c", local=True, time=noon + 3600)])
        found = [(group, sum(counted.total.values())) for group, counted in latencies.by(conn, ["adapter", "hour"], ALWAYS)]
        with pytest.raises(RequestError, match="`group_by` has key"):
            latencies.by(conn, ["key"], ALWAYS)
    assert found == [
        ({"adapter": None, "hour": "2026-11-23T14:00:00Z"}, 1),
        ({"adapter": "triage@3", "hour": "2026-11-23T14:00:00Z"}, 1),
        ({"adapter": "triage@3", "hour": "2026-11-23T15:00:00Z"}, 1),
    ]
