"""What the controller counts for `/metrics`: how the ledger gets on, what the GPUs cost. Kept in its file, which the workers add to theirs.

A `Loop` calls `once` every other second; whoever is asked for metrics rings, and it is done at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

from sqlalchemy import Engine

from gateway import price_package
from gateway.bell import Bell
from gateway.drift import gauges as drift_gauges
from gateway.metric_files import CONTROLLER, MetricFiles, Said
from gateway.metrics import Metrics
from gateway.store import drift, fine_tuning, gpu_totals
from gateway.store.backlog import Backlog, backlog, offsets
from gateway.store.drift import State
from gateway.store.fine_tuning import Gauges
from gateway.store.gpu_totals import Total
from gateway.store.ingest import Ingester
from gateway.telemetry.traces import Traces
from serving.database import reading

log = logging.getLogger("breakeven.metrics")

# Minutes so old are closed for good, as good as always; they are summed once.
_SETTLED_MINUTES = 180
_NANO = 1e-9


@dataclass(frozen=True, slots=True)
class Sources:
    """Who is asked."""

    ingester: Ingester
    traces: Traces


class ControllerMetrics:
    """One per controller. `metrics` may be counted in from its event loop."""

    def __init__(self, database: Engine, data_dir: Path, clock: Callable[[], float], sources: Sources) -> None:
        self.metrics = Metrics()
        self._database, self._clock, self._sources = database, clock, sources
        self._spool = data_dir / "spool"
        self._files = MetricFiles(data_dir / "metrics", CONTROLLER)
        self._bell = Bell(data_dir / "metrics", CONTROLLER, self.once)
        self._gpu = GpuTotals(int(clock() // 60))
        self._corrupt = 0
        self._priced: float | None = None
        self._looking = asyncio.Lock()

    def start(self) -> None:
        """Go on where a controller that died had got to, and listen for the bell."""
        as_of = price_package.as_of()
        self._priced = None if as_of is None else datetime.combine(as_of, time(), UTC).timestamp()
        before = self._files.before()
        if before is not None:
            self.metrics.carry(before.cells)
        try:
            self._bell.hang()
        except OSError as error:
            log.warning("the workers cannot ask the controller for its metrics: %s", error)

    async def stop(self) -> None:
        """Listen no more and write the last numbers."""
        await self._bell.take_down()
        async with self._looking:
            self._sources.traces.count(self.metrics)
            await self._write()

    async def once(self) -> None:
        """Look at the ledger and the GPU bill, and write it all down."""
        async with self._looking:
            behind, bill, drifting, jobs = await asyncio.to_thread(self._look)
            metrics = self.metrics
            metrics.replace("breakeven_fine_tuning_jobs", {(status,): float(count) for status, count in jobs.statuses.items()})
            metrics.replace("breakeven_fine_tuning", jobs.numbers)
            metrics.replace("breakeven_drift_level", drift_gauges.levels(drifting))
            metrics.replace("breakeven_drift", drift_gauges.features(drifting))
            metrics.set("breakeven_ledger_backlog_bytes", behind.size)
            metrics.set("breakeven_ledger_behind_seconds", 0.0 if behind.since is None else max(0.0, self._clock() - behind.since))
            ingester = self._sources.ingester
            metrics.set("breakeven_ledger_open_requests", ingester.open)
            metrics.count("breakeven_ledger_corrupt_records", by=ingester.corrupt - self._corrupt)
            self._corrupt = ingester.corrupt
            self._sources.traces.count(metrics)
            if self._priced is not None:
                metrics.set("breakeven_price_data_age_seconds", max(0.0, self._clock() - self._priced))
            for name, labels, more in self._gpu.seen(bill):
                metrics.count(name, *labels, by=more)
            await self._write()

    def ingested(self, rows: int, interrupted: int) -> None:
        """So many exchanges came in, and so many were written off."""
        self.metrics.count("breakeven_ledger_rows", by=rows)
        self.metrics.count("breakeven_ledger_interrupted_requests", by=interrupted)

    def _look(self) -> tuple[Backlog, list[Total], list[State], Gauges]:
        with reading(self._database) as conn:
            read, bill, drifting = offsets(conn), gpu_totals.since(conn, self._gpu.begin), drift.states(conn)
            jobs = fine_tuning.gauges(conn)
        return backlog(self._spool, read), bill, drifting, jobs

    async def _write(self) -> None:
        await asyncio.to_thread(self._files.write, Said(CONTROLLER, self._clock(), dict(self.metrics.cells())))


class GpuTotals:
    """Counters out of books: a minute may be closed again and then differ, a counter may not go back. What was counted stays; later minutes make up for it.

    `begin` is the first minute whose rows are looked at.
    """

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self._before: dict[tuple[str, ...], float] = {}
        self._counted: dict[tuple[str, ...], float] = {}

    def seen(self, minutes: list[Total]) -> list[tuple[str, tuple[str, ...], float]]:
        """What there is to add to the counters, from the closed minutes since `begin`."""
        now, newest = dict(self._before), max((total.minute for total in minutes), default=self.begin)
        until = newest - _SETTLED_MINUTES
        for total in minutes:
            for what, amount in _amounts(total):
                now[what] = now.get(what, 0.0) + amount
                if total.minute < until:
                    self._before[what] = self._before.get(what, 0.0) + amount
        self.begin = max(self.begin, until)
        more = [(what, amount - self._counted.get(what, 0.0)) for what, amount in now.items()]
        self._counted |= {what: now[what] for what, amount in more if amount > 0.0}
        return [(what[0], what[1:], amount) for what, amount in more if amount > 0.0]


def _amounts(total: Total) -> list[tuple[tuple[str, ...], float]]:
    found: list[tuple[tuple[str, ...], float]] = [(("breakeven_gpu_seconds", total.engine), total.milliseconds / 1000.0)]
    for share, nanousd in (("allocated", total.allocated_nanousd), ("foreign", total.foreign_nanousd), ("idle", total.idle_nanousd)):
        if nanousd is not None:  # the GPU has a price, and the minute was closed since foreign work is counted
            found.append((("breakeven_gpu_cost_usd", total.engine, share), nanousd * _NANO))
    return found
