"""One replica of an engine through its life: starting -> ready -> draining -> stopped, or failed and started again with back-off.

A replica is `up` when the server answers health and generates a real token; it becomes `ready` (routable) when the reconciler has brought in its adapters and
called `announce`. Any exit that was not asked for is a failure, exit code 0 too. Servers run by someone else are watched in the same way and never started.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from router.errors import BreakevenError, ConfigError, UpstreamError
from serving.client import Client
from serving.command import Host, Launch, command, room
from serving.leftovers import sweep
from serving.process import MARGIN_S, Server, free_port
from serving.progress import failure, phase
from serving.views import ReplicaView

BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
Ends = tuple["asyncio.Future[Any]", ...]  # futures whose completion ends a wait
STEADY_S = 60.0  # ready for so long: the next failure starts the back-off from the beginning
POLL_S = 0.5
SAY_EVERY_S = 5.0
UNHEALTHY_AFTER = 3  # health checks in a row; one alone is lost to a long step
HUNG_AFTER = 60  # health checks in a row: it will not come back by itself


@dataclass(frozen=True, slots=True)
class Spec:
    """Which replica: of a managed engine (`launch`), or at a `url` that someone else runs. `directory` holds its record and log."""

    engine: str
    index: int
    directory: Path
    launch: Launch | None = None
    url: str = ""
    api_key: str | None = field(default=None, repr=False)
    startup_timeout_s: float = 600.0
    paths: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """How operators read it: `local/0`."""
        return f"{self.engine}/{self.index}"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a replica needs of its surroundings: `report` gets every change of its view, `say` lines for the operator, `probe` looks at the host an
    interpreter runs on, `wanted` says how many adapter versions should be loaded."""

    report: Callable[[ReplicaView], Awaitable[None]]
    say: Callable[[str], None]
    probe: Callable[[str], Host]
    wanted: Callable[[str], Awaitable[int]]


class Replica:
    """Runs and watches one replica until `stop`."""

    def __init__(self, spec: Spec, hooks: Hooks) -> None:
        self.spec = spec
        self.client: Client | None = None
        self.generation = 0
        self._hooks, self._say = hooks, hooks.say
        self._view = ReplicaView(spec.engine, spec.index, spec.url, "starting", healthy=False, restarts=0, detail="")
        self._stopping, self._renewing = asyncio.Event(), asyncio.Event()
        self._renew_why = ""
        self._up = False

    @property
    def up(self) -> bool:
        """Whether the server answers with real tokens, adapters or not."""
        return self._up

    @property
    def view(self) -> ReplicaView:
        """What was last reported."""
        return self._view

    async def run(self) -> None:
        """Until `stop` is called: start, watch, start again."""
        await self._hooks.report(self._view)
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            why = await self._once()
            self._up = False
            if self._stopping.is_set():
                break
            failures = 0 if loop.time() - began > STEADY_S and self._view.state == "ready" else failures
            pause = BACKOFF_S[0 if self.spec.launch is None else min(failures, len(BACKOFF_S) - 1)]
            failures += 1
            self._say(f"engine {self.spec.name}: {why}; next try in {pause:g} s")
            await self._set(state="failed", healthy=False, detail=why, restarts=self._view.restarts + 1)
            await self._sleep(pause)
        await self._set(state="stopped", healthy=False, detail="")

    async def stop(self) -> None:
        """Take it out of service: workers stop calling it, then the server is asked to finish and leave. `run` returns afterwards."""
        if not self._stopping.is_set():
            if self._view.state == "ready":
                await self._set(state="draining", healthy=False)
                await asyncio.sleep(POLL_S)
            self._stopping.set()

    async def renew(self, why: str) -> None:
        """Have a server of ours drained and started anew. Does nothing to one that someone else runs."""
        if self.spec.launch is not None and not self._stopping.is_set():
            self._renew_why = why
            self._renewing.set()

    async def announce(self) -> None:
        """Its adapters are in: it may be called."""
        if self._up and not self._stopping.is_set() and self._view.state != "ready":
            self._say(f"engine {self.spec.name}: ready at {self._view.url}")
            await self._set(state="ready", healthy=True, detail="")

    async def _once(self) -> str:
        """One life of the server. Returns why it ended."""
        self._renewing.clear()
        try:
            if self.spec.launch is None:
                return await self._serve(self.spec.url, None)
            return await self._launch(self.spec.launch)
        except BreakevenError as error:
            return error.message
        except OSError as error:
            return f"it cannot be started: {error}"
        finally:
            if self.client is not None:
                await self.client.aclose()
                self.client = None

    async def _launch(self, launch: Launch) -> str:
        await self._set(state="starting", healthy=False, detail="")
        record = self.spec.directory / f"{self.spec.engine}-{self.spec.index}.json"
        left = await asyncio.to_thread(sweep, record, launch.drain_s + MARGIN_S)
        if left:
            self._say(f"engine {self.spec.name}: {left}")
        host = await asyncio.to_thread(self._hooks.probe, launch.python)
        port = free_port()
        adapters = await self._hooks.wanted(self.spec.engine)
        argv, env = command(launch, host, port, adapters)
        await self._set(room=room(launch, adapters))
        self._say(f"engine {self.spec.name}: starting {launch.model} ({host.vllm}, {'CPU' if host.cpu else 'GPU'})")
        server = await Server.start(argv, env, record, record.with_suffix(".log"), launch.drain_s + MARGIN_S)
        try:
            return await self._serve(f"http://127.0.0.1:{port}", server)
        finally:
            await server.stop()

    async def _serve(self, url: str, server: Server | None) -> str:
        self.client = Client(url, self.spec.api_key)
        ended = asyncio.ensure_future(server.wait() if server else self._stopping.wait())
        stopping, renewing = asyncio.ensure_future(self._stopping.wait()), asyncio.ensure_future(self._renewing.wait())
        try:
            why = await self._until_up(url, server, (ended, stopping))
            if why is None:
                why = await self._watch((ended, stopping, renewing))
            if server is not None and ended.done() and not self._stopping.is_set():
                why = failure(ended.result(), server.tail(), server.log)
            return why
        finally:
            for future in (ended, stopping, renewing):
                future.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(ended, stopping, renewing, return_exceptions=True)

    async def _until_up(self, url: str, server: Server | None, ends: Ends) -> str | None:
        """Wait for health and one token. None when both are there, else why not."""
        assert self.client is not None  # noqa: S101  set by the only caller
        loop = asyncio.get_running_loop()
        began = said = loop.time()
        while not (await asyncio.wait(ends, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED))[0]:
            if await self.client.healthy() and await self._generates(url):
                self._say(f"engine {self.spec.name}: up after {loop.time() - began:.0f} s")
                return None
            now = loop.time()
            if server is not None and now - began > self.spec.startup_timeout_s:
                return f"not up after {self.spec.startup_timeout_s:g} s (raise engines.{self.spec.engine}.startup_timeout_s?); see {server.log}"
            if now - said >= SAY_EVERY_S:
                said = now
                doing = phase(server.tail()) if server else f"waiting for {url}"
                self._say(f"engine {self.spec.name}: {doing} … {now - began:.0f} s")
                await self._set(detail=doing)
        return "stopped"

    async def _generates(self, url: str) -> bool:
        assert self.client is not None  # noqa: S101
        try:
            models = await self.client.models()
            base = next((card for card in models.values() if card.parent is None), None)
            if base is None:
                return False
            await self.client.one_token(base.name)
        except UpstreamError:
            return False
        self.generation += 1
        self._up = True
        await self._set(url=url, model=base.name, max_model_len=base.max_model_len)
        return True

    async def _watch(self, ends: Ends) -> str:
        """Poll health until the server ends, hangs, or is to stop. Returns why."""
        assert self.client is not None  # noqa: S101
        missed = 0
        while not (await asyncio.wait(ends, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED))[0]:
            if await self.client.healthy():
                if missed >= UNHEALTHY_AFTER and self._view.state == "ready":
                    await self._set(healthy=True, detail="")
                missed = 0
                continue
            missed += 1
            if missed == UNHEALTHY_AFTER and self._view.state == "ready":
                await self._set(healthy=False, detail="health checks fail")
            if missed >= HUNG_AFTER or (self.spec.launch is None and missed >= UNHEALTHY_AFTER):
                return "health checks fail"
        if self._renewing.is_set() and not self._stopping.is_set():  # workers first, then what is in flight: the guard waits for it
            await self._set(state="draining", healthy=False, detail=self._renew_why)
            await self._sleep(POLL_S)
            return self._renew_why
        return "stopped"

    async def _set(self, **changes: object) -> None:
        view = replace(self._view, **changes)  # type: ignore[arg-type]
        if view != self._view:
            self._view = view
            await self._hooks.report(view)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def check(launch: Launch) -> None:
    """Raises ConfigError with every problem of an engine's values."""
    problems = launch.problems()
    if problems:
        raise ConfigError("; ".join(str(problem) for problem in problems), problems)
