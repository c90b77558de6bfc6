"""The controller process: engines, adapters, the spool into the database, GPU minutes, roll-ups, batches, retention: what is done once per installation.

Public: `run(config)` (until SIGTERM or SIGINT; SIGHUP reads the configuration again), `main(config) -> int` for a process of its own.
Each duty is a loop of its own: one that fails is logged and tried again, the others go on. Ending it drains the engines and brings in the last records.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from sqlalchemy import Engine

from gateway.alerts import Alerts
from gateway.batches.supervisor import Batches
from gateway.config.models import Config
from gateway.controller_metrics import ControllerMetrics, Sources
from gateway.drift import monitor
from gateway.engine_specs import adapter_routes, launches, replica_specs
from gateway.engine_watch import Uptime, Work
from gateway.files import sweep as files
from gateway.fine_tuning.runner import Trainer
from gateway.metric_files import EVERY_S
from gateway.quality.duty import Quality
from gateway.reload import reread
from gateway.store import gpu, gpu_days, retention, rollups
from gateway.store.ingest import Ingester
from gateway.telemetry.traces import Traces
from router.errors import ConfigError
from serving import registry, replica_table, storage
from serving.database import connect, reading, writing
from serving.engines import Engines
from serving.host import probe
from serving.reconcile import Reconciler
from serving.replica import Hooks, Replica, Spec, check
from serving.supervise import Loop, keep
from serving.views import ReplicaView

log = logging.getLogger("breakeven.controller")
RECONCILE_S = 0.25
INGEST_S = 0.1
RECOVER_S = 1.0
BOOKS_S = 2.0
ROLLUPS_S = 2.0
WORK_S = 0.25
RETENTION_S = 3600.0
BATCHES_S = 0.5
FINE_TUNING_S = 0.5
ALERTS_S = 2.0
QUALITY_S = 1.0
DRIFT_S = 1.0


async def run(config: Config, clock: Callable[[], float] = time.time, environ: Mapping[str, str] | None = None) -> None:  # noqa: TID251  the root of a process
    """Be the controller until a signal says stop. Raises ConfigError when an engine's values cannot work."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    controller = Controller(config, clock, dict(os.environ) if environ is None else environ)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, controller.reload)
    try:
        await controller.run(stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


def main(config: Config) -> int:
    """The controller as a process: its exit code."""
    asyncio.run(run(config))
    return 0


class Controller:
    """The duties and what they share. Use `run`."""

    def __init__(self, config: Config, clock: Callable[[], float], environ: Mapping[str, str]) -> None:
        self.config = config
        self._clock, self._environ = clock, environ
        data_dir = config.server.data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        _check(config)
        self._database: Engine = connect(config.database, config.source.parent)
        self._ingester = Ingester(self._database, data_dir / "spool")
        self._reconciler = Reconciler(self._database, data_dir, clock, log.info)
        self._alerts = Alerts(self._database, clock)
        self._quality = Quality(self._database, clock, log.info)
        self._batches = Batches(self._database, data_dir, clock)
        self._trainer = Trainer(self._database, clock, environ)
        self._drift = monitor.Monitor(self._database, clock)
        self.engines = Engines(lambda spec: Replica(spec, Hooks(self._report, log.info, probe, self._wanted)))
        self._traces = Traces()
        self._metrics = ControllerMetrics(self._database, data_dir, clock, Sources(self._ingester, self._traces))
        self._traces.use(config.telemetry)
        self._ingester.on_rows = self._traces.rows
        self._uptime, self._unsaved, self._prices = Uptime(), dict[tuple[str, int, int], float](), dict[str, int | None]()
        poisoned = partial(self._metrics.metrics.count, "breakeven_engine_poisonings")
        self._work = Work(lambda: self.engines.replicas, self._database, clock, poisoned)
        self._recovered = float("-inf")
        self._matched: Config | None = None

    def reload(self) -> None:
        """Take the file as it is now into force; a file that is not valid changes nothing."""
        try:
            fresh = reread(self.config, self._environ)
            _check(fresh)
            self._traces.use(fresh.telemetry)
        except ConfigError as error:
            log.error("the configuration is not valid and was not taken: %s", error.message)  # noqa: TRY400  problems, not a traceback
            return
        self.config = fresh
        log.info("configuration read again from %s", fresh.source)

    async def run(self, stop: asyncio.Event) -> None:
        """All duties until `stop`; then engines drain while records still come in."""
        await asyncio.to_thread(storage.sweep_staging, self.config.server.data_dir)
        ended = asyncio.Event()
        self._metrics.start()
        while_engines_run = (
            Loop("engines and adapters", self._reconcile, RECONCILE_S),
            Loop("batches", self._batches.once, BATCHES_S),
            Loop("fine-tuning", self._train, FINE_TUNING_S),
            Loop("engine work", self._work.once, WORK_S),
            Loop("retention", self._forget, RETENTION_S),
            Loop("quality", self._judge, QUALITY_S),
        )
        to_the_end = (
            Loop("the ledger", self._ingest, INGEST_S),
            Loop("GPU minutes", self._book, BOOKS_S),
            Loop("roll-ups", self._roll_up, ROLLUPS_S),
            Loop("metrics", self._metrics.once, EVERY_S),
            Loop("alerts", self._alert, ALERTS_S),
            Loop("drift", self._watch_drift, DRIFT_S),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in to_the_end:
                    tasks.create_task(keep(loop, ended), name=loop.name)
                await asyncio.gather(*(keep(loop, stop) for loop in while_engines_run))
                await self._batches.close()
                await self._trainer.close()
                await self.engines.close()
                ended.set()
            await self._ingest()
        finally:
            await asyncio.to_thread(self._traces.close)
            await self._metrics.stop()
            await self._batches.close()
            await self._trainer.close()
            await self.engines.close()
            self._ingester.close()
            self._database.dispose()

    async def _reconcile(self) -> None:
        config = self.config
        if config is not self._matched:
            specs = replica_specs(config, sys.executable)
            if self._matched is None:
                await asyncio.to_thread(self._disbelieve)
            await self.engines.match(specs)
            await asyncio.to_thread(self._forget_replicas, specs)
            self._matched = config
        for error in self.engines.revive():
            log.error("a replica begins anew after an error", exc_info=error)
        await self._reconciler.once(self.engines.replicas, adapter_routes(config))

    async def _ingest(self) -> None:
        rows, lost = await asyncio.to_thread(self._ingester.run_once), 0
        if self._clock() - self._recovered >= RECOVER_S:
            self._recovered = self._clock()
            lost = await asyncio.to_thread(self._ingester.recover)
        self._metrics.ingested(rows + lost, lost)

    async def _book(self) -> None:
        now = self._clock()
        running = {
            (r.spec.engine, r.spec.index) for r in self.engines.replicas if r.view.state in ("starting", "ready", "draining") and (r.up or r.spec.launch)
        }
        # What a database that was away did not take is said again. An engine that left the configuration keeps its price while it drains.
        self._unsaved |= self._uptime.seen(running, now, asyncio.get_running_loop().time())
        self._prices |= {name: engine.gpu_hour_nanousd for name, engine in self.config.engines.items()}

        def write() -> None:
            with writing(self._database) as conn:
                for (engine, index, minute), up in self._unsaved.items():
                    gpu.record_uptime(conn, engine, index, minute, up, self._prices.get(engine))
                gpu.close_minutes(conn, now)

        await asyncio.to_thread(write)
        self._unsaved.clear()

    async def _roll_up(self) -> None:
        limited = {budget.tag for budget in self.config.budgets.tags}
        await asyncio.to_thread(rollups.refresh, self._database, self._clock(), keep=limited)
        await asyncio.to_thread(gpu_days.refresh, self._database, self._clock())

    async def _train(self) -> None:
        await self._trainer.once(self.config)

    async def _judge(self) -> None:
        await self._quality.once(self.config)

    async def _alert(self) -> None:
        await self._alerts.once(self.config)

    async def _watch_drift(self) -> None:
        await self._drift.once(self.config)

    async def _forget(self) -> None:
        days = {name: route.capture.retain_days for name, route in self.config.routes.items()}
        await asyncio.to_thread(retention.sweep, self._database, self._clock(), days, self.config.ledger.retain_days)
        await asyncio.to_thread(monitor.forget, self._database, self._clock())
        await asyncio.to_thread(files.sweep, self._database, self.config.server.data_dir, self._clock())

    async def _report(self, view: ReplicaView) -> None:
        def write() -> None:
            with writing(self._database) as conn:
                replica_table.put(conn, view, self._clock())

        await asyncio.to_thread(write)
        if view.state in ("failed", "stopped"):
            await self._reconciler.gone(view.engine, view.index)

    async def _wanted(self, engine: str) -> int:
        def count() -> int:
            with reading(self._database) as conn:
                return sum(version.wanted for view in registry.views(conn).values() if view.engine == engine for version in view.versions)

        return await asyncio.to_thread(count)

    def _disbelieve(self) -> None:
        """What an earlier controller last saw: nothing of it runs on, and workers should not call it."""
        with writing(self._database) as conn:
            for view in registry.replicas(conn):
                registry.lost(conn, view.engine, view.index)
                replica_table.put(conn, replace(view, healthy=False, state="stopped", detail=""), self._clock())

    def _forget_replicas(self, specs: list[Spec]) -> None:
        """Replicas that the configuration no longer has."""
        known = {(spec.engine, spec.index) for spec in specs}
        with writing(self._database) as conn:
            for view in registry.replicas(conn):
                if (view.engine, view.index) not in known:
                    registry.lost(conn, view.engine, view.index)
            replica_table.keep_only(conn, known)


def _check(config: Config) -> None:
    for launch in launches(config, sys.executable):
        check(launch)
