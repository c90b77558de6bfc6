"""GET /admin/latency: percentiles of answers by route and backend, beside what each route aims at."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Listed, Since, Until
from gateway.config.models import Config
from gateway.store import latencies, period
from gateway.store.latencies import Latency
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["latency"])


class Percentiles(Body):
    """Milliseconds; null where nothing was seen."""

    p50: float | None
    p95: float | None


class LatencyBody(Body):
    """The answers of one backend on one route. `slo_*` is null where the route has no aim."""

    route: str | None
    backend: str | None
    answers: int
    ttft_ms: Percentiles
    total_ms: Percentiles
    slo_ttft_ms: float | None
    slo_total_ms: float | None


@router.get("/latency")
def percentiles(gateway: InGateway, since: Since = None, until: Until = None) -> Listed[LatencyBody]:
    """Exact percentiles (nearest rank) over the answers that succeeded."""
    with reading(gateway.database) as conn:
        found = latencies.percentiles(conn, period.parse(since, until))
    return Listed[LatencyBody](data=tuple(_body(row, gateway.config) for row in found))


def _body(row: Latency, config: Config) -> LatencyBody:
    route = config.routes.get(row.route) if row.route is not None else None
    return LatencyBody(
        route=row.route,
        backend=row.backend,
        answers=row.answers,
        ttft_ms=Percentiles(p50=row.ttft_ms.get(50), p95=row.ttft_ms.get(95)),
        total_ms=Percentiles(p50=row.total_ms.get(50), p95=row.total_ms.get(95)),
        slo_ttft_ms=None if route is None else route.slo.ttft_ms,
        slo_total_ms=None if route is None else route.slo.total_ms,
    )
