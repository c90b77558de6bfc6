"""GET /admin/latency: percentiles of answers by route, backend, adapter and time, beside what each route aims at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Listed, Since, Until
from gateway.config.models import Config
from gateway.store import histogram, latencies, period
from gateway.store.durations import Durations
from gateway.store.histogram import Counts
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["latency"])
_GROUPS = f"Any of {', '.join(latencies.GROUPS)}, separated by commas; empty: one row for everything."


class Percentiles(Body):
    """Milliseconds, within 1 % of the duration that was seen (nearest rank); null where nothing was seen."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class LatencyBody(Body):
    """The answers of one group; what it is not grouped by is null. `slo_*` is null where the route has no aim (or none is asked for).

    `within_slo_*` is the share (0 to 1) of the answers inside that aim; answers within 1 % of it may count on either side.
    """

    route: str | None = None
    backend: str | None = None
    adapter: str | None = None
    month: str | None = None
    week: str | None = None
    day: str | None = None
    hour: str | None = None
    quarter_hour: str | None = None
    minute: str | None = None
    answers: int
    ttft_ms: Percentiles
    total_ms: Percentiles
    overhead_ms: Percentiles
    slo_ttft_ms: float | None
    slo_total_ms: float | None
    slo_target: float | None
    within_slo_ttft: float | None
    within_slo_total: float | None


@router.get("/latency")
def percentiles(
    gateway: InGateway, group_by: Annotated[str, Query(description=_GROUPS)] = "route,backend", since: Since = None, until: Until = None
) -> Listed[LatencyBody]:
    """Percentiles over the answers that succeeded, from histograms: within 1 % of the nearest rank over all of them."""
    names = [name.strip() for name in group_by.split(",") if name.strip()]
    with reading(gateway.database) as conn:
        found = latencies.by(conn, names, period.parse(since, until))
    return Listed[LatencyBody](data=tuple(_body(group, counted, gateway.config) for group, counted in found))


def _body(group: Mapping[str, Any], counted: Durations, config: Config) -> LatencyBody:
    route = config.routes.get(group.get("route") or "")
    slo = None if route is None else route.slo
    return LatencyBody(
        **group,
        answers=sum(counted.total.values()),
        ttft_ms=_percentiles(counted.ttft),
        total_ms=_percentiles(counted.total),
        overhead_ms=_percentiles(counted.overhead),
        slo_ttft_ms=None if slo is None else slo.ttft_ms,
        slo_total_ms=None if slo is None else slo.total_ms,
        slo_target=None if slo is None or (slo.ttft_ms is None and slo.total_ms is None) else slo.target,
        within_slo_ttft=None if slo is None or slo.ttft_ms is None else histogram.share_within(counted.ttft, slo.ttft_ms),
        within_slo_total=None if slo is None or slo.total_ms is None else histogram.share_within(counted.total, slo.total_ms),
    )


def _percentiles(counts: Counts) -> Percentiles:
    found = histogram.percentiles(counts, (50, 90, 95, 99))
    return Percentiles(**{f"p{p}": found.get(p) for p in (50, 90, 95, 99)})
