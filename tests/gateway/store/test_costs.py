"""The cost report, against sums made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.store import costs, exchanges, rollups
from gateway.store.gpu import close_minutes, record_uptime
from gateway.store.period import ALWAYS, Period
from router.errors import RequestError
from router.types import Outcome, Usage
from serving.database import reading, writing

Make = Callable[..., Any]


def rows(report: dict[str, Any], *fields: str) -> list[tuple[Any, ...]]:
    """Some fields of each row."""
    return [tuple(row[field] for field in fields) for row in report["data"]]


def test_a_group_sums_what_its_rows_say(database: Engine, exchange: Make) -> None:
    """Requests, tokens and each kind of money of hosted and local rows, as integers and as exact decimal text; the result is JSON."""
    with writing(database) as conn:
        exchanges.insert(conn, [exchange("a"), exchange("b", cost_nanousd=1, all_hosted_nanousd=1), exchange("c", local=True), exchange("d", route="x")])
        exchanges.set_amortised(conn, {"c": 5_000})
    with reading(database) as conn:
        report = json.loads(json.dumps(costs.report(conn, ["route", "backend"], ALWAYS)))
    assert report["object"] == "list"
    assert (report["has_more"], report["next_cursor"]) == (False, None)
    assert rows(report, "route", "backend", "requests") == [
        ("triage", "local/triage@3", 1),
        ("triage", "openai/gpt-4o-mini", 2),
        ("x", "openai/gpt-4o-mini", 1),
    ]
    local, hosted = report["data"][:2]
    assert [hosted[f"{t}_tokens"] for t in ("input", "cached", "output", "reasoning")] == [200, 40, 100, 10]
    assert (hosted["hosted_nanousd"], hosted["hosted_usd"], hosted["saved_nanousd"]) == (45_001, "0.000045001", 0)
    assert (hosted["local_amortised_nanousd"], hosted["local_opportunity_nanousd"], hosted["cost_state"]) == (0, 0, "known")
    assert (local["hosted_nanousd"], local["local_amortised_nanousd"], local["local_opportunity_nanousd"]) == (0, 5_000, 1_000)
    assert (local["all_hosted_nanousd"], local["saved_nanousd"], local["saved_usd"]) == (45_000, 40_000, "0.00004")
    assert (report["total"]["requests"], report["total"]["hosted_nanousd"], report["unpriced_requests"]) == (4, 90_001, 0)


def test_unknown_is_null_and_never_zero(database: Engine, exchange: Make) -> None:
    """A group without one known amount has null; a mixed group sums what is known, says how many are not, and saves over comparable rows only."""
    unknown = {"cost_nanousd": None, "cost_state": "unknown", "all_hosted_nanousd": None}
    with writing(database) as conn:
        exchanges.insert(conn, [exchange("a", **unknown), exchange("b", route="mixed", **unknown), exchange("c", route="mixed", all_hosted_nanousd=50_000)])
        exchanges.insert(
            conn, [exchange("d", route="tokens", usage=Usage(), usage_state="unknown"), exchange("e", local=True, route="local", opportunity_nanousd=None)]
        )
    with reading(database) as conn:
        report = costs.report(conn, ["route"], ALWAYS)
    found = {row["route"]: row for row in report["data"]}
    assert [found["triage"][f] for f in ("hosted_nanousd", "hosted_usd", "saved_nanousd", "all_hosted_usd", "cost_state")] == [None] * 4 + ["unknown"]
    mixed = found["mixed"]
    assert (mixed["hosted_nanousd"], mixed["unpriced_requests"], mixed["saved_nanousd"], mixed["comparable_requests"]) == (45_000, 1, 5_000, 1)
    assert mixed["cost_state"] == "unknown"
    assert (found["tokens"]["input_tokens"], found["tokens"]["hosted_nanousd"]) == (None, 45_000)
    assert [found["local"][f] for f in ("local_amortised_nanousd", "local_opportunity_nanousd", "saved_nanousd")] == [None] * 3
    assert found["local"]["unallocated_requests"] == 1
    assert report["unpriced_requests"] == 2


def test_interrupted_requests_are_listed_apart(database: Engine, exchange: Make) -> None:
    """What a kill cut off is counted, with costs unknown."""
    with writing(database) as conn:
        exchanges.insert(conn, [exchange("a"), exchanges.interrupted("b", 1.0, "triage", "chat.completions", None)])
    with reading(database) as conn:
        report = costs.report(conn, ["route"], ALWAYS)
    assert (report["interrupted_requests"], report["unpriced_requests"]) == (1, 1)
    assert rows(report, "requests", "ok_requests", "hosted_nanousd", "local_opportunity_nanousd") == [(2, 1, 45_000, 0)]


@pytest.mark.parametrize(
    ("states", "worst"),
    [(("known", "known"), "known"), (("known", "measured"), "measured"), (("measured", "estimated"), "estimated"), (("estimated", "unknown"), "unknown")],
)
def test_a_group_is_as_sure_as_its_weakest_row(sqlite: Engine, exchange: Make, states: tuple[str, str], worst: str) -> None:
    """`cost_state` is the weakest of the group's."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange(f"r{n}", cost_state=s, cost_nanousd=None if s == "unknown" else 1) for n, s in enumerate(states)])
        assert rows(costs.report(conn, ["route"], ALWAYS), "cost_state") == [(worst,)]


def test_each_tag_has_its_row(database: Engine, exchange: Make) -> None:
    """A request counts under each of its tags, one without tags under null."""
    with writing(database) as conn:
        exchanges.insert(
            conn,
            [exchange("a", tags={"team": "x", "env": "prod"}), exchange("b", tags={"team": "x"}), exchange("c", tags={}), exchange("d", tags={"team": "ü=1"})],
        )
    with reading(database) as conn:
        report = costs.report(conn, ["tag"], ALWAYS)
    assert dict(rows(report, "tag", "requests")) == {"team=x": 2, "env=prod": 1, "team=ü=1": 1, None: 1}
    assert report["total"]["requests"] == 4


def test_days_and_hours_are_utc(database: Engine, exchange: Make) -> None:
    """A second before midnight is another day; hours carry their instant."""
    midnight = 1795478400.0  # 2026-11-24T00:00:00Z
    with writing(database) as conn:
        exchanges.insert(conn, [exchange("a", time=midnight - 1.0), exchange("b", time=midnight), exchange("c", time=midnight + 3599.0)])
    with reading(database) as conn:
        assert rows(costs.report(conn, ["day"], ALWAYS), "day", "requests") == [("2026-11-23", 1), ("2026-11-24", 2)]
        hours = costs.report(conn, ["hour", "route", "key"], Period(since=midnight))
    assert rows(hours, "hour", "route", "key", "requests") == [("2026-11-24T00:00:00Z", "triage", "key_a", 2)]


def test_weeks_begin_on_monday_and_are_iso(database: Engine, exchange: Make) -> None:
    """Sunday night and Monday morning are two weeks; the last days of a year may be of the first week of the next."""
    at = {"2026-11-22T23:59:59": "2026-W47", "2026-11-23T00:00:00": "2026-W48", "2026-11-29T12:00:00": "2026-W48", "2024-12-30T00:00:00": "2025-W01"}
    with writing(database) as conn:
        exchanges.insert(conn, [exchange(text, time=datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) for text in at])
    with reading(database) as conn:
        before = costs.report(conn, ["week"], ALWAYS)
    assert rows(before, "week", "requests") == [("2025-W01", 1), ("2026-W47", 1), ("2026-W48", 2)]
    rollups.refresh(database, datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    with reading(database) as conn:
        assert costs.report(conn, ["week"], ALWAYS) == before


def test_the_bill_stands_on_top(database: Engine, exchange: Make, noon: float) -> None:
    """Local shares and idle sum to the GPU bill of the period."""
    with writing(database) as conn:
        exchanges.insert(conn, [exchange("a", local=True, time=noon, total_ms=20_000.0)])
        record_uptime(conn, "local", 0, int(noon // 60), 60.0, 2_500_000_000)
        close_minutes(conn, noon + 90.0)
        report = costs.report(conn, ["backend"], Period(noon, noon + 60.0))
    assert report["data"][0]["local_amortised_nanousd"] + report["idle_nanousd"] == report["gpu_bill_nanousd"] == 41_666_667
    assert (report["idle_usd"], report["idle_state"]) == ("0.027777778", "known")


def test_an_unpriced_gpu_is_an_unknown_bill(sqlite: Engine, noon: float) -> None:
    """Without `gpu_hour_usd` idle is null, not 0."""
    with writing(sqlite) as conn:
        record_uptime(conn, "local", 0, int(noon // 60), 60.0, None)
        report = costs.report(conn, [], ALWAYS)
    assert (report["idle_nanousd"], report["idle_usd"], report["idle_state"], report["gpu_bill_usd"]) == (None, None, "unknown", None)


def test_nothing_costs_nothing(database: Engine) -> None:
    """An empty ledger has no rows and a total of zeros; the report without groups has one row."""
    with reading(database) as conn:
        report = costs.report(conn, ["route"], ALWAYS)
        assert (report["data"], report["total"]["requests"], report["total"]["hosted_nanousd"]) == ([], 0, 0)
        assert rows(costs.report(conn, [], ALWAYS), "requests", "cost_state", "sandbox") == [(0, "known", False)]


def test_sandbox_numbers_are_labelled(sqlite: Engine, exchange: Make) -> None:
    """One row from a sandbox provider marks its group and the whole."""
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange("a", sandbox=True), exchange("b", route="real", outcome=Outcome.UPSTREAM_ERROR)])
        report = costs.report(conn, ["route"], ALWAYS)
    assert report["sandbox"]
    assert rows(report, "route", "sandbox", "ok_requests") == [("real", False, 0), ("triage", True, 1)]


@pytest.mark.parametrize("groups", [["model"], ["day", "hour"], ["route", ""]])
def test_a_group_that_does_not_exist_is_named(sqlite: Engine, groups: list[str]) -> None:
    """The refusal lists what there is."""
    with reading(sqlite) as conn, pytest.raises(RequestError, match="`group_by`") as caught:
        costs.report(conn, groups, ALWAYS)
    assert caught.value.param == "group_by"
