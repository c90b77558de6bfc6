"""GET /admin/gpu: the GPU bill over time, and the part of it that no request used."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed, Since, Until
from gateway.store import gpu_series, period
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["costs"])
STEPS = {"minute": 1, "quarter_hour": 15, "hour": 60, "day": 1440}


class GpuStep(Body):
    """The closed minutes of one engine in one step: bill = allocated + foreign + idle, exactly. Null: `gpu_hour_usd` is not set."""

    engine: str
    time: Instant
    seconds_up: float
    bill_nanousd: int | None
    bill_usd: str | None
    allocated_nanousd: int | None
    allocated_usd: str | None
    foreign_nanousd: int | None
    foreign_usd: str | None
    idle_nanousd: int | None
    idle_usd: str | None


@router.get("/gpu")
def bill(gateway: InGateway, step: Literal["minute", "quarter_hour", "hour", "day"] = "hour", since: Since = None, until: Until = None) -> Listed[GpuStep]:
    """The bill of each engine, step by step. Minutes that are not closed yet are in no step."""
    with reading(gateway.database) as conn:
        found = gpu_series.steps(conn, period.parse(since, until), STEPS[step])
    return Listed[GpuStep](data=tuple(_body(one) for one in found))


def _body(one: gpu_series.Step) -> GpuStep:
    amounts = (("bill", one.bill_nanousd), ("allocated", one.allocated_nanousd), ("foreign", one.foreign_nanousd), ("idle", one.idle_nanousd))
    known = {key: value for name, amount in amounts for key, value in shapes.money(name, amount).items()}
    return GpuStep.model_validate({"engine": one.engine, "time": one.start, "seconds_up": one.seconds_up} | known)
