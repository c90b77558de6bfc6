"""GET /admin/drift: how far traffic and answers of each adapter version are from what they were judged on, and what was done about it; POST accepts the
traffic as it is.

Here: shapes. Not here: the statistics (router/drift.py), counting and acting (gateway/drift/).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import Connection

from gateway.admin.access import InGateway, require_admin
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed
from gateway.drift import monitor
from gateway.store import drift
from gateway.store.drift import Place, Proposal, State
from router.drift import Level, Strand
from router.errors import RequestError
from serving.database import reading, writing

router = APIRouter(route_class=AdminRoute, tags=["drift"])
Who = Annotated[str, Depends(require_admin)]


class FeatureBody(Body):
    """One feature at the last look at it. It counts (`firing`) where `value` reaches `threshold`, which chance does with the stated probability only, and
    `changed`, the share of requests that must at least be different, reaches the least change that matters (null for rates, whose detector has that inside).

    statistic: ks (distance of two distributions), kl (largest divergence of a share, nats), e (logarithm of a bet that a rate rose). `n` of the newest requests
    (`window`) against `baseline_n`; `seasonal`: those of the same hours of the week. Summaries: p50 and p95 of numbers, shares of classes and marks, or a rate.
    """

    feature: str
    strand: Strand
    statistic: Literal["ks", "kl", "e"]
    value: float
    threshold: float | None
    changed: float | None
    psi: float | None
    n: int
    baseline_n: int
    window: int
    seasonal: bool
    firing: bool
    near: bool
    baseline: dict[str, float]
    current: dict[str, float]


class StrandBody(Body):
    """A level for itself: what comes in, what goes out, pace and price, agreement with the hosted model. `streak` looks in a row found something, `calm` found
    nothing near it; `ready`: there is a baseline of `baseline` requests to compare with."""

    strand: Strand
    level: Level
    streak: int
    calm: int
    baseline: int
    ready: bool


class ProposalBody(Body):
    """Retraining on the traffic since `since` was proposed. Whoever trains on it goes through the gate as always."""

    id: str
    time: Instant
    since: Instant
    status: Literal["open", "withdrawn"]
    reasons: tuple[str, ...]


class DriftBody(Body):
    """A version on a route. `action` is what was done about its level, at `acted_at`."""

    route: str
    adapter: str
    version: int
    backend: str
    level: Level
    since: Instant
    reasons: tuple[str, ...]
    action: str | None
    acted_at: Instant | None
    stopped: bool
    samples: int
    updated_at: Instant
    strands: tuple[StrandBody, ...]
    features: tuple[FeatureBody, ...]
    proposals: tuple[ProposalBody, ...]


class Acceptance(Body):
    """`reason` goes into the audit trail."""

    adapter: str
    version: int
    reason: str = ""


@router.get("/drift")
def drifting(gateway: InGateway, route: Annotated[str | None, Query(description="Only this route.")] = None) -> Listed[DriftBody]:
    """Every adapter version that answers or answered on a route, by route."""
    with reading(gateway.database) as conn:
        return Listed[DriftBody](data=tuple(DriftBody(**each) for each in listed(conn, route)))


@router.post("/drift/{route}/accept")
def accept(gateway: InGateway, route: Annotated[str, Path(description="The route.")], body: Acceptance, actor: Who) -> DriftBody:
    """What the version is asked and answers now is what is usual from now on: its level ends, and a new baseline begins."""
    with writing(gateway.database) as conn:
        return DriftBody(**accepted(conn, (route, body.adapter, body.version), body.reason, actor, gateway.clock()))


def listed(conn: Connection, route: str | None = None) -> list[dict[str, Any]]:
    """The fields of the DriftBody of each version, by route."""
    proposed: dict[Place, list[Proposal]] = {}
    for proposal in drift.proposals(conn, route):
        proposed.setdefault(proposal.place, []).append(proposal)
    return [_shape(state, proposed.get(state.place, [])) for state in drift.states(conn, route)]


def accepted(conn: Connection, place: Place, reason: str, actor: str, now: float) -> dict[str, Any]:
    """Accept the traffic of a version as it is; the fields of its DriftBody. RequestError 404 where it is not watched."""
    if all(state.place != place for state in drift.states(conn, place[0])):
        said = f"{place[1]}@{place[2]} is not watched on route {place[0]!r}; GET /admin/drift has those that are"
        raise RequestError(said, status=404, code="drift_not_found", param="version")
    state = monitor.accept(conn, place, reason, actor, now)
    return _shape(state, [proposal for proposal in drift.proposals(conn, place[0]) if proposal.place == place])


def _shape(state: State, proposed: list[Proposal]) -> dict[str, Any]:
    route, adapter, version = state.place
    report = state.report
    baselines = {**report.get("baseline", {}), "pace": report.get("baseline", {}).get("output", 0)}
    ready = {**report.get("ready", {}), "pace": report.get("ready", {}).get("output", False)}
    return {
        "route": route,
        "adapter": adapter,
        "version": version,
        "backend": f"{adapter}@{version}",
        "level": state.level,
        "since": state.since,
        "reasons": state.reasons,
        "action": state.action,
        "acted_at": state.acted_at,
        "stopped": state.level in drift.STOPPED,
        "samples": state.samples,
        "updated_at": state.updated_at,
        "strands": [
            {"strand": strand, **found, "baseline": baselines.get(strand, 0), "ready": ready.get(strand, False)}
            for strand, found in report.get("strands", {}).items()
        ],
        "features": report.get("features", ()),
        "proposals": [{"id": p.id, "time": p.time, "since": p.since, "status": p.status, "reasons": p.summary.get("reasons", ())} for p in proposed],
    }
