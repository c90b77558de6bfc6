"""GET /admin/decisions, GET /admin/decisions/{id}, POST /admin/decisions/{id}/replay: what the router chose, why, and whether it would choose so again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import DecisionBody, Instant, Listed, ReplayBody
from gateway.context import Gateway
from gateway.store import decisions
from router.errors import RequestError
from router.record import replay
from router.types import CostState, Decision, Snapshot
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["decisions"])


class DecisionLine(Body):
    """A decision in a list: the choice and what it was expected to cost."""

    decision_id: str
    time: Instant
    route: str
    chosen: str | None
    reason: str | None
    cost_nanousd: int | None
    cost_usd: str | None
    cost_state: CostState
    latency_ms: float | None
    p_miss: float | None
    candidates: int
    feasible: int


@router.get("/decisions")
def recent(gateway: InGateway, route: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> Listed[DecisionLine]:
    """The newest decisions, newest first."""
    with reading(gateway.database) as conn:
        found = decisions.recent(conn, limit, route)
    return Listed[DecisionLine](data=tuple(_line(value) for value in found))


@router.get("/decisions/{decision_id}")
def one(gateway: InGateway, decision_id: str) -> DecisionBody:
    """One decision with every candidate's expected cost, latency and risk, and what would have flipped it."""
    value, snapshot = _stored(gateway, decision_id)
    return DecisionBody(**shapes.decision(value, snapshot))


@router.post("/decisions/{decision_id}/replay")
def again(gateway: InGateway, decision_id: str) -> ReplayBody:
    """Make a decision again from its stored record and say whether the choice is the same."""
    value, snapshot = _stored(gateway, decision_id)
    made, same = replay(value, snapshot)
    return ReplayBody(**shapes.decision(made, snapshot), same=same)


def _stored(gateway: Gateway, decision_id: str) -> tuple[Decision, Snapshot]:
    with reading(gateway.database) as conn:
        found = decisions.get(conn, decision_id)
    if found is None:
        message = f"There is no decision {decision_id!r}. Rows reach the database within a second or two, and old ones expire."
        raise RequestError(message, status=404, code="decision_not_found", param="decision_id")
    return found


def _line(value: Decision) -> DecisionLine:
    scored = next((s for s in value.scored if s.backend == value.chosen), None)
    return DecisionLine.model_validate(
        {
            "decision_id": value.id,
            "time": value.now,
            "route": value.route,
            "chosen": value.chosen,
            "reason": None if value.reason is None else value.reason.value,
            **shapes.money("cost", None if scored is None else scored.cost_nanousd),
            "cost_state": "unknown" if scored is None else scored.cost_state,
            "latency_ms": None if scored is None else scored.latency_ms,
            "p_miss": None if scored is None else scored.p_miss,
            "candidates": len(value.scored),
            "feasible": sum(s.feasible for s in value.scored),
        }
    )
