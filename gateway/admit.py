"""Before a request is let in: its key, its body, its wishes, its plan, its limits; then the write-ahead record. Whatever is wrong here leaves no row."""

from __future__ import annotations

import asyncio
from time import perf_counter

from gateway import auth, wire, wishes
from gateway.asgi import Request, read_body
from gateway.context import Gateway
from gateway.responses.recall import recall
from gateway.run import Run
from gateway.store.keys import Key
from gateway.view import FleetView, RoutePlan
from gateway.wire import Ask, Endpoint
from gateway.wishes import Wishes
from router.capability import NATIVE
from router.errors import LedgerError, LimitError, RequestError
from router.split import bucket
from router.types import Features

MOST_BODY_BYTES = 64 * 1024 * 1024
# A body that is not here by then is not coming: slow senders must not hold places for ever.
_BODY_S = 60.0
_EXPECTED_OUTPUT = 200


async def admit(gateway: Gateway, endpoint: Endpoint, request: Request) -> Run:
    """Let a request in, or raise RequestError (nothing was written, the client is told why). ClientGone when it left meanwhile."""
    now, view = gateway.clock(), gateway.fleet.view
    key = auth.of(request.scope, view, now)
    asked = wishes.read(request.scope["headers"])
    raw, waited_s = await body_of(request)
    ask = wire.parse(raw, endpoint)
    plan = _plan(gateway, view, key, ask, asked)
    if endpoint == "responses":
        ask = await recall(gateway, key, ask)
    wanted = wire.features(ask, asked.slo_ms)
    hold = gateway.limits.reserve(key, plan.route, _expected_tokens(wanted), now)
    try:
        gateway.spool.admit(request.id, now, plan.route, request.scope["path"], key.id if key is not None else None)
    except LedgerError as error:
        gateway.limits.settle(hold, 0, 0, now)
        raise LimitError(f"The gateway cannot keep its books right now: {error.message}", retry_after_s=5.0, status=503, code="overloaded") from error
    return Run(
        gateway=gateway,
        id=request.id,
        time=now,
        started=request.started,
        endpoint=request.scope["path"],
        key=key,
        view=view,
        plan=plan,
        ask=ask,
        wishes=asked,
        features=wanted,
        hold=hold,
        keep_text=_captures(plan, ask, asked, wanted),
        waited_s=waited_s,
    )


async def body_of(request: Request) -> tuple[bytes, float]:
    """The request's body and the seconds its sender took. RequestError 408, 413 or 415."""
    kind = request.header(b"content-type")
    if kind is not None and not _is_json(kind):
        shown = kind[:80].decode("latin-1")
        raise RequestError(f"Unsupported content-type {shown!r}: send application/json.", status=415, code="unsupported_media_type")
    asked = perf_counter()
    try:
        async with asyncio.timeout(_BODY_S):
            raw = await read_body(request.scope, request.receive, MOST_BODY_BYTES)
    except TimeoutError:
        raise RequestError(f"The request body did not arrive within {_BODY_S:.0f} s.", status=408, code="request_timeout") from None
    return raw, perf_counter() - asked


def _plan(gateway: Gateway, view: FleetView, key: Key | None, ask: Ask, asked: Wishes) -> RoutePlan:
    auth.check_scope(key, ask.model, is_route=ask.model in view.routes)
    if asked.pin is not None:
        auth.check_pin(key, asked.pin)
    return gateway.fleet.plan(view, ask.model, asked.pin)


def _expected_tokens(wanted: Features) -> int:
    return wanted.prompt_bytes // 4 + (wanted.max_tokens or _EXPECTED_OUTPUT)


def _captures(plan: RoutePlan, ask: Ask, asked: Wishes, wanted: Features) -> bool:
    """Whether this conversation is in the route's sample; all its turns are, or none."""
    if plan.route is None or plan.pinned or asked.no_capture or "messages" not in ask.conversation or plan.capture.sample <= 0.0:
        return False
    if ask.chat is not None and not NATIVE.isdisjoint(wanted.needs):
        return False  # chat has no words for all of it
    return plan.capture.sample >= 1.0 or bucket(wanted.conversation, f"capture:{plan.route}") < plan.capture.sample * 100.0


def _is_json(kind: bytes) -> bool:
    media = kind.partition(b";")[0].strip().lower()
    return media == b"application/json" or media.endswith(b"+json")
