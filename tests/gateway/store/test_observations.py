"""What a restarted router may know already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.store import exchanges
from gateway.store.observations import recent
from router.types import Outcome, Usage
from serving.database import reading, writing

Make = Callable[..., Any]


def test_means_of_each_backend_on_each_route(database: Engine, exchange: Make) -> None:
    """Output tokens, bytes per token, cached share, time to the first token and per later token."""
    with writing(database) as conn:
        exchanges.insert(
            conn,
            [
                exchange("a", usage=Usage(100, 50, 11), prompt_bytes=400, ttft_ms=100.0, total_ms=300.0),
                exchange("b", usage=Usage(300, 50, 31), prompt_bytes=1100, ttft_ms=200.0, total_ms=500.0),
                exchange("c", usage=Usage(100, 0, 18), prompt_bytes=0, ttft_ms=None, total_ms=100.0, stream=False),
                exchange("d", local=True),
            ],
        )
    with reading(database) as conn:
        local, hosted = recent(conn, 1795442401.0)
    assert (hosted.route, hosted.backend, hosted.answers) == ("triage", "openai/gpt-4o-mini", 3)
    assert hosted.output_tokens == pytest.approx(20.0)
    assert hosted.bytes_per_token == pytest.approx(1500 / 400)
    assert hosted.cached_share == pytest.approx(100 / 500)
    assert hosted.ttft_ms == pytest.approx(150.0)
    assert hosted.tpot_ms == pytest.approx(500 / 40)
    assert hosted.total_ms == pytest.approx(300.0)
    assert local.backend == "local/triage@3"


def test_only_the_providers_own_counts_of_recent_successes_teach(sqlite: Engine, exchange: Make) -> None:
    """Failures, estimates, unrouted and old answers are left out, and no more than the newest are read."""
    now = 1795442400.0
    with writing(sqlite) as conn:
        exchanges.insert(
            conn,
            [
                exchange("failed", outcome=Outcome.UPSTREAM_ERROR),
                exchange("guess", usage_state="estimated"),
                exchange("pinned", route=None),
                exchange("old", time=now - 8 * 86400),
                *(exchange(f"r{n}", time=now - n, usage=Usage(10, 0, n)) for n in range(5)),
            ],
        )
        assert [(o.answers, o.output_tokens) for o in recent(conn, now)] == [(5, 2.0)]
        assert [(o.answers, o.output_tokens) for o in recent(conn, now, newest=2)] == [(2, 0.5)]
        assert recent(conn, now + 8 * 86400) == []


def test_what_was_not_seen_is_none(sqlite: Engine, exchange: Make) -> None:
    """Without streams, sizes and cached tokens there are no ratios to learn from."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", usage=Usage(0, 0, 0), prompt_bytes=0, ttft_ms=None, stream=False)])
        (seen,) = recent(conn, 1795442400.0)
    assert (seen.bytes_per_token, seen.cached_share, seen.ttft_ms, seen.tpot_ms) == (None,) * 4
