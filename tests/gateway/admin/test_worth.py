"""GET /admin/worth/{route} over HTTP."""

from __future__ import annotations

import httpx


def test_the_verdict_of_a_route(ask: httpx.Client) -> None:
    """The contract's keys; assumptions can be given; a route there is none of is 404, a wrong assumption 400."""
    found = ask.get("/admin/worth/support-triage").json()
    assert found["verdict"] in {"train", "not_yet", "stay"}
    assert set(found) >= {"verdict", "recommended_rung", "reason", "monthly_usd", "break_even", "assumptions"}
    assert found["traffic"]["tokens"] > 0
    assert found["sandbox"] is True
    given = ask.get("/admin/worth/support-triage", params={"assume": ["engineering_weeks=0", "label_usd=0"], "tokens_per_day": 1e9}).json()
    assert given["assumptions"]["engineering_weeks"]["origin"] == "given"
    assert given["traffic"]["tokens"] == 1e9
    missing = ask.get("/admin/worth/nobody")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "route_not_found")
    assert ask.get("/admin/worth/support-triage", params={"assume": "x=1"}).status_code == 400
