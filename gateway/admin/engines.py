"""GET /admin/engines/…: what engines did and cost over time and by adapter, and what they were measured to do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from gateway import calibration
from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.gpu import STEPS
from gateway.admin.shapes import Instant, Listed, Since, Until
from gateway.store import curves, engine_costs, period
from gateway.store.engine_costs import Did, EngineStep
from router.errors import ConfigError, RequestError
from router.naming import parse_version
from router.utilisation import Mix, Saturation
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["costs"])


class BackendCosts(Body):
    """One backend's part of a step. `adapter` null: the bare base; `backend` null as well: minutes of before this was kept. `share`: of our requests' cost."""

    backend: str | None
    adapter: str | None
    version: int | None
    calls: int
    prefill_tokens: int
    decode_tokens: int
    cost_nanousd: int | None
    cost_usd: str | None
    share: float | None


class EngineCosts(Body):
    """One engine in one step of closed minutes: bill = allocated + foreign + idle and Σ `adapters` = allocated, exactly.

    `busy_share`: of the time it was up, there was work. `utilisation`: of the work its replicas could have done by their calibrated curve, they did; null
    while it was never calibrated. `sampled_share`: of the replicas' time, vLLM's counters were watched; where they were not, foreign work is not seen. Tokens
    are computed prompt tokens (`prefill`) and generated ones (`decode`). `cost_per_m_*`: what a million of our tokens carries; `whole_cost_per_m_*`: the whole
    bill over all tokens, idle time included. Null: `gpu_hour_usd` is not set, or there were no tokens.
    """

    engine: str
    time: Instant
    seconds_up: float
    replica_seconds: float
    bill_nanousd: int | None
    bill_usd: str | None
    allocated_nanousd: int | None
    allocated_usd: str | None
    foreign_nanousd: int | None
    foreign_usd: str | None
    idle_nanousd: int | None
    idle_usd: str | None
    busy_share: float | None
    utilisation: float | None
    sampled_share: float | None
    prefill_tokens: int
    decode_tokens: int
    foreign_prefill_tokens: int
    foreign_decode_tokens: int
    cost_per_m_nanousd: int | None
    cost_per_m_usd: str | None
    whole_cost_per_m_nanousd: int | None
    whole_cost_per_m_usd: str | None
    adapters: tuple[BackendCosts, ...]


@router.get("/engines/costs")
def costs(gateway: InGateway, step: Literal["minute", "quarter_hour", "hour", "day"] = "hour", since: Since = None, until: Until = None) -> Listed[EngineCosts]:
    """Each engine, step by step, with each adapter's part. Minutes that are not closed yet are in no step."""
    with reading(gateway.database) as conn:
        found = engine_costs.steps(conn, period.parse(since, until), STEPS[step])
        measured = {engine: curves.latest(conn, engine) for engine in {one.engine for one in found}}
    return Listed[EngineCosts](data=tuple(_body(one, None if (curve := measured[one.engine]) is None else curve.saturation) for one in found))


@router.get("/engines/{engine}/curve")
def curve(
    engine: str, gateway: InGateway, mix: Annotated[str | None, Query(description="IN:OUT tokens to price; default: as in the ledger, else 4:1.")] = None
) -> dict[str, Any]:
    """The engine's calibrated `curve` (null when it never was), what a million tokens cost at each utilisation, and from which one on it is cheaper than
    each hosted model of the configuration."""
    now = gateway.clock()
    given = None if mix is None else _mix(mix)
    with reading(gateway.database) as conn:
        known = curves.latest(conn, engine)
        mixed = (given, "given") if given is not None else calibration.mix_of(conn, engine, now)
    return calibration.document(gateway.config, engine, known, mixed, now)


def _mix(text: str) -> Mix:
    try:
        return calibration.parsed_mix(text)
    except ConfigError as error:
        raise RequestError("`mix` is not IN:OUT; write 4:1 for four prompt tokens to one generated", param="mix") from error


def _body(one: EngineStep, at: Saturation | None) -> EngineCosts:
    work = None if at is None else at.seconds(one.prefill_tokens + one.foreign_prefill_tokens, one.decode_tokens + one.foreign_decode_tokens)
    return EngineCosts.model_validate(
        {
            "engine": one.engine,
            "time": one.start,
            "seconds_up": one.seconds_up,
            "replica_seconds": one.replica_seconds,
            **shapes.money("bill", one.bill_nanousd),
            **shapes.money("allocated", one.allocated_nanousd),
            **shapes.money("foreign", one.foreign_nanousd),
            **shapes.money("idle", one.idle_nanousd),
            "busy_share": _share(one.busy_s, one.seconds_up),
            "utilisation": None if work is None else _share(work, one.replica_seconds),
            "sampled_share": _share(one.sampled_s, one.replica_seconds),
            "prefill_tokens": one.prefill_tokens,
            "decode_tokens": one.decode_tokens,
            "foreign_prefill_tokens": one.foreign_prefill_tokens,
            "foreign_decode_tokens": one.foreign_decode_tokens,
            **shapes.money("cost_per_m", one.per_million),
            **shapes.money("whole_cost_per_m", one.whole_per_million),
            "adapters": tuple(_backend(did, one.allocated_nanousd) for did in one.backends),
        }
    )


def _backend(did: Did, allocated: int | None) -> dict[str, Any]:
    adapter, _, version = (did.backend or "").partition("/")[2].partition("@")
    return {
        "backend": did.backend,
        "adapter": adapter or None,
        "version": parse_version(version),
        "calls": did.calls,
        "prefill_tokens": did.prefill_tokens,
        "decode_tokens": did.decode_tokens,
        **shapes.money("cost", did.nanousd),
        "share": None if not allocated or did.nanousd is None else did.nanousd / allocated,
    }


def _share(part: float, of: float) -> float | None:
    return min(part / of, 1.0) if of > 0.0 else None
