"""Shadow calls: after a client has its answer, the same request is also asked of the other side, and the two answers are compared.

A version in shadow is asked whatever answered; where a version answered, the first hosted candidate is asked; where a hosted candidate answered, the most
advanced version. A shadow call goes the way of every request: a place, a decision, a ledger row of its own with what it cost, without route and key, at the
endpoint `/v1/shadow`, tagged `shadow=<route>`; its dollars are the budget of that tag. Engines are asked only while they have little to do, and a call that is
under way is cut off when they get busy or clients wait. The client's answer is never touched: it is over by then.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from decimal import Decimal
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy.exc import SQLAlchemyError

from gateway import exchange
from gateway.asgi import Message, Request
from gateway.auth import CALLER, Caller
from gateway.ids import new_id
from gateway.quality.agreement import agreement, spoken
from gateway.reload import SHADOW_TAG
from gateway.store import shadow_pairs
from gateway.store.shadow_pairs import Pair
from router.errors import BreakevenError
from router.naming import backend_name
from router.types import Candidate, Exchange, Outcome, Stage
from serving.database import writing
from serving.states import State
from serving.views import stage_of

if TYPE_CHECKING:
    from gateway.context import Gateway
    from gateway.run import Run

log = logging.getLogger("breakeven.quality")

ENDPOINT = "/v1/shadow"
# Shadow calls one process has under way at most.
MOST = 4
# An engine has little to do while less than this share of what it runs at full speed is in flight.
IDLE_SHARE = 0.25
# The call was not let in, or whom it was for is overloaded: that says nothing of anybody.
_NOT_ASKED = frozenset({0, 429, 503})
_LOOK_S = 0.05
_NANO = Decimal(10) ** 9
_LEFT_OUT = ("stream", "stream_options", "store", "metadata", "service_tier", "user")
_RANK = (Stage.OPEN, Stage.RAMP, Stage.CANARY)


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask what, for which version: `target` is a backend's name, `reference` the side that the version is compared with."""

    target: str
    adapter: str
    version: int
    reference: str


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a shadow call. `text` None: no answer."""

    id: str
    status: int
    text: str | None
    cost_nanousd: int | None


class Shadows:
    """One per worker; belongs to its event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tasks: set[asyncio.Task[None]] = set()

    def consider(self, run: Run, settled: Exchange) -> None:
        """A request of the sample is over and booked: ask the other side, if there is one that may be asked now."""
        call = run.last
        if settled.outcome is not Outcome.OK or call is None or call.transcript is None or len(self._tasks) >= MOST:
            return
        planned = plan(run, call.backend.candidate)
        if planned is None or self._is_busy(planned.target) or not self._is_allowed(run, settled, planned.target):
            return
        text = spoken(call.transcript.text, call.transcript.tool_calls)
        task = asyncio.get_running_loop().create_task(self._compare(run, planned, text), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut off what is under way, and begin nothing more."""
        self._gateway.books.compare = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _compare(self, run: Run, planned: Plan, text: str) -> None:
        asking = asyncio.ensure_future(self._ask(run, planned))
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=_LOOK_S)
                if self._is_busy(planned.target, own=1):
                    asking.cancel()
                    break
            said = await asking
        except (asyncio.CancelledError, BreakevenError):
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            return
        if said.status in _NOT_ASKED:
            return
        agreed, scorer = (None, "failed") if said.text is None else agreement(text, said.text)
        pair = Pair(
            said.id,
            run.id,
            run.plan.name,
            planned.adapter,
            planned.version,
            planned.reference,
            agreed,
            scorer,
            self._gateway.clock(),
            said.cost_nanousd,
        )
        try:
            await asyncio.to_thread(self._keep, pair)
        except SQLAlchemyError as error:
            log.warning("a comparison of %s is lost: %s", planned.target, error)

    async def _ask(self, run: Run, planned: Plan) -> Said:
        """One request through the whole gateway, by nobody: its answer. BreakevenError where it is not let in."""
        begun: list[Message] = []
        parts: list[bytes] = []
        raw = orjson.dumps({**{k: v for k, v in run.ask.body.items() if k not in _LEFT_OUT}, "model": planned.target})
        given = False

        async def receive() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": raw, "more_body": False}
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
            else:
                parts.append(message.get("body", b""))

        request = Request(_scope(run.plan.name), receive, send, new_id("req", self._gateway.clock(), 10), perf_counter())
        try:
            await exchange.serve(self._gateway, "chat", request)
        finally:
            self._gateway.admission.bodies.release(request.id)
        headers = {bytes(name): bytes(value) for name, value in begun[0]["headers"]} if begun else {}
        status = int(begun[0]["status"]) if begun else 0
        return Said(request.id, status, _answer(b"".join(parts)) if status == 200 else None, _cost(headers))

    def _keep(self, pair: Pair) -> None:
        with writing(self._gateway.database) as conn:
            shadow_pairs.put(conn, pair)

    def _is_allowed(self, run: Run, settled: Exchange, target: str) -> bool:
        """Whether the day's allowance has what the hosted model would take for this answer."""
        fleet, limits, now = self._gateway.fleet, self._gateway.limits, self._gateway.clock()
        if fleet.plan(fleet.view, target).backends[target].candidate.kind == "local":
            return True
        accounts = limits.reserve(None, None, 0, now, {SHADOW_TAG: run.plan.name}).accounts  # of nobody: nothing is held, so there is nothing to settle
        return all(account.left(now) > (settled.all_hosted_nanousd or 0) for account in accounts)

    def _is_busy(self, target: str, own: int = 0) -> bool:
        """Whether a call to `target` would be in somebody's way; `own` of what is in flight there is ours."""
        if self._gateway.admission.waiting:
            return True
        fleet = self._gateway.fleet
        only = fleet.plan(fleet.view, target)
        live = fleet.live(only)[target]
        if only.backends[target].candidate.kind == "hosted":
            return False
        return not live.healthy or live.in_flight + live.others_in_flight - own >= max(1.0, IDLE_SHARE * live.slots)


def plan(run: Run, answered: Candidate) -> Plan | None:
    """Whom to ask beside the candidate that answered; None: nobody."""
    route, view = run.plan.name, run.view
    versions = _versions(run)
    for adapter, number, stage in versions:
        if stage is Stage.SHADOW and (answered.adapter, answered.version) != (adapter, number):
            return Plan(view.adapters[adapter].model(number), adapter, number, answered.backend)
    if answered.kind == "hosted":
        for rank in _RANK:
            for adapter, number, stage in versions:
                if stage is rank:
                    return Plan(view.adapters[adapter].model(number), adapter, number, answered.backend)
        return None
    if answered.adapter is None or answered.version is None:
        return None
    candidates = view.config.routes[route].candidates
    hosted = next((backend_name(c.owner, c.model or "") for c in candidates if c.kind == "hosted" and c.program is None), None)
    return None if hosted is None else Plan(hosted, answered.adapter, answered.version, hosted)


def _versions(run: Run) -> list[tuple[str, int, Stage]]:
    """The loaded versions of the route's adapters that have no program, with their stages."""
    route, view = run.plan.name, run.view
    names = dict.fromkeys(c.adapter for c in view.config.routes[route].candidates if c.adapter is not None and c.program is None)
    found: list[tuple[str, int, Stage]] = []
    for name in names:
        adapter = view.adapters.get(name)
        if adapter is not None:
            loaded = (version for version in adapter.versions if version.state is State.LOADED and version.replicas)
            found += [(name, each.version, stage_of(adapter, each.version, route, view.facts.stages)) for each in loaded]
    return found


def _scope(route: str) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json"), (b"x-breakeven-priority", b"low"), (b"x-breakeven-tags", f"{SHADOW_TAG}={route}".encode())]
    return {"type": "http", "method": "POST", "path": ENDPOINT, "query_string": b"", "headers": headers, CALLER: Caller(None)}


def _answer(raw: bytes) -> str | None:
    """What the first choice says; None where it is no chat answer."""
    try:
        message = orjson.loads(raw)["choices"][0]["message"]
        return spoken(message.get("content") or "", message.get("tool_calls") or ())
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None


def _cost(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"x-breakeven-cost-usd")
    return int(Decimal(text.decode()) * _NANO) if text else None
