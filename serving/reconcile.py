"""Making each replica have what the registry wants, for ever: read both, do the steps, record what happened, let pending changes come into force.

Public: `Reconciler.once(replicas, routes)`: one look at everything. Every step is safe to repeat, so a crash between any two of them is harmless.
Not here: what the steps are (rollout.py), which changes follow (verbs.py), when to look (gateway/controller.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from router.errors import Reason, UpstreamError, UpstreamRefused
from serving import parity, registry, storage
from serving.client import Card, Client
from serving.database import reading, state_version, writing
from serving.replica import Replica
from serving.rollout import Step, steps
from serving.states import State
from serving.verify import verify
from serving.views import AdapterView

# Without a change, compare anyway this often: someone may have unloaded an adapter by hand.
EVERY_S = 5.0
# A version in service that does not come back on a replica (its engine may be ill) is tried again after this.
RETRY_S = 15.0
# A retired version's directory stays this long: requests that began before the unload may run for `timeouts.total_ms`.
FILES_S = 900.0

Routes = Mapping[str, Mapping[str, bool]]


@dataclass(slots=True)
class _Seen:
    """What was compared last on a replica, so that nothing is asked while nothing changed."""

    generation: int = -1
    version: int = -1
    at: float = float("-inf")
    retry: dict[str, float] = field(default_factory=dict)


class Reconciler:
    """One per controller. `clock` gives epoch seconds, `say` takes lines for the operator."""

    def __init__(self, database: Engine, data_dir: Path, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._database, self._data_dir, self._clock, self._say = database, data_dir, clock, say
        self._seen: dict[tuple[str, int], _Seen] = {}

    async def once(self, replicas: Sequence[Replica], routes: Routes) -> None:
        """Compare and act on every replica that is up, then let what has become possible happen."""
        version, views = await self._read(_look)
        await asyncio.gather(*(self._replica(replica, version, views) for replica in replicas if replica.up))
        up: dict[str, set[int]] = {}
        for replica in replicas:
            if replica.up:
                up.setdefault(replica.spec.engine, set()).add(replica.spec.index)
        ready = {engine: frozenset(indices) for engine, indices in up.items()}
        now = self._clock()
        if await self._read(lambda conn: registry.due(conn, ready, routes, now)):
            for said in await self._write(lambda conn: registry.apply(conn, ready, routes, now)):
                self._say(f"adapter {said}")
        await self._clean(views)

    async def gone(self, engine: str, index: int) -> None:
        """A replica's process ended: it has nothing any more."""
        self._seen.pop((engine, index), None)
        await self._write(lambda conn: registry.lost(conn, engine, index))

    async def _replica(self, replica: Replica, version: int, views: list[AdapterView]) -> None:
        place, now = (replica.spec.engine, replica.spec.index), self._clock()
        seen = self._seen.setdefault(place, _Seen())
        fresh = seen.generation != replica.generation
        leaving = any(v.state is State.DRAINING for view in views for v in view.versions)
        if not fresh and not leaving and version == seen.version and now - seen.at < EVERY_S:
            return
        client = replica.client
        if client is None:
            return
        if fresh:
            seen.retry.clear()
            await self._write(lambda conn: registry.lost(conn, *place))
            version, views = await self._read(_look)
        try:
            await self._bring_in(replica, client, views, seen)
        except UpstreamError as error:
            self._say(f"engine {replica.spec.name}: {error.message}; trying again")
            return
        seen.generation, seen.version, seen.at = replica.generation, version, now
        await replica.announce()

    async def _bring_in(self, replica: Replica, client: Client, views: list[AdapterView], seen: _Seen) -> None:
        engine, index = replica.spec.engine, replica.spec.index
        models = await client.models()
        actual = {name: card.root for name, card in models.items() if card.parent is not None}
        now = self._clock()
        waiting = {name for name, at in seen.retry.items() if now < at}
        base = next((card for card in models.values() if card.parent is None), None)
        failed: set[str] = set()
        for step in steps(views, engine, index, actual, now, waiting, replica.spec.paths):
            if step.name not in failed and not await self._step(client, base, (engine, index), step):
                failed.add(step.name)
                seen.retry[step.name] = self._clock() + RETRY_S

    async def _step(self, client: Client, base: Card | None, place: tuple[str, int], step: Step) -> bool:
        """Do one step and record it. False: the version cannot be served there. Raises UpstreamError when the server itself is in trouble."""
        model = (step.adapter, step.version)
        if step.kind == "load":
            return await self._load(client, place, step)
        if step.kind == "verify":
            return await self._verify(client, base, place, step)
        if step.kind == "unload":
            # Workers first: nobody is sent there any more when the name goes.
            if step.adapter:
                await self._write(lambda conn: registry.saw(conn, place, model, "gone", "", self._clock()))
            await client.unload(step.name)
            self._say(f"engine {place[0]}/{place[1]}: unloaded {step.name}")
            return True
        await self._write(lambda conn: registry.saw(conn, place, model, "gone", "", self._clock()))
        return True

    async def _load(self, client: Client, place: tuple[str, int], step: Step) -> bool:
        began = asyncio.get_running_loop().time()
        try:
            await client.load(step.name, step.path)
        except UpstreamRefused as error:
            if error.status >= 500 and not await client.healthy():
                raise
            remedy = "the engine's log has the whole story; check that the engine sees the same directory"
            return await self._failed(place, step, (Reason("engine_refused", f"the engine does not load it: {error.message}", remedy),))
        await self._write(lambda conn: registry.saw(conn, place, (step.adapter, step.version), "loaded", "", self._clock()))
        self._say(f"engine {place[0]}/{place[1]}: loaded {step.name} in {1000 * (asyncio.get_running_loop().time() - began):.0f} ms")
        return True

    async def _verify(self, client: Client, base: Card | None, place: tuple[str, int], step: Step) -> bool:
        if base is None:
            raise UpstreamError(f"{client.url} lists no base model")
        local = await self._read(lambda conn: Path(_path(registry.view(conn, step.adapter), step.version)))
        verdict = await verify(client, base.name, step.name, local, base.max_model_len)
        same = await parity.check(client, base.name, local, base.max_model_len)
        if reasons := (*verdict.reasons, *same.reasons):
            await client.unload(step.name)
            return await self._failed(place, step, reasons)

        def note(conn: Connection) -> None:
            registry.saw(conn, place, (step.adapter, step.version), "verified", "", self._clock())
            registry.verified(conn, step.adapter, step.version, verdict.as_dict() | {"conversations": same.compared})

        await self._write(note)
        self._say(f"engine {place[0]}/{place[1]}: verified {step.name} ({verdict.proof})")
        return True

    async def _failed(self, place: tuple[str, int], step: Step, reasons: tuple[Reason, ...]) -> bool:
        said = "; ".join(reason.message for reason in reasons)
        self._say(f"engine {place[0]}/{place[1]}: {step.name} is refused: {said}")

        def note(conn: Connection) -> None:
            registry.saw(conn, place, (step.adapter, step.version), "failed", said, self._clock())
            if step.new:
                registry.refuse(conn, step.adapter, step.version, reasons, self._clock())

        await self._write(note)
        return False

    async def _clean(self, views: list[AdapterView]) -> None:
        """Remove the directories of versions retired long enough ago that no other version shares."""
        now = self._clock()
        used = {v.path for view in views for v in view.versions if v.state is not State.RETIRED}
        for view in views:
            for v in view.versions:
                if v.state is not State.RETIRED or v.files_removed or now - v.changed_at < FILES_S:
                    continue
                if v.path in used or await asyncio.to_thread(storage.remove, Path(v.path), self._data_dir):
                    await self._write(partial(registry.removed_files, adapter=v.adapter, version=v.version))

    async def _read(self, work: Callable[[Connection], Any]) -> Any:
        def run() -> Any:
            with reading(self._database) as conn:
                return work(conn)

        return await asyncio.to_thread(run)

    async def _write(self, work: Callable[[Connection], Any]) -> Any:
        def run() -> Any:
            with writing(self._database) as conn:
                return work(conn)

        return await asyncio.to_thread(run)


def _look(conn: Connection) -> tuple[int, list[AdapterView]]:
    return state_version(conn), list(registry.views(conn).values())


def _path(view: AdapterView, number: int) -> str:
    version = view.version(number)
    return "" if version is None else version.path
