"""Latency percentiles over HTTP."""

from __future__ import annotations

import httpx


def test_percentiles_stand_beside_the_slo(ask: httpx.Client) -> None:
    """By route and backend; a route without an aim has null."""
    rows = {(row["route"], row["backend"]): row for row in ask.get("/admin/latency").json()["data"]}
    local = rows["support-triage", "local/support-triage@2"]
    hosted = rows["support-triage", "openai/gpt-4o-mini"]
    assert 0 < local["total_ms"]["p50"] < local["total_ms"]["p95"] < hosted["total_ms"]["p95"]
    assert [local["slo_ttft_ms"], local["slo_total_ms"]] == [400, 1500]
    assert next(row for (route, _), row in rows.items() if route == "assistant")["slo_total_ms"] is None
    assert ask.get("/admin/latency?until=2026-11-20").json()["data"] == []
