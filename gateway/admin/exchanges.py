"""GET /admin/exchanges[/{id}]: the ledger's rows, newest first, by route, backend, key, tags and time."""

from __future__ import annotations

from dataclasses import astuple
from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed, Since, Until
from gateway.store import exchanges, period
from gateway.store.exchanges import Entry, Filter
from gateway.store.tables import TOKEN_COLUMNS
from router.errors import RequestError
from router.types import Attempt, CostState, Usage, UsageState
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["exchanges"])


class UsageBody(Body):
    """Tokens. `cached_tokens`, `cache_write_tokens` and `audio_input_tokens` are part of the input, `reasoning_tokens` and `audio_output_tokens` of
    the output."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cache_write_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int


class AttemptBody(Body):
    """One call to one backend within an exchange, failed ones included."""

    backend: str
    kind: str
    time: Instant
    status: int | None
    error: str | None
    ttft_ms: float | None
    total_ms: float
    usage: UsageBody | None
    usage_state: UsageState
    cost_nanousd: int | None
    cost_usd: str | None
    cost_state: CostState
    service_tier: str | None


class ExchangeBody(Body):
    """One admitted request and its outcome.

    `cost_*` is what hosted providers charge for it; `amortised_*` its share of the GPU bill (null until its minutes are closed), `opportunity_*` the price
    of its local work in the decision: two faces of the same work, never added up. `all_hosted_*`: what the route's first hosted candidate would have cost.
    """

    id: str
    time: Instant
    route: str | None
    endpoint: str
    backend: str | None
    adapter_version: int | None
    key_id: str | None
    tags: dict[str, str]
    stream: bool
    status: int
    outcome: str
    usage: UsageBody | None
    usage_state: UsageState
    cost_nanousd: int | None
    cost_usd: str | None
    cost_state: CostState
    amortised_nanousd: int | None
    amortised_usd: str | None
    opportunity_nanousd: int | None
    opportunity_usd: str | None
    all_hosted_nanousd: int | None
    all_hosted_usd: str | None
    ttft_ms: float | None
    total_ms: float
    overhead_ms: float | None
    reason: str | None
    decision_id: str | None
    sandbox: bool
    attempts: tuple[AttemptBody, ...]


@router.get("/exchanges")
def page(  # noqa: PLR0913 - one parameter per filter of the query
    gateway: InGateway,
    route: str | None = None,
    backend: str | None = None,
    key: str | None = None,
    tag: Annotated[list[str] | None, Query(description="`name=value`; given several times, a row has to have all of them.")] = None,
    since: Since = None,
    until: Until = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=exchanges.MAX_PAGE)] = 100,
) -> Listed[ExchangeBody]:
    """A page of the ledger, newest first. Pass `next_cursor` as `cursor` for the next."""
    where = Filter(route, backend, key, period.parse(since, until), tuple(_tag(text) for text in tag or ()))
    with reading(gateway.database) as conn:
        found = exchanges.page(conn, where, cursor, limit)
    return Listed[ExchangeBody](data=tuple(_body(entry) for entry in found.entries), has_more=found.next_cursor is not None, next_cursor=found.next_cursor)


@router.get("/exchanges/{exchange_id}")
def one(gateway: InGateway, exchange_id: str) -> ExchangeBody:
    """One exchange by its `x-request-id`."""
    with reading(gateway.database) as conn:
        entry = exchanges.get(conn, exchange_id)
    if entry is None:
        message = f"There is no exchange {exchange_id!r}. Rows reach the database within a second or two, and old ones expire."
        raise RequestError(message, status=404, code="exchange_not_found", param="exchange_id")
    return _body(entry)


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise RequestError("`tag` is not NAME=VALUE; write tag=team=support", param="tag")
    return name, value


def _body(entry: Entry) -> ExchangeBody:
    e = entry.exchange
    same = ("id", "time", "route", "endpoint", "backend", "adapter_version", "key_id", "tags", "stream", "status", "usage_state", "cost_state", "ttft_ms")
    return ExchangeBody.model_validate(
        {name: getattr(e, name) for name in same}
        | {"total_ms": e.total_ms, "overhead_ms": e.overhead_ms, "reason": e.reason, "decision_id": e.decision_id, "sandbox": e.sandbox}
        | {"outcome": e.outcome.value, "usage": _usage(e.usage, e.usage_state), "attempts": [_attempt(a) for a in e.attempts]}
        | shapes.money("cost", e.cost_nanousd)
        | shapes.money("amortised", entry.amortised_nanousd)
        | shapes.money("opportunity", e.opportunity_nanousd)
        | shapes.money("all_hosted", e.all_hosted_nanousd)
    )


def _attempt(a: Attempt) -> dict[str, Any]:
    same = ("backend", "kind", "status", "error", "ttft_ms", "total_ms", "usage_state", "cost_state", "service_tier")
    return {name: getattr(a, name) for name in same} | {"time": a.started, "usage": _usage(a.usage, a.usage_state)} | shapes.money("cost", a.cost_nanousd)


def _usage(usage: Usage, state: UsageState) -> dict[str, int] | None:
    if state == "unknown":
        return None
    return dict(zip(TOKEN_COLUMNS, astuple(usage), strict=True))
