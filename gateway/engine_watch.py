"""What the controller sees of its engines over time: the seconds each replica was up, and the work its counters show.

Here: looking, and saying by the minute what changed. Not here: reading counters (serving/counters.py), what a minute costs (gateway/store/gpu.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from sqlalchemy import Engine

from gateway.store import engine_work, gpu
from router.errors import UpstreamError
from serving import registry
from serving.counters import Counters, Grown, Sampler, read
from serving.database import writing
from serving.replica import Replica

log = logging.getLogger("breakeven.controller")

# Twelve looks a minute, one of them on the full minute: a look costs vLLM's front end some milliseconds.
SAMPLE_S = 5.0
Place = tuple[str, int, int]  # engine, replica, minute


class Uptime:
    """Seconds each replica was up, by minute: what the GPU is paid for. Fed every few seconds; a replica counts between two looks that both saw it."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._before: set[tuple[str, int]] = set()
        self._seconds: dict[Place, float] = {}

    def seen(self, running: set[tuple[str, int]], now: float, ticks: float | None = None) -> dict[Place, float]:
        """Count the time since the last look, and return what changed: (engine, index, minute) -> seconds of that minute so far.

        `now` is the time of day, `ticks` a clock that nobody sets (None: the time of day is one): how long it was is what that says, whatever else was set.
        """
        changed: dict[Place, float] = {}
        steady = now if ticks is None else ticks
        at = now if self._last is None else now - max(steady - self._last[1], 0.0)
        while at < now:
            minute = int(at // 60)
            until = min(now, 60.0 * (minute + 1))
            for engine, index in running & self._before:
                place = (engine, index, minute)
                self._seconds[place] = changed[place] = self._seconds.get(place, 0.0) + until - at
            at = until
        self._seconds = {place: up for place, up in self._seconds.items() if place[2] >= int(now // 60) - 1}
        self._last, self._before = (now, steady), set(running)
        return changed


class Work:
    """Looks at every replica's counters each SAMPLE_S and writes down what grew. Call `once` often; most calls do nothing. `counted` is told of each replica
    that was found poisoned, which is dealt with here: one NaN in an adapter reaches the answers of others through memory that is used again."""

    def __init__(self, replicas: Callable[[], Iterable[Replica]], database: Engine, clock: Callable[[], float], counted: Callable[[str], None]) -> None:
        self._replicas, self._database, self._clock, self._counted = replicas, database, clock, counted
        self._sampler = Sampler()
        self._tick = -1
        self._unsaved: list[Grown] = []

    async def once(self) -> None:
        """Look when it is time. A replica that does not answer is looked at the next time."""
        tick = int(self._clock() // SAMPLE_S)
        if tick == self._tick:
            return
        self._tick = tick
        up = [replica for replica in self._replicas() if replica.up]
        self._sampler.forget((replica.spec.engine, replica.spec.index) for replica in self._replicas())
        for replica, look in zip(up, await asyncio.gather(*map(self._look, up)), strict=True):
            if look is not None:
                at, counters = look
                self._unsaved += self._sampler.seen(replica.spec.engine, replica.spec.index, replica.view.url, at, counters)
                if (more := self._sampler.corrupted(replica.spec.engine, replica.spec.index, replica.view.url, counters)) and replica.view.state != "draining":
                    await self._poisoned(replica, more)
        if self._unsaved:
            await asyncio.to_thread(self._write, self._unsaved)
            self._unsaved = []

    async def _look(self, replica: Replica) -> tuple[float, Counters] | None:
        client = replica.client
        if client is None:
            return None
        try:
            counters = read(await client.metrics())
        except (UpstreamError, RuntimeError):  # httpx says RuntimeError where the replica ended and closed its client
            return None
        return None if counters is None else (self._clock(), counters)

    async def _poisoned(self, replica: Replica, requests: int) -> None:
        """Say so, in log, metrics and the audit trail of every adapter that is there; and have the server drained and started anew, where it is ours."""
        spec = replica.spec
        said = f"computed values that are not numbers in {requests} requests; answers of others may be spoilt until it starts anew"
        done = "it is drained and restarted" if spec.launch is not None else "it is run by someone else: restart it"
        log.error("engine %s %s; %s", spec.name, said, done)
        self._counted(spec.engine)
        await asyncio.to_thread(self._note, spec.engine, spec.index, f"{said}; {done}")
        await replica.renew(f"poisoned: it {said}")

    def _note(self, engine: str, index: int, reason: str) -> None:
        with writing(self._database) as conn:
            registry.poisoned(conn, engine, index, reason, self._clock())

    def _write(self, grown: list[Grown]) -> None:
        with writing(self._database) as conn:
            engine_work.add(conn, grown)
            gpu.reopen_minutes(conn, {(one.engine, one.minute) for one in grown})
