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
                self._start(spec)

    async def close(self) -> None:
        """Stop all of them at once, each with its time to finish what is in flight."""
        await self.match(())

    def revive(self) -> list[BaseException]:
        """Begin anew where a replica's task ended by an error, which its own failures never do (the database was full, a bug): those errors."""
        found: list[BaseException] = []
        for spec, (_, task) in list(self._running.items()):
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None:
                found.append(error)
                self._start(spec)
        return found

    def _start(self, spec: Spec) -> None:
        replica = self._make(spec)
        self._running[spec] = (replica, asyncio.create_task(replica.run(), name=f"engine {spec.name}"))


async def _end(gone: Sequence[tuple[Replica, asyncio.Task[None]]]) -> None:
    await asyncio.gather(*(replica.stop() for replica, _ in gone))
    await asyncio.gather(*(task for _, task in gone), return_exceptions=True)
