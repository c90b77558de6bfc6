"""Prices and their corrections over HTTP."""

from __future__ import annotations

import httpx

from gateway.repricing import Repricer
from gateway.store import exchanges
from router.types import Attempt, Exchange, Outcome, Usage
from serving.database import writing
from tests.gateway.admin.world import NOW, World
from tests.patience import PATIENCE_S


def test_prices_say_what_is_known_and_how_old_it_is(ask: httpx.Client) -> None:
    """Each hosted model once, by kind, with its source; a model that nobody priced is null and unknown, not zero."""
    found = ask.get("/admin/prices", timeout=PATIENCE_S).json()
    assert {row["model"] for row in found["data"]} >= {"gpt-4o-mini", "gpt-4o"}
    mini = next(row for row in found["data"] if row["model"] == "gpt-4o-mini")
    assert (mini["input_usd_per_m"], mini["input_nanousd_per_m"], mini["cost_state"]) == ("0.15", 150_000_000, "known")
    assert (mini["audio_input_usd_per_m"], mini["source"]) == (None, found["package"]["source"])
    assert {variant["service_tier"] for variant in mini["variants"]} == {"batch", "fast", "priority"}
    assert found["package"]["stale"] == (found["package"]["age_days"] > found["package"]["stale_after_days"])
    none = ask.get("/admin/prices", params={"model": "gpt-99"}, timeout=PATIENCE_S).json()["data"]
    assert {row["cost_state"] for row in none} == {"unknown"}
    assert {row[name] for row in none for name in row if name.endswith("_per_m")} == {None}


def test_corrections_are_written_down(fresh: World) -> None:
    """Who, when, why, before and after, and the ledger has the new cost."""
    assert httpx.get(f"{fresh.url}/admin/repricings", timeout=PATIENCE_S).json()["data"] == []
    database, now = fresh.gateway.database, NOW
    usage = Usage(1000, 0, 100)
    made = Attempt("openai/gpt-4o-mini", 200, None, now, 1.0, 2.0, usage, "provider", 5, "known")
    row = Exchange(
        *("req_1", now, "r", "chat", made.backend, None, None, {}, False, 200, Outcome.OK, usage, "provider", 5, "known", None, None),
        *(1.0, 2.0, None, "cost", None),
        attempts=(made,),
    )
    with writing(database) as conn:
        exchanges.insert(conn, [row])
    repricer = Repricer(database, fresh.gateway.config, lambda: now + 60)
    done = repricer.run(repricer.begin("ada", "a typing error", now - 1, now + 1, None, None), lambda _: None)
    found = httpx.get(f"{fresh.url}/admin/repricings", timeout=PATIENCE_S).json()["data"]
    assert [one["id"] for one in found] == [done.id]
    assert (found[0]["by"], found[0]["reason"], found[0]["rows"], found[0]["changed"]) == ("ada", "a typing error", 1, 1)
    # 1,000 x 150 + 100 x 600
    assert (found[0]["before_nanousd"], found[0]["after_nanousd"], found[0]["difference_usd"]) == (5, 210_000, "0.000209995")
    assert found[0]["started"] == found[0]["finished"]
    assert httpx.get(f"{fresh.url}/admin/exchanges/req_1", timeout=PATIENCE_S).json()["cost_nanousd"] == 210_000
