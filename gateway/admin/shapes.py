"""The parts that several admin answers are made of: money, times, lists, decisions. Pure functions from values to bodies."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field

from gateway.admin.endpoint import Body
from gateway.store.period import rfc3339
from router.explain import flips
from router.money import usd
from router.types import CostState, Decision, Scored, Snapshot

Item = TypeVar("Item")
Instant = Annotated[str, BeforeValidator(lambda value: rfc3339(value) if isinstance(value, int | float) else value), Field(description="RFC 3339, UTC")]
Since = Annotated[str | None, Field(description="From this time on (RFC 3339, or a date for the UTC day).")]
Until = Annotated[str | None, Field(description="Before this time (RFC 3339; a date includes that day).")]


class Listed(Body, Generic[Item]):
    """A page of things."""

    object: Literal["list"] = "list"
    data: tuple[Item, ...]
    has_more: bool = False
    next_cursor: str | None = None


class CandidateBody(Body):
    """One candidate as a decision saw it. `sandbox`: its price is the sandbox provider's, no real money."""

    backend: str
    feasible: bool
    dropped_because: str | None
    cost_nanousd: int | None
    cost_usd: str | None
    cost_state: CostState
    latency_ms: float | None
    p_miss: float | None
    score_nanousd: int | None
    score_usd: str | None
    sandbox: bool


class DecisionBody(Body):
    """A decision and what it was made from. `flips`: move `what` of `backend` from `from` past `to`, and `then` is chosen."""

    decision_id: str
    time: Instant
    route: str
    chosen: str | None
    reason: str | None
    order: tuple[str, ...]
    candidates: tuple[CandidateBody, ...]
    flips: tuple[dict[str, Any], ...]
    policy_version: str
    snapshot: str
    sandbox: bool


class ReplayBody(DecisionBody):
    """A decision made again from its record: `same` says whether the choice is."""

    same: bool


def money(name: str, nanousd: int | None) -> dict[str, int | str | None]:
    """An amount as it goes out: `x_nanousd` and `x_usd`, both null when it is unknown."""
    return {f"{name}_nanousd": nanousd, f"{name}_usd": usd(nanousd)}


def decision(value: Decision, snapshot: Snapshot) -> dict[str, Any]:
    """The fields of a DecisionBody."""
    sandbox = {candidate.backend for candidate in snapshot.candidates if candidate.sandbox}
    return {
        "decision_id": value.id,
        "time": value.now,
        "route": value.route,
        "chosen": value.chosen,
        "reason": None if value.reason is None else value.reason.value,
        "order": value.order,
        "candidates": [candidate(scored, sandbox=scored.backend in sandbox) for scored in value.scored],
        "flips": flips(value, snapshot),
        "policy_version": value.policy_version,
        "snapshot": snapshot.digest,
        "sandbox": bool(sandbox),
    }


def candidate(scored: Scored, *, sandbox: bool) -> dict[str, Any]:
    """The fields of a CandidateBody."""
    # Scores are expectations with fractions of a nano-dollar; as money they are whole.
    score = None if scored.score_nanousd is None else round(scored.score_nanousd)
    return {
        "backend": scored.backend,
        "feasible": scored.feasible,
        "dropped_because": scored.dropped_because,
        **money("cost", scored.cost_nanousd),
        "cost_state": scored.cost_state,
        "latency_ms": scored.latency_ms,
        "p_miss": scored.p_miss,
        **money("score", score),
        "sandbox": sandbox,
    }
