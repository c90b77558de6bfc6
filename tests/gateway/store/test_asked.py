"""What was asked of a provider, by day and model, as the provider would count it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from gateway.store import asked, exchanges
from gateway.store.tables import TOKEN_COLUMNS
from router.types import Usage
from serving.database import reading, writing

Make = Callable[..., Any]
MIDNIGHT = 1_795_478_400.0  # 2026-11-24T00:00:00Z
TODAY = int(MIDNIGHT) // asked.DAY


def test_calls_are_counted_as_the_provider_counts_them(database: Engine, exchange: Make, attempt: Make) -> None:
    """Failed calls that did work count, refusals, engines and other providers do not; a call belongs to the day it was started in."""
    free = {"usage": Usage(), "cost_nanousd": 0}
    late = MIDNIGHT - 5
    rows = [
        exchange(
            "late",
            time=late,
            attempts=(
                attempt(started=late, status=503, **free),
                attempt(started=late, usage=Usage(7, 1, 2), error="upstream_cut", usage_state="estimated", cost_nanousd=70, cost_state="estimated"),
                attempt(started=MIDNIGHT + 1, usage=Usage(10, 4, 5, 1, 2, 3, 1), cost_nanousd=100),
            ),
        ),
        exchange(
            "next",
            time=MIDNIGHT + 60,
            attempts=(
                attempt(backend="openai/gpt-4o", started=MIDNIGHT + 60, usage=Usage(), usage_state="unknown", cost_nanousd=None, cost_state="unknown"),
                attempt(backend="openai/gpt-4o", started=MIDNIGHT + 61, usage=Usage(1), cost_nanousd=None, cost_state="unknown"),
                attempt(backend="other/gpt-4o", started=MIDNIGHT + 62),
                attempt(backend="openai/local", started=MIDNIGHT + 63, kind="local"),
            ),
        ),
        exchange("after", time=MIDNIGHT + asked.DAY, attempts=(attempt(started=MIDNIGHT + asked.DAY),)),
    ]
    with writing(database) as conn:
        exchanges.insert(conn, rows)
        exchanges.insert(conn, [exchanges.interrupted("cut", MIDNIGHT + 9, "r", "chat", None)])
    with reading(database) as conn:
        found = asked.spent(conn, "openai", [(MIDNIGHT - asked.DAY, MIDNIGHT + asked.DAY)])
        parts = asked.spent(conn, "openai", [(MIDNIGHT - asked.DAY, MIDNIGHT), (MIDNIGHT, MIDNIGHT + asked.DAY)])
        cut = asked.interrupted(conn, [(MIDNIGHT - asked.DAY, MIDNIGHT), (MIDNIGHT, MIDNIGHT + asked.DAY)])
    assert set(found) == {(TODAY - 1, "gpt-4o-mini"), (TODAY, "gpt-4o-mini"), (TODAY, "gpt-4o")}
    yesterday, today, larger = found[TODAY - 1, "gpt-4o-mini"], found[TODAY, "gpt-4o-mini"], found[TODAY, "gpt-4o"]
    assert (yesterday.requests, yesterday.estimated, yesterday.nanousd, yesterday.tokens["cached_tokens"]) == (1, 1, 70, 1)
    assert (today.requests, today.nanousd, [today.tokens[name] for name in TOKEN_COLUMNS]) == (1, 100, [10, 4, 5, 1, 2, 3, 1])
    assert (larger.requests, larger.nanousd, larger.unmeasured, larger.unpriced, larger.tokens["input_tokens"]) == (2, 0, 1, 1, 1)
    assert parts == found
    assert cut == {TODAY: 1}
