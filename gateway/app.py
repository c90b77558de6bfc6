"""The ASGI application of one worker: builds the `Gateway`, opens and closes it with the server's lifespan, and dispatches.

`/v1` and the operational endpoints are plain ASGI (endpoints.py); everything else is FastAPI (operations.py). Nothing here knows about processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Engine

from gateway import http_errors, operations
from gateway.admission import Admission
from gateway.asgi import Message, Receive, Scope, Send, answer
from gateway.config.models import Config
from gateway.context import Gateway
from gateway.endpoints import Endpoints
from gateway.fleet import Fleet
from gateway.lease import Source
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.quality.shadow import Shadows
from gateway.reload import budgets, price_book, reread
from gateway.scrape import Scrape
from gateway.settle import Books
from gateway.spending import Spending
from gateway.store.spool import Spool
from gateway.upstream import Upstreams
from gateway.warmstart import warm_up

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger("breakeven.gateway")
# Building the admin API takes a tenth of a second of the interpreter: the first requests come before it.
_BUILD_AFTER_S = 2.0
_ADMIN_PREFIXES = ("/admin", "/dashboard", "/metrics")


@dataclass(frozen=True, slots=True)
class Options:
    """What differs between a worker of `serve` and a test. `on_reload` tells the other processes, `clock` is epoch seconds; `source` is where the numbers
    behind limits are, which only the first of those who share it keeps in step with the ledger (`leads`)."""

    worker: str = "w0"
    source: Source | None = None
    leads: bool = True
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    on_reload: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.time  # noqa: TID251 - this is the composition root


class Companion(Protocol):
    """Another way in than HTTP: the lane of batches, or nothing in tests."""

    async def start(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End."""


class App:
    """The ASGI callable. `state.gateway` is the Gateway."""

    def __init__(self, gateway: Gateway, options: Options) -> None:
        self.state = SimpleNamespace(gateway=gateway)
        self.gateway = gateway
        self.scrape = Scrape(gateway, options.worker)
        self._spending, self._leads = Spending(gateway), options.leads
        self._shadows = Shadows(gateway)
        gateway.books.compare = self._shadows.consider
        self._endpoints = Endpoints(gateway, self.scrape)
        self._building: asyncio.Task[ASGIApp] | None = None
        self._build_later: asyncio.TimerHandle | None = None
        self._companion: Companion | None = None

    def accompany(self, companion: Companion) -> None:
        """Start something once requests can be answered, and end it before what they need is closed. Call it before `start`."""
        self._companion = companion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event, as ASGI wants it."""
        if scope["type"] == "http":
            path = scope["path"]
            elsewhere = self._elsewhere(scope, path)
            entry = None if elsewhere else self._endpoints.find(path)
            if entry is not None:
                await self._endpoints.serve(entry, scope, receive, send)
            elif elsewhere:
                await _not_here(send, path)
            else:
                fallback = await asyncio.shield(self._operations())
                await fallback(scope, receive, _with_request_id(send))
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    def _operations(self) -> asyncio.Task[ASGIApp]:
        """Admin API and dashboard, built once: when first asked for, or soon after the start, beside the requests that do not need them.

        A building that failed is tried again by who asks next.
        """
        failed = self._building is not None and self._building.done() and not self._building.cancelled() and self._building.exception() is not None
        if self._building is None or failed:
            self._building = asyncio.create_task(asyncio.to_thread(operations.build, self.gateway), name="operations")
        return self._building

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def start(self) -> None:
        """Open what needs a running loop, and learn from what earlier processes saw."""
        gateway = self.gateway
        await gateway.fleet.start()
        await warm_up(gateway)
        await self._spending.start(keep=self._leads)
        await self.scrape.start()
        self._build_later = asyncio.get_running_loop().call_later(_BUILD_AFTER_S, self._operations)
        if self._companion is not None:
            await self._companion.start()

    async def stop(self) -> None:
        """Close everything; requests have ended by now."""
        gateway = self.gateway
        if self._companion is not None:
            await self._companion.close()
        if self._build_later is not None:
            self._build_later.cancel()
        if self._building is not None:
            await asyncio.gather(self._building, return_exceptions=True)
        await self._shadows.close()
        await self._spending.stop()
        await gateway.fleet.stop()
        await gateway.upstream.close()
        gateway.books.flush()
        await self.scrape.stop()
        gateway.spool.close()
        gateway.limits.source.close()

    def _elsewhere(self, scope: Scope, path: str) -> bool:
        """Whether a path belongs to the other port, where there are two."""
        server = self.gateway.config.server
        if server.admin_port is None or scope.get("server") is None:
            return False
        on_admin = scope["server"][1] == server.admin_port
        return on_admin != path.startswith(_ADMIN_PREFIXES) and path not in {"/healthz", "/readyz"}


def create_app(config: Config, database: Engine, options: Options | None = None) -> App:
    """The application for a configuration and a migrated database. Call it in the process that serves, after any fork."""
    chosen = options or Options()
    prices, metrics, spool = price_book(config), Metrics(), Spool(config.server.data_dir / "spool", chosen.worker)
    gateway = Gateway(
        config=config,
        database=database,
        fleet=Fleet(config, database, prices, chosen.clock),
        prices=prices,
        spool=spool,
        books=Books(spool),
        metrics=metrics,
        upstream=Upstreams(),
        limits=Limits(budgets(config), chosen.source),
        admission=Admission(config.server.max_in_flight, config.server.max_queue, metrics),
        clock=chosen.clock,
        started=chosen.clock(),
        reload=_unset,
    )

    async def reload() -> Config:
        fresh = reread(gateway.config, chosen.environ)
        apply(gateway, fresh)
        chosen.on_reload()
        return fresh

    gateway.reload = reload
    return App(gateway, chosen)


def apply(gateway: Gateway, config: Config) -> None:
    """Take a checked configuration into force, whole."""
    gateway.config = config
    gateway.prices = price_book(config)
    gateway.limits.configure(budgets(config))
    gateway.admission.resize(config.server.max_in_flight, config.server.max_queue)
    gateway.fleet.replace_config(config, gateway.prices)
    log.info("configuration %s is in force", config.source)


async def _unset() -> Config:
    raise RuntimeError("reload is set by create_app")


async def _not_here(send: Send, path: str) -> None:
    body = http_errors.body(f"{path} is served on another port of this gateway.", "invalid_request_error", code="unknown_url")
    await answer(_with_request_id(send), 404, [(b"content-type", b"application/json")], body)


def _with_request_id(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: list[Any] = list(message.get("headers", []))
            headers.append((b"x-request-id", f"req_{secrets.token_hex(16)}".encode()))
            message = {**message, "headers": headers}
        await send(message)

    return wrapped
