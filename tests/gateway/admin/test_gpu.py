"""The GPU bill over time."""

from __future__ import annotations

import httpx

from tests.gateway.admin.world import World


def test_every_step_balances_and_all_steps_are_the_bill(ask: httpx.Client) -> None:
    """bill = allocated + foreign + idle in each step, and Σ steps = the bill in the cost report, at every size of step."""
    whole = ask.get("/admin/costs?group_by=").json()
    for step in ("quarter_hour", "hour", "day"):
        steps = ask.get("/admin/gpu", params={"step": step}).json()["data"]
        assert all(one["bill_nanousd"] == one["allocated_nanousd"] + one["foreign_nanousd"] + one["idle_nanousd"] for one in steps)
        assert sum(one["bill_nanousd"] for one in steps) == whole["gpu_bill_nanousd"]
        assert sum(one["idle_nanousd"] for one in steps) == whole["idle_nanousd"]
    assert {one["engine"] for one in steps} == {"local"}


def test_a_gateway_without_engines_has_none(fresh: World) -> None:
    """An empty list, not zeros."""
    assert httpx.get(f"{fresh.url}/admin/gpu").json()["data"] == []
