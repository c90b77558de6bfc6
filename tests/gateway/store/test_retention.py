"""What is too old goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, func, select

from gateway.store import captures, costs, decisions, exchanges, latencies, shape
from gateway.store.captures import Capture
from gateway.store.exchanges import Filter
from gateway.store.period import ALWAYS, Period
from gateway.store.records import DecisionText
from gateway.store.retention import Swept, sweep
from gateway.store.tables import attempts
from serving.database import reading, writing

Make = Callable[..., Any]
DAY = 86400.0


def test_captures_expire_after_their_routes_days(database: Engine) -> None:
    """Each route by its own days, unknown routes after 30, in as many small deletions as it takes."""
    now = 100 * DAY
    with writing(database) as conn:
        for route in ("short", "gone", None):
            captures.insert(conn, [Capture(f"{route}-{age}", route, now - age * DAY, {}, "") for age in range(1, 41)])
    assert sweep(database, now, {"short": 7, "unused": 1}, chunk=4) == Swept(33 + 10 + 10, 0, 0)
    with reading(database) as conn:
        assert captures.counts(conn) == {"short": 7, "gone": 30}
    assert sweep(database, now, {"short": 7}) == Swept(0, 0, 0)


def test_ledger_rows_go_with_all_that_hangs_on_them(sqlite: Engine, exchange: Make) -> None:
    """Exchanges older than the installation's days go with their attempts, decisions with them; by default nothing goes."""
    now = 100 * DAY
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange(f"r{age}", time=now - age * DAY) for age in range(1, 11)])
        decisions.insert(conn, [DecisionText(f"d{age}", now - age * DAY, "r", "", "[]") for age in range(1, 11)], decisions.keep_shape(conn, shape.DECISION))
    assert sweep(sqlite, now, {}) == Swept(0, 0, 0)
    assert sweep(sqlite, now, {}, ledger_days=4, chunk=2) == Swept(0, 6, 6)
    with reading(sqlite) as conn:
        assert [e.exchange.id for e in exchanges.page(conn, Filter()).entries] == ["r1", "r2", "r3", "r4"]
        assert conn.execute(select(func.count()).select_from(attempts)).scalar() == 4


def test_sums_outlive_their_rows(sqlite: Engine, exchange: Make) -> None:
    """Before rows go their hours and days are rolled up: reports of all time say the same afterwards, in half a day's resolution too."""
    now = 100 * DAY + 5000
    with writing(sqlite) as conn:
        exchanges.insert(conn, [exchange(f"r{n}", time=90 * DAY + n * 5000.0) for n in range(150)])
        before = [
            costs.report(conn, groups, period) for groups in ([], ["day", "route"], ["hour"], ["tag"]) for period in (ALWAYS, Period(91.5 * DAY, 98.5 * DAY))
        ]
        latency = latencies.by(conn, ["backend"], ALWAYS)
    assert sweep(sqlite, now, {}, ledger_days=3).exchanges == 121
    with reading(sqlite) as conn:
        after = [
            costs.report(conn, groups, period) for groups in ([], ["day", "route"], ["hour"], ["tag"]) for period in (ALWAYS, Period(91.5 * DAY, 98.5 * DAY))
        ]
        assert after == before
        assert latencies.by(conn, ["backend"], ALWAYS) == latency
