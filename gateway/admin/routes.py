"""GET /admin/routes and POST /admin/routes/{route}/explain: what can answer each route, how it is doing, and what the router would do right now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Body as FromBody

from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import DecisionBody, Instant, Listed
from gateway.context import Gateway
from gateway.view import FleetView, RoutePlan
from router.errors import RequestError
from router.types import Candidate, Kind, Live, Price
from serving.views import AdapterView, stage_of

router = APIRouter(route_class=AdminRoute, tags=["routes"])


class SloBody(Body):
    """What the router aims at."""

    ttft_ms: float | None
    total_ms: float | None
    target: float


class PriceBody(Body):
    """Nano-dollars per million tokens and where that is from; `cached_nanousd` null: no discount is known."""

    input_nanousd: int
    cached_nanousd: int | None
    output_nanousd: int
    source: str


class LiveBody(Body):
    """How a candidate is doing, as this process sees it. Times in milliseconds; null: never observed."""

    healthy: bool
    breaker: str
    in_flight: int
    slots: int
    ttft_ms: float | None
    tpot_ms: float | None
    output_tokens: float | None
    retry_at: Instant | None


class RouteCandidate(Body):
    """One way to answer a route."""

    backend: str
    kind: Kind
    owner: str
    model: str
    adapter: str | None
    version: int | None
    stage: str
    canary_percent: float
    price: PriceBody | None
    gpu_hour_nanousd: int | None
    context_tokens: int | None
    sandbox: bool
    live: LiveBody


class RouteAdapter(Body):
    """The adapter of a route: what is live, and whether the gate let it in (null: it was never judged)."""

    name: str
    engine: str
    live: int | None
    previous: int | None
    canary: int | None
    canary_percent: float
    stage: str | None
    gate: dict[str, Any] | None
    verified: dict[str, Any] | None
    digest: str | None
    since: Instant | None
    versions: int


class RouteBody(Body):
    """A route as it is in force."""

    name: str
    sandbox: bool
    slo: SloBody
    quality_floor: float
    suite: bool
    capture_sample: float
    budget_per_day_nanousd: int | None
    budget_per_day_usd: str | None
    budget_spent_nanousd: int | None
    budget_spent_usd: str | None
    candidates: tuple[RouteCandidate, ...]
    adapters: tuple[RouteAdapter, ...]


@router.get("/routes")
async def listed(gateway: InGateway) -> Listed[RouteBody]:
    """Every route with its candidates and what this process knows of them."""
    view = gateway.fleet.view
    return Listed[RouteBody](data=tuple(_route(gateway, view, plan) for plan in view.routes.values()))


@router.post("/routes/{route}/explain")
async def explain(gateway: InGateway, route: str, body: Annotated[dict[str, Any], FromBody()]) -> DecisionBody:
    """The decision that this chat request would get now, without calling anyone."""
    fleet, now = gateway.fleet, gateway.clock()
    if route not in fleet.view.routes:
        # A provider that lists every model would take any misspelt route for one of its own.
        known = ", ".join(fleet.view.routes) or "none"
        raise RequestError(f"There is no route {route!r}; the configuration has: {known}.", status=404, code="route_not_found", param="route")
    made = fleet.explain(route, body, hosted_left=gateway.limits.hosted_left(gateway.limits.look(route, now), now))
    snapshot = fleet.plan(fleet.view, route).snapshot_of(made.snapshot_digest)
    return DecisionBody(**shapes.decision(made, snapshot))


def _route(gateway: Gateway, view: FleetView, plan: RoutePlan) -> RouteBody:
    config = view.config.routes[plan.name]
    live = gateway.fleet.live(plan)
    names = dict.fromkeys(c.adapter for c in plan.snapshot.candidates if c.adapter is not None)
    budget = config.budget.nanousd_per_day
    return RouteBody.model_validate(
        {
            "name": plan.name,
            "sandbox": plan.sandbox,
            "slo": {"ttft_ms": plan.snapshot.slo.ttft_ms, "total_ms": plan.snapshot.slo.total_ms, "target": plan.snapshot.slo.target},
            "quality_floor": config.quality.floor,
            "suite": config.quality.suite is not None,
            "capture_sample": config.capture.sample,
            **shapes.money("budget_per_day", budget),
            **shapes.money("budget_spent", None if budget is None else gateway.limits.spent_today(plan.name, gateway.clock())),
            "candidates": [_candidate(c, live[c.backend]) for c in plan.snapshot.candidates],
            "adapters": [_adapter(view, adapter, plan.name) for name in names if (adapter := view.adapters.get(name)) is not None],
        }
    )


def _candidate(c: Candidate, live: Live) -> dict[str, Any]:
    same = ("backend", "kind", "owner", "model", "adapter", "version", "canary_percent", "gpu_hour_nanousd", "context_tokens", "sandbox")
    seen = ("healthy", "breaker", "in_flight", "slots", "ttft_ms", "tpot_ms", "output_tokens", "retry_at")
    return {name: getattr(c, name) for name in same} | {
        "stage": c.stage.value,
        "price": None if c.price is None else _price(c.price),
        "live": {name: getattr(live, name) for name in seen},
    }


def _price(price: Price) -> dict[str, Any]:
    return {"input_nanousd": price.input, "cached_nanousd": price.cached, "output_nanousd": price.output, "source": price.source}


def _adapter(view: FleetView, adapter: AdapterView, route: str) -> dict[str, Any]:
    live = None if adapter.live is None else adapter.version(adapter.live)
    gate = None if live is None else live.gates.get(route, live.gates.get(""))
    return {
        "name": adapter.name,
        "engine": adapter.engine,
        "live": adapter.live,
        "previous": adapter.previous,
        "canary": adapter.canary_version,
        "canary_percent": adapter.canary_percent,
        "stage": None if live is None else stage_of(adapter, live.version, route, view.facts.stages).value,
        "gate": None if gate is None else dict(gate),
        "verified": None if live is None or live.verified is None else dict(live.verified),
        "digest": None if live is None else live.digest,
        "since": None if live is None else live.changed_at,
        "versions": len(adapter.versions),
    }
