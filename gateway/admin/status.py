"""GET /admin/status: this gateway in one look: since when, with what configuration, which engines, and whose prices."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import Engine

from gateway.admin.access import InGateway, require_admin
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant
from gateway.store import exchanges
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["status"])


class ReplicaBody(Body):
    """One vLLM server as the controller last saw it."""

    engine: str
    index: int
    state: str
    healthy: bool
    restarts: int
    detail: str


class StatusBody(Body):
    """`sandbox`: some provider is the sandbox, so its numbers are no real money. `open_access`: clients need no key yet. `session`: the caller is a
    browser that logged in. `first_exchange`: when the oldest request in the ledger came; null: there is none."""

    version: str
    started: Instant
    now: Instant
    config: str
    warnings: tuple[str, ...]
    prices: str
    in_flight: int
    sandbox: bool
    open_access: bool
    session: bool
    first_exchange: Instant | None
    keys: int
    engines: tuple[str, ...]
    replicas: tuple[ReplicaBody, ...]


@router.get("/status")
async def status(gateway: InGateway, caller: Annotated[str, Depends(require_admin)]) -> StatusBody:
    """What runs here. Numbers of requests in flight are this process's."""
    config, view = gateway.config, gateway.fleet.view
    return StatusBody(
        version=version("breakeven"),
        started=gateway.started,  # type: ignore[arg-type]  # Instant takes epoch seconds
        now=gateway.clock(),  # type: ignore[arg-type]
        config=str(config.source),
        warnings=tuple(map(str, config.warnings)),
        prices=gateway.prices.source,
        in_flight=gateway.fleet.in_flight(),
        sandbox=any(provider.sandbox for provider in config.providers.values()),
        open_access=view.open_access,
        session=caller == "session",
        first_exchange=await asyncio.to_thread(_first, gateway.database),  # type: ignore[arg-type]
        keys=len(view.keys),
        engines=tuple(config.engines),
        replicas=tuple(
            ReplicaBody(engine=r.engine, index=r.index, state=r.state, healthy=r.healthy, restarts=r.restarts, detail=r.detail)
            for replicas in view.replicas.values()
            for r in replicas
        ),
    )


def _first(database: Engine) -> float | None:
    with reading(database) as conn:
        return exchanges.first(conn)
