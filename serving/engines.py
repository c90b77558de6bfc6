"""All replicas this controller runs or watches, as tasks: started and stopped so that they match a list of specs. Not here: one replica's life (replica.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from serving.replica import Replica, Spec


class Engines:
    """`make` builds a replica from its spec. Close it: every server ends with it."""

    def __init__(self, make: Callable[[Spec], Replica]) -> None:
        self._make = make
        self._running: dict[Spec, tuple[Replica, asyncio.Task[None]]] = {}

    @property
    def replicas(self) -> list[Replica]:
        """Those that run now."""
        return [replica for replica, _ in self._running.values()]

    async def match(self, specs: Sequence[Spec]) -> None:
        """Stop what is not in `specs` (or changed), then start what is missing. Returns when the stopped ones are gone: a new one may need their memory."""
        gone = [self._running.pop(spec) for spec in list(self._running) if spec not in specs]
        await _end(gone)
        for spec in specs:
            if spec not in self._running:
                replica = self._make(spec)
                self._running[spec] = (replica, asyncio.create_task(replica.run(), name=f"engine {spec.name}"))

    async def close(self) -> None:
        """Stop all of them at once, each with its time to finish what is in flight."""
        await self.match(())

    def failures(self) -> list[BaseException]:
        """Errors that ended a replica's task: bugs, since a replica's own failures restart it."""
        ended = [task for _, task in self._running.values() if task.done() and not task.cancelled()]
        return [error for task in ended if (error := task.exception()) is not None]


async def _end(gone: Sequence[tuple[Replica, asyncio.Task[None]]]) -> None:
    await asyncio.gather(*(replica.stop() for replica, _ in gone))
    await asyncio.gather(*(task for _, task in gone), return_exceptions=True)
