"""`/metrics`: whichever worker is asked answers for the whole host. Reading files, adding up and writing the text happen beside the event loop.

Each process keeps its numbers in a file: every other second, and whenever another one that is asked for metrics rings it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from gateway import gauges
from gateway.bell import Bell
from gateway.metric_files import CONTROLLER, EVERY_S, MetricFiles, Said, merged

if TYPE_CHECKING:
    from gateway.context import Gateway

log = logging.getLogger("breakeven.metrics")

_PATIENCE_S = 2.0


class Scrape:
    """One per worker; `name` is the worker's."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self._gateway = gateway
        directory, workers = gateway.config.server.data_dir / "metrics", gateway.config.server.workers
        self._files = MetricFiles(directory, name)
        self._bell = Bell(directory, name, self._written)
        self._others = [other for other in (CONTROLLER, *(worker_name(index) for index in range(workers))) if other != name]
        self._task: asyncio.Task[None] | None = None
        self._writing, self._asking = asyncio.Lock(), asyncio.Lock()

    async def start(self) -> None:
        """Go on where a worker that died had got to, and keep the file current where there are others to read it."""
        if (before := await asyncio.to_thread(self._files.before)) is not None:
            self._gateway.metrics.carry(before.cells)
        try:
            self._bell.hang()
        except OSError as error:
            log.warning("other processes cannot ask this one for its metrics: %s", error)
        if self._gateway.config.server.workers > 1:
            self._task = asyncio.create_task(self._keep_current(), name="metrics")

    async def stop(self) -> None:
        """Write the last numbers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._bell.take_down()
        await self._written()

    async def shown(self, accept: str) -> tuple[bytes, str]:
        """The host's metrics and their content type; `accept` is the header of that name."""
        async with self._asking:
            late = await self._bell.ring(self._others, _PATIENCE_S)
            if late:
                log.info("%s did not say how they are doing within %.1f s; shown is what they last said", ", ".join(sorted(late)), _PATIENCE_S)
            mine = await self._written()
            return await asyncio.to_thread(_shown, self._files, mine, accept)

    async def _keep_current(self) -> None:
        while True:
            await self._written()
            await asyncio.sleep(EVERY_S)

    async def _written(self) -> Said:
        """Say how this worker is doing. What is shown has been written before, so that a successor can never show less."""
        async with self._writing:
            gauges.fill(self._gateway)
            said = Said(self._files.name, self._gateway.clock(), dict(self._gateway.metrics.cells()))
            await asyncio.to_thread(self._files.write, said)
            return said


def worker_name(index: int) -> str:
    """What worker number `index` is called in files."""
    return f"w{index}"


def _shown(files: MetricFiles, mine: Said, accept: str) -> tuple[bytes, str]:
    from gateway.exposition import shown

    others = list(files.others())
    cells = merged([mine, *others], mine.at)
    with contextlib.suppress(StopIteration):
        cells[("breakeven_controller_age_seconds",)] = [max(0.0, mine.at - next(said.at for said in others if said.name == CONTROLLER))]
    return shown(cells, accept)
