"""The gateway in one look."""

from __future__ import annotations

import httpx

from tests.gateway.admin.world import World


def test_a_fresh_gateway(fresh: World) -> None:
    """No requests yet, open on loopback, sandbox said."""
    status = httpx.get(f"{fresh.url}/admin/status").json()
    assert [status[name] for name in ("first_exchange", "open_access", "session", "sandbox", "engines", "replicas")] == [None, True, False, True, ["local"], []]
    assert status["prices"].startswith("genai-prices ")


def test_a_gateway_that_has_worked(ask: httpx.Client) -> None:
    """Since when there are rows, and how its replicas are."""
    status = ask.get("/admin/status").json()
    assert status["first_exchange"].startswith("2026-11-22T14:")
    assert [[r["engine"], r["healthy"], r["restarts"]] for r in status["replicas"]] == [["local", True, 1]]
