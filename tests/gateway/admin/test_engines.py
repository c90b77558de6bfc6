"""What engines did and can do, over HTTP."""

from __future__ import annotations

import httpx
import pytest

from gateway.store import curves
from gateway.store.curves import Curve
from router.utilisation import Point
from serving.database import writing
from tests.gateway.admin.world import NOW, World


def test_every_step_balances_and_all_steps_are_the_bill(ask: httpx.Client) -> None:
    """bill = allocated + foreign + idle, Σ adapters = allocated, Σ steps = the bill in the cost report, at every size of step."""
    whole = ask.get("/admin/costs?group_by=").json()
    by_adapter = {row["backend"]: row["local_amortised_nanousd"] for row in ask.get("/admin/costs?group_by=backend").json()["data"]}
    for step in ("quarter_hour", "hour", "day"):
        found = ask.get("/admin/engines/costs", params={"step": step}).json()["data"]
        for one in found:
            assert one["bill_nanousd"] == one["allocated_nanousd"] + one["foreign_nanousd"] + one["idle_nanousd"]
            assert one["allocated_nanousd"] == sum(part["cost_nanousd"] for part in one["adapters"])
            assert 0.0 <= one["busy_share"] <= 1.0
            assert (one["utilisation"], one["sampled_share"]) == (None, 0.0)
        assert sum(one["bill_nanousd"] for one in found) == whole["gpu_bill_nanousd"]
        assert sum(one["idle_nanousd"] for one in found) == whole["idle_nanousd"]
        sums: dict[str, int] = {}
        for part in (part for one in found for part in one["adapters"]):
            sums[part["backend"]] = sums.get(part["backend"], 0) + part["cost_nanousd"]
        assert sums == {name: amount for name, amount in by_adapter.items() if name in sums}
    parts = [part for one in found for part in one["adapters"]]
    assert ("support-triage", 2) in {(part["adapter"], part["version"]) for part in parts}
    assert sum(part["share"] for part in found[-1]["adapters"]) == pytest.approx(1.0)
    assert found[-1]["cost_per_m_nanousd"] > 0
    assert found[-1]["whole_cost_per_m_nanousd"] > found[-1]["cost_per_m_nanousd"]


def test_an_engine_that_was_never_calibrated_has_no_curve(fresh: World) -> None:
    """Null, and 404 for one that is not there; without minutes there are no steps."""
    assert httpx.get(f"{fresh.url}/admin/engines/costs").json()["data"] == []
    found = httpx.get(f"{fresh.url}/admin/engines/local/curve").json()
    assert (found["curve"], found["hosted"], found["mix"]["source"]) == (None, [], "assumed")
    missing = httpx.get(f"{fresh.url}/admin/engines/nobody/curve")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "engine_not_found")


def test_a_calibrated_engine_has_a_utilisation(lived: World) -> None:
    """The curve as it was kept, priced for the mix that is asked for, and each step's work as a share of what it could have done."""
    before = httpx.get(f"{lived.url}/admin/engines/costs?step=day").json()["data"]
    with writing(lived.gateway.database) as conn:
        curves.keep(conn, Curve("local", NOW, 0, "base", "float32", "a toy", "0.32.0", 64, True, (Point(4, 900.0, 300.0),)))
    try:
        found = httpx.get(f"{lived.url}/admin/engines/local/curve", params={"mix": "1:1"}).json()
        assert found["curve"]["points"] == [{"batch": 4, "prefill_tokens_per_s": 900.0, "decode_tokens_per_s": 300.0, "disturbed": False}]
        assert found["mix"] == {"prompt": 0.5, "cached": 0.0, "source": "given"}
        assert found["curve"]["decode_weight"] == 3.0
        assert {one["model"] for one in found["hosted"]} == {"gpt-4o-mini", "gpt-4o"}
        assert httpx.get(f"{lived.url}/admin/engines/local/curve").json()["mix"]["source"] == "ledger"
        bad = httpx.get(f"{lived.url}/admin/engines/local/curve", params={"mix": "x"})
        assert bad.status_code == 400
        for one, was in zip(httpx.get(f"{lived.url}/admin/engines/costs?step=day").json()["data"], before, strict=True):
            work = one["prefill_tokens"] / 900 + one["decode_tokens"] / 300
            assert one["utilisation"] == pytest.approx(work / one["replica_seconds"])
            assert one | {"utilisation": None} == was
    finally:
        with writing(lived.gateway.database) as conn:
            conn.exec_driver_sql("DELETE FROM engine_curves")
