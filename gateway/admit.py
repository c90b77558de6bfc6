"""Before a request is let in: its key, its body, its wishes, its plan, its limits; then the write-ahead record. Whatever is wrong here leaves no row."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from gateway import ask_bounds, auth, body, wire, wishes
from gateway.asgi import Request
from gateway.context import Gateway
from gateway.fair_queue import Priority
from gateway.limits import Hold
from gateway.responses.recall import recall
from gateway.run import Run
from gateway.store.keys import Key
from gateway.telemetry import context
from gateway.view import FleetView, RoutePlan
from gateway.wire import Ask, Endpoint
from gateway.wishes import Wishes
from router.capability import NATIVE
from router.errors import LedgerError, LimitError, RequestError
from router.split import bucket
from router.types import Features

MOST_BODY_BYTES = body.MOST_BODY_BYTES
_BOM = b"\xef\xbb\xbf"
_TIERS: dict[object, Priority] = {"priority": "high", "flex": "low"}
_EXPECTED_OUTPUT = 200
# How many times as many conversations are compared while a version of the route drifts.
MORE_SHADOWS = 5.0


async def admit(gateway: Gateway, endpoint: Endpoint, request: Request) -> Run:
    """Let a request in, or raise RequestError (nothing was written, the client is told why). ClientGone when it left meanwhile."""
    now, view = gateway.clock(), gateway.fleet.view
    key = auth.of(request.scope, view, now)
    auth.check_endpoint(key, endpoint)
    asked = wishes.read(request.scope["headers"])
    if key is not None and key.tags:
        asked = replace(asked, tags={**key.tags, **asked.tags})
    raw, waited_s = await body_of(request, gateway.admission.bodies)
    ask = wire.parse(raw, endpoint)
    ask_bounds.check(ask.body, raw)
    plan = _plan(gateway, view, key, ask, asked)
    if endpoint == "responses":
        ask = await recall(gateway, key, ask)
    wanted = wire.features(ask, asked.slo_ms)
    hold = gateway.limits.reserve(key, plan.route, _expected_tokens(wanted), now, asked.tags)
    waited_s += await _place(gateway, hold, request, _priority(ask, asked), _patience_s(plan, asked))
    try:
        _write_ahead(gateway, request, plan.route, key, now)
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
            captured=_captures(plan, ask, asked, wanted),
            watched=_watches(gateway, plan, ask, asked, now),
            compared=_compares(view, plan, ask, asked, wanted),
            waited_s=waited_s,
            trace=context.read(request.header(b"traceparent")) if view.config.telemetry.reads_traceparent else None,
        )
    except BaseException:
        gateway.limits.settle(hold, 0, 0, now)
        gateway.admission.leave()
        raise


def _write_ahead(gateway: Gateway, request: Request, route: str | None, key: Key | None, now: float) -> None:
    try:
        gateway.spool.admit(request.id, now, route, request.scope["path"], key.id if key is not None else None)
    except LedgerError as error:
        raise LimitError(f"The gateway cannot keep its books right now: {error.message}", retry_after_s=5.0, status=503, code="overloaded") from error


async def body_of(request: Request, bodies: body.Bodies) -> tuple[bytes, float]:
    """The request's body and the seconds its sender took. RequestError 400, 408, 413 or 415, LimitError 503."""
    kind = request.header(b"content-type")
    if kind is not None and not _is_json(kind):
        shown = kind[:80].decode("latin-1")
        raise RequestError(f"Unsupported content-type {shown!r}: send application/json.", status=415, code="unsupported_media_type")
    asked = perf_counter()
    raw = await body.read(request, bodies, MOST_BODY_BYTES)
    return raw.removeprefix(_BOM), perf_counter() - asked


async def _place(gateway: Gateway, hold: Hold, request: Request, priority: Priority, within_s: float) -> float:
    """A place among the requests under way: the seconds it was waited for. What was reserved is given back where there is none."""
    try:
        return await gateway.admission.enter(hold.key.id if hold.key is not None else "-", priority, within_s, request.receive)
    except BaseException:
        gateway.limits.settle(hold, 0, 0, gateway.clock())
        raise


def _priority(ask: Ask, asked: Wishes) -> Priority:
    """The header's, or what OpenAI's service tier hints at."""
    if asked.priority is not None:
        return asked.priority
    tier = ask.body.get("service_tier")
    return _TIERS.get(tier, "normal") if isinstance(tier, str) else "normal"


def _patience_s(plan: RoutePlan, asked: Wishes) -> float:
    """How long waiting for a place can still be of use: what the answer is aimed to take, or else the time to the first token."""
    slo = plan.snapshot.slo
    aim_ms = asked.slo_ms or slo.total_ms or slo.ttft_ms
    longest_ms = plan.timeouts.first_token_ms
    return (longest_ms if aim_ms is None else min(aim_ms, longest_ms)) / 1000.0


def _plan(gateway: Gateway, view: FleetView, key: Key | None, ask: Ask, asked: Wishes) -> RoutePlan:
    if not ask.model.isprintable():
        raise auth.no_such_model(ask.model)  # it would go into headers and tables
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


def _watches(gateway: Gateway, plan: RoutePlan, ask: Ask, asked: Wishes, now: float) -> bool:
    """Whether this request is measured for drift."""
    if not plan.watch or plan.route is None or plan.pinned or asked.no_capture or "messages" not in ask.conversation:
        return False
    return gateway.sampler.takes(plan.route, plan.watch, now)


def _compares(view: FleetView, plan: RoutePlan, ask: Ask, asked: Wishes, wanted: Features) -> bool:
    """Whether the other side is asked too: a share of conversations, of one answer each."""
    if plan.route is None or plan.pinned or (share := view.config.routes[plan.route].quality.shadow.share) <= 0.0:
        return False
    if ask.endpoint != "chat" or asked.no_capture or wanted.n != 1:
        return False
    if plan.route in view.facts.doubted:
        share = min(1.0, share * MORE_SHADOWS)
    return share >= 1.0 or bucket(wanted.conversation, f"shadow:{plan.route}") < share * 100.0


def _is_json(kind: bytes) -> bool:
    media = kind.partition(b";")[0].strip().lower()
    return media == b"application/json" or media.endswith(b"+json")
