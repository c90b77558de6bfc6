"""Budgets over HTTP and as a command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import httpx

from gateway.store import alerts
from serving.database import writing
from tests.gateway.admin.world import World
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer


def test_a_days_budget_with_its_forecast(ask: httpx.Client) -> None:
    """What the ledger of the day says, what is left, and when it will be gone at the rate of the last hours."""
    (found,) = ask.get("/admin/budgets").json()["data"]
    assert [found[name] for name in ("scope", "id", "name", "period", "limit_usd", "resets_at")] == [
        *("route", "support-triage", "support-triage", "day", "20", "2026-11-24T00:00:00.000Z")
    ]
    rows = ask.get("/admin/costs", params={"group_by": "route", "since": "2026-11-23"}).json()["data"]
    spent = next(row["hosted_nanousd"] for row in rows if row["route"] == "support-triage")
    assert found["spent_nanousd"] == spent
    assert found["left_nanousd"] == 20_000_000_000 - spent
    assert (found["reserved_nanousd"], found["overspend_usd"], found["exhausted"], found["alerts"]) == (0, "1", False, [])
    assert found["forecast_nanousd"] >= spent
    assert found["exhausted_at"] is None


def test_none_is_an_empty_list_and_a_keys_month_is_there_at_once(fresh: World) -> None:
    """A key's budget is listed under its id and name, without a forecast while nothing is known."""
    made = httpx.post(f"{fresh.url}/admin/keys", json={"name": "bot", "usd_per_month": 5, "usd_per_day": 0}).json()
    found = [each for each in httpx.get(f"{fresh.url}/admin/budgets").json()["data"] if each["scope"] == "key"]
    assert [(each["id"], each["name"], each["period"], each["limit_usd"], each["forecast_usd"]) for each in found] == [
        (made["id"], "bot", "day", "0", None),
        (made["id"], "bot", "month", "5", None),
    ]
    assert [each["exhausted"] for each in found] == [True, False]
    httpx.delete(f"{fresh.url}/admin/keys/{made['id']}")
    assert [each["scope"] for each in httpx.get(f"{fresh.url}/admin/budgets").json()["data"]] == ["route"]


def test_alerts_of_the_period_are_shown(fresh: World) -> None:
    """With what became of them."""
    gateway = fresh.gateway
    now = gateway.clock()
    since = now - now % 86_400
    with writing(gateway.database) as conn:
        alerts.decide(conn, [alerts.Alert("alert_1", "threshold", "route", "support-triage", "day", since, 0.8, "{}", now)])
        alerts.arrived(conn, "alert_1", now)
    (found,) = httpx.get(f"{fresh.url}/admin/budgets").json()["data"]
    (told,) = found["alerts"]
    assert (told["kind"], told["at"], told["tries"], told["error"], told["next_try_at"]) == ("threshold", 0.8, 1, None, None)
    assert told["sent_at"] == "2026-11-23T14:00:00.000Z"


def test_the_command_asks_the_gateway_or_the_ledger(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """With a gateway: what is reserved too. Without: what the ledger says, and that it is only that."""
    gateway = start(two_providers(upstream, fallback, budget={"usd_per_day": "0.01"}))
    asked = {"model": "r", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    assert httpx.post(f"{gateway.url}/v1/chat/completions", json=asked, timeout=20).status_code == 200
    gateway.rows(1)

    def run(*words: str, url: str) -> str:
        environ = {**os.environ, "BREAKEVEN_URL": url}
        command = [sys.executable, "-c", "import breakeven; breakeven.main()", "budgets", "-c", str(gateway.directory / "breakeven.yaml"), *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=90).stdout

    assert "no gateway runs" not in run(url=gateway.url)
    shown = run(url="http://127.0.0.1:9")
    assert "route r" in shown
    assert "no gateway runs here" in shown
