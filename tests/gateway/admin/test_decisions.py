"""Decisions, read and made again."""

from __future__ import annotations

import httpx
import pytest

from gateway.admin.decisions import _line
from router.types import Decision, Features


def test_a_stored_decision_has_every_candidate_and_replays(ask: httpx.Client) -> None:
    """From the list to one decision to its replay: the same choice, with the same scores."""
    lines = ask.get("/admin/decisions?limit=40").json()["data"]
    assert [line["time"] for line in lines] == sorted((line["time"] for line in lines), reverse=True)
    for line in lines:
        one = ask.get(f"/admin/decisions/{line['decision_id']}").json()
        assert [one["chosen"], one["reason"], len(one["candidates"])] == [line["chosen"], line["reason"], line["candidates"]]
        again = ask.post(f"/admin/decisions/{line['decision_id']}/replay").json()
        assert again.pop("same") is True
        assert again == one


def test_decisions_of_one_route(ask: httpx.Client) -> None:
    """`route` filters; a route nobody asked has none."""
    assert {line["route"] for line in ask.get("/admin/decisions?route=assistant").json()["data"]} == {"assistant"}
    assert ask.get("/admin/decisions?route=nope").json()["data"] == []


@pytest.mark.parametrize("path", ["/admin/decisions/dec_nope", "/admin/decisions/dec_nope/replay"])
def test_a_decision_that_is_not_there(ask: httpx.Client, path: str) -> None:
    """404 that says when rows come and go."""
    answer = ask.request("POST" if path.endswith("replay") else "GET", path)
    assert [answer.status_code, answer.json()["error"]["code"]] == [404, "decision_not_found"]


def test_a_decision_for_nobody_is_a_line_too() -> None:
    """No candidate was feasible: chosen, reason and cost are null, the cost's state unknown."""
    line = _line(Decision("dec_1", "r", (), None, (), Features(10), (), "", 0.0, 0, "1"))
    assert [line.chosen, line.reason, line.cost_nanousd, line.cost_state] == [None, None, None, "unknown"]
