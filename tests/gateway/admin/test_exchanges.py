"""The ledger over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from gateway.store import exchanges
from serving.database import writing
from tests.gateway.admin.world import NOW, World


def everything(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.get("/admin/exchanges", params=query | {"limit": "97"} | ({"cursor": cursor} if cursor else {})).json()
        rows += page["data"]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        if cursor is None:
            return rows


def test_pages_cover_the_ledger_once_newest_first(ask: httpx.Client) -> None:
    """No row twice, none missing, in order."""
    rows = everything(ask)
    total = ask.get("/admin/costs?group_by=").json()["total"]["requests"]
    assert len(rows) == len({row["id"] for row in rows}) == total
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)


def test_filters_narrow_it(ask: httpx.Client) -> None:
    """By route, backend and time; `since` is included, `until` is not; an offset counts."""
    rows = everything(ask)
    some = everything(ask, route="support-triage", backend="local/support-triage@2")
    assert some == [row for row in rows if row["route"] == "support-triage" and row["backend"] == "local/support-triage@2"]
    late = everything(ask, since="2026-11-23T15:00:00+02:00")
    assert late == [row for row in rows if row["time"] >= "2026-11-23T13:00:00"]
    assert everything(ask, until="2026-11-21") == []
    assert everything(ask, key="key_nobody") == []


def test_tags_narrow_it(ask: httpx.Client) -> None:
    """`tag=name=value`, several of them all at once; what is no pair is refused in words."""
    rows = everything(ask)
    name, value = next(iter(next(row["tags"] for row in rows if row["tags"]).items()))
    some = everything(ask, tag=f"{name}={value}")
    assert some
    assert some == [row for row in rows if row["tags"].get(name) == value]
    assert ask.get("/admin/exchanges", params={"tag": [f"{name}={value}", "never=there"]}).json()["data"] == []
    for wrong in ("team", "=x"):
        answer = ask.get("/admin/exchanges", params={"tag": wrong})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tag")
        assert "NAME=VALUE" in answer.json()["error"]["message"]


def test_a_row_has_both_faces_of_local_cost_and_its_attempts(ask: httpx.Client) -> None:
    """Hosted, amortised, opportunity and all-hosted stand apart, as integers and exact decimals; failed attempts are lines of their own."""
    rows = everything(ask)
    local = next(row for row in rows if row["backend"] == "local/support-triage@2" and row["amortised_nanousd"])
    assert [local["cost_nanousd"], local["cost_usd"], local["cost_state"]] == [0, "0", "known"]
    assert local["opportunity_nanousd"] == 1_200
    assert local["all_hosted_nanousd"] > 0
    assert local["adapter_version"] == 2
    assert local["usage"]["output_tokens"] > 0
    assert local["attempts"][-1]["kind"] == "local"
    assert ask.get(f"/admin/exchanges/{local['id']}").json() == local
    assert ask.get(f"/admin/decisions/{local['decision_id']}").json()["chosen"] == local["backend"]


def test_an_interrupted_row_is_unknown_not_free(fresh: World) -> None:
    """Usage and every cost are null; the state says unknown."""
    with writing(fresh.gateway.database) as conn:
        exchanges.insert(conn, [exchanges.interrupted("req_1", NOW - 10, "support-triage", "chat", None)])
    row = httpx.get(f"{fresh.url}/admin/exchanges").json()["data"][0]
    assert [row["usage"], row["cost_nanousd"], row["cost_usd"], row["cost_state"], row["outcome"]] == [None, None, None, "unknown", "interrupted"]


def test_a_row_that_is_not_there(ask: httpx.Client) -> None:
    """404 with a code."""
    answer = ask.get("/admin/exchanges/req_nope")
    assert [answer.status_code, answer.json()["error"]["code"]] == [404, "exchange_not_found"]
