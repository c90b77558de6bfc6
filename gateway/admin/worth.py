"""GET /admin/worth/{route}: whether training an adapter for a route is worth it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway import worth
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute
from router.errors import ConfigError, RequestError
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["costs"])


@router.get("/worth/{route}")
def verdict(
    route: str,
    gateway: InGateway,
    assume: Annotated[list[str], Query(description="NAME=NUMBER: an assumption other than the configured one (repeat).")] = [],  # noqa: B006  FastAPI copies it
    tokens_per_day: Annotated[float | None, Query(gt=0, allow_inf_nan=False, description="Instead of the ledger's traffic.")] = None,
) -> dict[str, Any]:
    """The verdict (`train`, `not_yet`, `stay`), the recommended rung, what each rung costs a month, the break-even with its range, and
    every assumption with its source. Dollars are numbers; null is unknown."""
    try:
        values = worth.stated(assume, "assume")
    except ConfigError as error:
        raise RequestError(error.message, param="assume") from error
    with reading(gateway.database) as conn:
        return worth.document(conn, gateway.config, worth.Asked(route, values, tokens_per_day), gateway.clock())
