"""Costs over HTTP, as JSON and CSV."""

from __future__ import annotations

import csv
import io

import httpx
import pytest

from gateway.admin.costs import as_csv


def test_groups_add_up_to_the_total(ask: httpx.Client) -> None:
    """By route, backend, hour: Σ rows = total, and the GPU bill = booked + idle."""
    for groups in ("route", "backend", "route,backend,hour", "day"):
        made = ask.get("/admin/costs", params={"group_by": groups}).json()
        for name in ("requests", "hosted_nanousd", "local_amortised_nanousd", "all_hosted_nanousd", "saved_nanousd"):
            assert sum(row[name] or 0 for row in made["data"]) == made["total"][name]
        assert made["gpu_bill_nanousd"] == made["total"]["local_amortised_nanousd"] + made["idle_nanousd"]
        assert made["sandbox"] is True


@pytest.mark.parametrize(("group", "step"), [("minute", 60), ("quarter_hour", 900)])
def test_fine_steps(ask: httpx.Client, group: str, step: int) -> None:
    """Minutes and quarter hours begin on the stroke."""
    rows = ask.get("/admin/costs", params={"group_by": group, "since": "2026-11-23T13:00:00Z"}).json()["data"]
    assert rows
    assert all(row[group].startswith("2026-11-23T13:") for row in rows)
    assert {int(row[group][14:16]) * 60 % step for row in rows} == {0}


def test_csv_has_the_same_rows(ask: httpx.Client) -> None:
    """With `Accept: text/csv`; null is an empty field."""
    answer = ask.get("/admin/costs?group_by=route,key", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    made = ask.get("/admin/costs?group_by=route,key").json()["data"]
    assert [row["hosted_usd"] for row in rows] == [row["hosted_usd"] for row in made]
    assert {row["key"] for row in rows} == {""}


def test_csv_text_cannot_become_a_formula() -> None:
    """A tag that begins like a formula is quoted for spreadsheets; negative numbers stay numbers."""
    rows = list(csv.DictReader(io.StringIO(as_csv([{"tag": "=1+1", "saved_usd": "-0.5", "requests": 3, "key": None}]))))
    assert rows == [{"tag": "'=1+1", "saved_usd": "-0.5", "requests": "3", "key": ""}]
    assert as_csv([]) == ""
