"""GET /admin/prices and GET /admin/repricings: what hosted models cost, how old that knowledge is, and which costs were corrected afterwards."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed
from gateway.price_listing import listing
from gateway.store import repricings
from router.types import CostState
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["costs"])


class AmountsBody(Body):
    """Per million tokens. `cached_input` null: no discount is known; `reasoning` null: as output; the others null: unknown."""

    input_nanousd_per_m: int | None
    input_usd_per_m: str | None
    cached_input_nanousd_per_m: int | None
    cached_input_usd_per_m: str | None
    cache_write_nanousd_per_m: int | None
    cache_write_usd_per_m: str | None
    output_nanousd_per_m: int | None
    output_usd_per_m: str | None
    reasoning_nanousd_per_m: int | None
    reasoning_usd_per_m: str | None
    audio_input_nanousd_per_m: int | None
    audio_input_usd_per_m: str | None
    audio_output_nanousd_per_m: int | None
    audio_output_usd_per_m: str | None


class VariantBody(AmountsBody):
    """Another price of the same model: for answers in a service tier (null: the ordinary one), for requests of more than so many input tokens."""

    service_tier: str | None
    above_input_tokens: int


class PriceBody(AmountsBody):
    """What one model costs now. `effective`: since when, null: as far back as is known. `age_days` and `stale` are of the package's data; an override has no
    age."""

    provider: str
    model: str
    cost_state: CostState
    source: str | None
    effective: Instant | None
    age_days: int | None
    stale: bool | None
    variants: tuple[VariantBody, ...]


class PackageBody(Body):
    """Where prices come from that no override gives. `as_of`: the newest change in its data; it may be newer than that. Nulls: unknown."""

    source: str
    as_of: str | None
    age_days: int | None
    stale: bool | None
    stale_after_days: int


class PricesBody(Listed[PriceBody]):
    """The hosted models in use and what they cost."""

    package: PackageBody


class RepricingBody(Body):
    """One correction of costs: who made it, why, for which rows, with which price book, and the sums of those rows before and after.

    `rows` were looked at, `changed` of them have another cost now, `left_alone` could not be judged and kept theirs (rows of before tiers and cache writes
    were recorded, providers that are configured no more); `unknown_*` is how many of them had no cost. `finished` null: it is at work or was interrupted,
    and `breakeven reprice --resume ID` goes on. Money is what hosted providers charge; `all_hosted_*` what the first hosted candidate would have.
    """

    id: str
    started: Instant
    updated: Instant
    finished: Instant | None
    by: str
    reason: str | None
    since: Instant | None
    until: Instant | None
    provider: str | None
    model: str | None
    prices: str
    rows: int
    changed: int
    left_alone: int
    attempts_changed: int
    unknown_before: int
    unknown_after: int
    before_nanousd: int
    before_usd: str
    after_nanousd: int
    after_usd: str
    difference_nanousd: int
    difference_usd: str
    all_hosted_changed: int
    all_hosted_before_nanousd: int
    all_hosted_before_usd: str
    all_hosted_after_nanousd: int
    all_hosted_after_usd: str


@router.get("/prices")
def prices(gateway: InGateway, model: str | None = None) -> PricesBody:
    """What each hosted model in use costs, by kind of token, and where the figure comes from; with `model`, that one at every provider."""
    return PricesBody.model_validate(_without(listing(gateway.config, model, gateway.clock()), "object"))


@router.get("/repricings")
def corrected(gateway: InGateway, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Listed[RepricingBody]:
    """The audit trail of re-pricing, newest first."""
    with reading(gateway.database) as conn:
        found = repricings.listed(conn, limit)
    return Listed[RepricingBody](data=tuple(RepricingBody.model_validate(repricings.document(one)) for one in found))


def _without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}
