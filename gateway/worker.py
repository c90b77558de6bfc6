"""One data-plane process: uvicorn on inherited sockets around the application, with the signals its arbiter sends. Made by serve.py, after the fork.

SIGTERM drains, SIGHUP reads the configuration again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import uvicorn
import uvloop
from typing_extensions import override

from gateway.accept import Acceptor
from gateway.app import App, Options, apply, create_app
from gateway.batches.lane import Lane
from gateway.config.models import Config
from gateway.http_edge import Bounds, Edge
from gateway.http_server import protocol
from gateway.listen import let_nobody_in, not_accepted
from gateway.pool import Pool, path_of
from gateway.reload import reread
from gateway.scrape import worker_name
from router.errors import ConfigError
from serving.database import connect

log = logging.getLogger("breakeven.worker")

# Nearly everything a request makes dies by its reference count; at the default of 700 the collector would look for cycles every few requests.
_COLLECT = (20_000, 20, 20)
# Kept connections on which nothing has come for so long are closed when the worker ends.
_QUIET_S = 1.0
_ACCEPT_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker this is. `ready` is a descriptor that gets one byte when requests are answered, `drain_s` how long the last ones may take, `lane`
    where lines of batches come in, `limits` the descriptor of the numbers behind limits (pool.py)."""

    index: int
    ready: int
    arbiter: int
    drain_s: float
    lane: socket.socket
    limits: int
    environ: Mapping[str, str] = field(repr=False)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: ours are on the loop, and a drained worker ends with exit code 0. Says when it is ready, and ends softly."""

    def __init__(self, config: uvicorn.Config, ready: int, linger_s: float) -> None:
        super().__init__(config)
        self._ready = ready
        self._linger_s = linger_s
        self._acceptors: list[Acceptor] = []

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._acceptors = [Acceptor(each, self._connection) for each in sockets or ()]
            os.write(self._ready, b"+")

    def _connection(self) -> asyncio.Protocol:
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Until now every answer said `connection: close`. Who kept a connection may be sending on it right now: closing it would lose that request."""
        await self._last_requests()
        for each in sockets or ():
            let_nobody_in(each)
        try:
            async with asyncio.timeout(_ACCEPT_S):
                while any(map(not_accepted, sockets or ())):  # noqa: ASYNC110 - the kernel tells nobody
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.warning("connections that nobody took in time are closed")
        for acceptor in self._acceptors:
            acceptor.close()
        await super().shutdown(sockets)

    async def _last_requests(self) -> None:
        """Wait until the clients that are connected have been quiet for a while, or are gone."""
        state, loop = self.server_state, asyncio.get_running_loop()
        end, seen, since = loop.time() + self._linger_s, state.total_requests, loop.time()
        while state.connections and loop.time() < min(end, since + _QUIET_S):
            await asyncio.sleep(0.02)
            if state.total_requests != seen:
                seen, since = state.total_requests, loop.time()


def run(config: Config, sockets: Sequence[socket.socket], place: Place) -> None:
    """Serve until SIGTERM. Raises ConfigError where the database cannot be opened."""
    database = connect(config.database, config.source.parent)
    gc.set_threshold(*_COLLECT)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            options = Options(
                worker=worker_name(place.index),
                source=Pool(path_of(place.limits), config.server.workers, place.index),
                leads=place.index == 0,
                environ=place.environ,
                on_reload=lambda: os.kill(place.arbiter, signal.SIGHUP),
            )
            runner.run(_serve(create_app(config, database, options), sockets, place))
    finally:
        database.dispose()


async def _serve(app: App, sockets: Sequence[socket.socket], place: Place) -> None:
    linger_s = place.drain_s / 4.0
    server = _Server(settings(app, place.drain_s - linger_s), place.ready, linger_s)
    lane = Lane(app, app.gateway, place.lane)
    app.accompany(lane)
    loop = asyncio.get_running_loop()

    def drain() -> None:
        app.gateway.admission.draining = True
        lane.refuse(place.drain_s)
        server.handle_exit(signal.SIGTERM, None)

    loop.add_signal_handler(signal.SIGTERM, drain)
    loop.add_signal_handler(signal.SIGHUP, _reload, app, place.environ)
    await server.serve(sockets=list(sockets))
    if not server.started:
        raise ConfigError("the worker could not start; its log says why")


def settings(app: App, drain_s: float, bounds: Bounds | None = None) -> uvicorn.Config:
    """How uvicorn runs: our own connections, no access log (the ledger has it), no header of its own, a bounded drain."""
    gateway = app.gateway
    edge = Edge(bounds or Bounds(), lambda: gateway.admission.draining, lambda code: gateway.metrics.count("breakeven_refused_requests", code))
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", protocol(edge)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(drain_s)),
        backlog=4096,
    )


def _reload(app: App, environ: Mapping[str, str]) -> None:
    try:
        apply(app.gateway, reread(app.gateway.config, environ))
    except ConfigError as error:
        log.error("the configuration is not valid; the one in force stays:\n%s", error.message)  # noqa: TRY400 - the message has it all
