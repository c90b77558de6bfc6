"""A model that nobody has priced: unknown wherever money is shown, never 0, and right everywhere once its price is given."""

from __future__ import annotations

import csv
from pathlib import Path

import httpx

from gateway.repricing import Repricer
from gateway.store import costs
from gateway.store.period import Period
from serving.database import reading
from tests.gateway.conftest import price, provider
from tests.gateway.live_gateway import LiveGateway, config_of
from tests.gateway.upstream_server import UpstreamServer
from tests.patience import PATIENCE_S

ASK = {"model": "r", "messages": [{"role": "user", "content": "What does this cost?"}]}


def body(upstream: UpstreamServer, *prices: dict[str, object]) -> dict[str, object]:
    return {
        "providers": {"one": provider(upstream)},
        "prices": list(prices),
        "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}]}},
    }


def test_unknown_is_shown_as_unknown_everywhere(tmp_path: Path) -> None:
    """In the answer's headers, the ledger, the reports, the list of prices and the metrics; then the price is given and re-pricing makes it known."""
    with UpstreamServer() as upstream, LiveGateway(tmp_path, body(upstream)) as gateway:
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=ASK, timeout=PATIENCE_S)
        assert answer.status_code == 200
        assert "x-breakeven-cost-usd" not in answer.headers
        row = gateway.row()
        assert (row.cost_nanousd, row.cost_state, row.all_hosted_nanousd) == (None, "unknown", None)
        assert row.usage.input > 0
        assert [(each.cost_nanousd, each.cost_state) for each in row.attempts] == [(None, "unknown")]
        shown = httpx.get(f"{gateway.url}/admin/exchanges/{row.id}", timeout=PATIENCE_S).json()
        assert [shown[name] for name in ("cost_nanousd", "cost_usd", "all_hosted_usd", "cost_state")] == [None, None, None, "unknown"]
        total = httpx.get(f"{gateway.url}/admin/costs?group_by=route", timeout=PATIENCE_S).json()["data"][0]
        names = ("hosted_nanousd", "hosted_usd", "saved_nanousd", "all_hosted_nanousd", "unpriced_requests", "cost_state")
        assert [total[name] for name in names] == [None, None, None, None, 1, "unknown"]
        exported = csv.DictReader(httpx.get(f"{gateway.url}/admin/costs?group_by=route", headers={"accept": "text/csv"}, timeout=PATIENCE_S).text.splitlines())
        assert [(one["hosted_usd"], one["cost_state"]) for one in exported] == [("", "unknown")]
        listed = httpx.get(f"{gateway.url}/admin/prices", timeout=PATIENCE_S).json()["data"]
        assert [(one["model"], one["input_usd_per_m"], one["cost_state"]) for one in listed] == [("m", None, "unknown")]
        candidate = httpx.get(f"{gateway.url}/admin/routes", timeout=PATIENCE_S).json()["data"][0]["candidates"][0]
        assert candidate["price"] is None

        priced = config_of(tmp_path, body(upstream, price("one", "m", "1", "2")))
        repricer = Repricer(gateway.database, priced, lambda: row.time + 60)
        done = repricer.run(repricer.begin("ada", None, row.time - 1, row.time + 1, None, None), lambda _: None)
        assert (done.unknown_before, done.unknown_after, done.after_nanousd) == (1, 0, row.usage.input * 1_000 + row.usage.output * 2_000)
        with reading(gateway.database) as conn:
            report = costs.report(conn, ("route",), Period(None, None))["data"][0]
        assert (report["hosted_nanousd"], report["all_hosted_nanousd"], report["cost_state"]) == (done.after_nanousd, done.after_nanousd, "known")
