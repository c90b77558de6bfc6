"""The admin API: operators' endpoints under /admin. `router()` is what gateway.app includes; who may call is access.py's."""

from fastapi import APIRouter, Depends

from gateway.admin import (
    adapters,
    budgets,
    costs,
    decisions,
    docs,
    drift,
    engines,
    exchanges,
    feedback,
    gpu,
    keys,
    latency,
    prices,
    reload,
    routes,
    status,
    timeline,
    worth,
)
from gateway.admin.access import require_admin

ROOMS = (routes, adapters, drift, timeline, decisions, exchanges, feedback, costs, budgets, prices, gpu, engines, latency, worth, keys, reload, status, docs)


def router() -> APIRouter:
    """Every admin endpoint, each behind the same check of who asks."""
    # The check runs inside each endpoint's own route class, so that a refusal has our error shape.
    made = APIRouter(prefix="/admin", dependencies=[Depends(require_admin)])
    for room in ROOMS:
        made.include_router(room.router)
    return made
