"""What the controller counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, update

from gateway.controller_metrics import ControllerMetrics, GpuTotals, Sources
from gateway.metric_files import CONTROLLER, MetricFiles
from gateway.store.gpu_totals import Total, since
from gateway.store.ingest import Ingester
from gateway.store.spool import Spool
from gateway.store.tables import engine_minutes
from gateway.telemetry.traces import Traces
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway.test_metrics import exchange, samples


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = connect("sqlite:///b.db", tmp_path)
    prepare(engine)
    yield engine
    engine.dispose()


def minute(number: int, allocated: int | None, idle: int | None, foreign: int | None = 0, engine: str = "local") -> dict[str, object]:
    return {
        "engine": engine, "minute": number, "milliseconds": 60_000, "bill_nanousd": None if idle is None else (allocated or 0) + (foreign or 0) + idle,
        "allocated_nanousd": allocated, "foreign_nanousd": foreign, "idle_nanousd": idle, "closed_at": 1.0, "stale": False,
    }  # fmt: skip


async def test_the_ledger_and_the_bill(database: Engine, tmp_path: Path) -> None:
    """Rows, what waits, dollars by engine; a successor goes on from there."""
    ingester, spool = Ingester(database, tmp_path / "spool"), Spool(tmp_path / "spool", "w0")
    now = time.time()
    metrics = ControllerMetrics(database, tmp_path, lambda: now, Sources(ingester, Traces()))
    metrics.start()
    spool.admit("req_1", now - 30.0, "r", "/v1/x", None)
    with writing(database) as conn:
        conn.execute(
            insert(engine_minutes), [minute(int(now // 60), 2_000_000_000, 1_000_000_000, 500_000_000), minute(int(now // 60), None, None, None, "free")]
        )
    await metrics.once()
    found = metrics.metrics
    assert samples(found, "breakeven_ledger_behind_seconds")[()] == pytest.approx(30.0)
    assert samples(found, "breakeven_ledger_backlog_bytes")[()] > 0
    assert samples(found, "breakeven_ledger_open_requests") == {(): 0.0}
    assert samples(found, "breakeven_gpu_cost_usd") == {("local", "allocated"): 2.0, ("local", "foreign"): 0.5, ("local", "idle"): 1.0}
    assert samples(found, "breakeven_gpu_seconds") == {("local",): 60.0, ("free",): 60.0}
    assert samples(found, "breakeven_price_data_age_seconds")[()] >= 0.0
    spool.settle(exchange(time=now))
    metrics.ingested(ingester.run_once(), 0)
    (tmp_path / "spool" / "w9.abc.000000.spool").write_bytes(b"damaged\n")
    metrics.ingested(ingester.run_once() + ingester.recover(), 0)
    await metrics.once()
    assert samples(found, "breakeven_ledger_behind_seconds") == {(): 0.0}
    assert samples(found, "breakeven_ledger_open_requests") == {(): 0.0}
    assert samples(found, "breakeven_ledger_rows") == {(): 1.0}
    assert samples(found, "breakeven_ledger_corrupt_records") == {(): 1.0}
    await metrics.stop()
    said = MetricFiles(tmp_path / "metrics", "w0").others()
    assert [each.name for each in said] == [CONTROLLER]
    after = ControllerMetrics(database, tmp_path, lambda: now, Sources(ingester, Traces()))
    after.start()
    assert samples(after.metrics, "breakeven_ledger_rows") == {(): 1.0}
    await after.stop()
    spool.close()
    ingester.close()


def test_totals_are_read_by_minute(database: Engine) -> None:
    """From a minute on."""
    with writing(database) as conn:
        conn.execute(insert(engine_minutes), [minute(9, 1, 1), minute(10, 2, 3, 4)])
        conn.execute(update(engine_minutes).where(engine_minutes.c.minute == 10).values(milliseconds=500))
    with reading(database) as conn:
        assert since(conn, 10) == [Total("local", 10, 500, 2, 3, 4)]


def test_a_counter_never_goes_back() -> None:
    """A minute that is closed again moves dollars from idle to allocated: idle waits until later minutes have made up for it."""
    totals = GpuTotals(100)

    def seen(*minutes: Total) -> dict[tuple[str, ...], float]:
        return {labels: round(more * 1e9) for name, labels, more in totals.seen(list(minutes)) if name == "breakeven_gpu_cost_usd"}

    assert seen(Total("e", 100, 60_000, 10, 50, None)) == {("e", "allocated"): 10, ("e", "idle"): 50}
    assert seen(Total("e", 100, 60_000, 30, 30, None)) == {("e", "allocated"): 20}
    assert seen(Total("e", 100, 60_000, 30, 30, None), Total("e", 101, 60_000, 0, 60, None)) == {("e", "idle"): 40}
    assert seen() == {}


def test_old_minutes_are_not_read_again() -> None:
    """After some hours they are summed for good; the counters stay right."""
    totals, counted = GpuTotals(0), 0.0
    for newest in range(0, 1000, 7):
        rows = [Total("e", number, 60_000, 1_000_000_000, None, None) for number in range(max(totals.begin, 0), newest + 1)]
        counted += sum(more for name, _, more in totals.seen(rows) if name == "breakeven_gpu_cost_usd")
    assert totals.begin > 700
    assert counted == pytest.approx(995.0)
