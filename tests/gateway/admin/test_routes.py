"""Routes and explain."""

from __future__ import annotations

import httpx

from tests.gateway.admin.world import World

CHAT = {"messages": [{"role": "user", "content": "where is my order?"}]}


def test_routes_show_candidates_adapters_and_budget(ask: httpx.Client) -> None:
    """What can answer, at which price and stage, how it is doing, what is live and through which gate."""
    listed = ask.get("/admin/routes").json()
    assert [listed["object"], listed["has_more"], listed["next_cursor"]] == ["list", False, None]
    routes = {route["name"]: route for route in listed["data"]}
    triage = routes["support-triage"]
    hosted, local = triage["candidates"]
    assert [hosted["backend"], hosted["price"]["input_nanousd"], hosted["sandbox"]] == ["openai/gpt-4o-mini", 150_000_000, True]
    assert [local["backend"], local["stage"], local["version"], local["live"]["healthy"], local["price"]] == ["local/support-triage@2", "open", 2, True, None]
    adapter = triage["adapters"][0]
    assert [adapter["live"], adapter["stage"], adapter["gate"]["passed"], adapter["verified"]["proof"]] == [2, "open", True, "proven"]
    assert triage["budget_per_day_usd"] == "20"
    assert isinstance(triage["budget_spent_nanousd"], int)
    assert [routes["invoice-fields"]["adapters"][0][name] for name in ("canary", "canary_percent", "gate")] == [2, 10.0, None]
    assert [routes["assistant"]["adapters"], routes["assistant"]["budget_spent_nanousd"]] == [[], None]


def test_explain_decides_without_calling(ask: httpx.Client, lived: World) -> None:
    """The decision of §4.3 for a chat body, from live numbers; nothing is written."""
    made = ask.post("/admin/routes/support-triage/explain", json=CHAT).json()
    assert made["chosen"] == made["order"][0]
    assert {candidate["backend"] for candidate in made["candidates"]} == {"openai/gpt-4o-mini", "local/support-triage@2"}
    hosted = next(candidate for candidate in made["candidates"] if candidate["backend"].startswith("openai"))
    assert hosted["cost_nanousd"] > 0
    assert float(hosted["cost_usd"]) * 1e9 == hosted["cost_nanousd"]
    assert isinstance(hosted["score_nanousd"], int)
    assert made["flips"]
    assert ask.get(f"/admin/decisions/{made['decision_id']}").status_code == 404


def test_explain_says_why_a_candidate_is_out(ask: httpx.Client) -> None:
    """A request that only hosted takes drops the adapter for that capability."""
    made = ask.post("/admin/routes/support-triage/explain", json=CHAT | {"logit_bias": {"1": 1}}).json()
    local = next(candidate for candidate in made["candidates"] if candidate["backend"].startswith("local"))
    assert [local["feasible"], local["dropped_because"]] == [False, "capability:logit_bias"]
    assert [made["chosen"], made["reason"]] == ["openai/gpt-4o-mini", "only_feasible"]


def test_explain_without_anyone_to_ask(fresh: World) -> None:
    """An adapter that does not exist is dropped with the reason; the hosted one is left."""
    made = httpx.post(f"{fresh.url}/admin/routes/invoice-fields/explain", json=CHAT).json()
    assert [c["dropped_because"] for c in made["candidates"]] == [None, "no_live_version"]


def test_explain_of_an_unknown_route_or_a_malformed_body(ask: httpx.Client) -> None:
    """404 that names the routes there are, and the error that the request itself would get."""
    unknown = ask.post("/admin/routes/suport-triage/explain", json=CHAT)
    assert [unknown.status_code, unknown.json()["error"]["code"]] == [404, "route_not_found"]
    assert "support-triage" in unknown.json()["error"]["message"]
    assert ask.post("/admin/routes/support-triage/explain", json={"messages": "hello"}).status_code == 400
