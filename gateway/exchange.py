"""The way of one request: who asks, what for, which candidate, call it, fail over, relay, settle. The only place that strings these steps together.

Before admission errors simply go back to the edge (endpoints.py). From the write-ahead record on, every way out passes the `finally` of `serve`, which
closes the books on it exactly once and awaits nothing, so that neither a cancellation nor a second error can come between.
"""

from __future__ import annotations

import asyncio
import random

from gateway import admit, hedge, http_errors
from gateway.answer import head
from gateway.asgi import ClientGone, Request, Send, answer
from gateway.attempt import attempt, end, judge
from gateway.budget import refusal, reserve
from gateway.call import Call
from gateway.context import Gateway
from gateway.guard import Guard
from gateway.ids import new_id
from gateway.relay import send_stream, send_whole
from gateway.run import Run
from gateway.wire import Endpoint
from router.errors import BreakevenError, LimitError, RequestError, UpstreamError, UpstreamRefused, UpstreamTimeout
from router.types import Outcome

CLIENT_GONE_STATUS = 499


async def serve(gateway: Gateway, endpoint: Endpoint, request: Request) -> None:
    """Answer one request of a routed endpoint. BreakevenError only before anything was written ahead; afterwards errors are answered here."""
    run = await admit.admit(gateway, endpoint, request)
    try:
        guard = Guard(request.receive, run.plan.timeouts.total_ms, request.line, gateway.alarm)
        try:
            await _answer(run, guard, request)
        except ClientGone:
            run.outcome, run.status = Outcome.CLIENT_GONE, run.status or CLIENT_GONE_STATUS
        except asyncio.CancelledError:
            if guard.caught() != "client_gone":
                raise
            run.outcome, run.status = Outcome.CLIENT_GONE, run.status or CLIENT_GONE_STATUS
        except BreakevenError as error:
            await _refuse(run, guard, error, request.send)
        finally:
            guard.stop()
            for call in run.calls:
                end(run, call)
            gateway.books.close(run)
            if run.plan.hedge is not None:
                hedge.book(run)
    finally:
        gateway.admission.leave()


async def _answer(run: Run, guard: Guard, request: Request) -> None:
    _decide(run)
    call = await _first_that_answers(run, guard)
    if call.meter is not None:
        await send_stream(run, call, guard, request)
        judge(run, call, None if call.error is None else UpstreamError("", code=call.error))
    else:
        end(run, call)
        await send_whole(run, call, guard, request)


def _decide(run: Run) -> None:
    """Choose, and reserve the dollars of the choice; where they are not there any more, choose again without hosted candidates."""
    gateway, now, seed = run.gateway, run.gateway.clock(), random.getrandbits(62)
    decision_id = new_id("dec", now, 6)
    left = not run.hold.accounts or gateway.limits.hosted_left(run.hold, now)
    run.decision = gateway.fleet.decide(run.plan, run.features, now, seed, decision_id, hosted_left=left)
    chosen = run.decision.chosen
    if chosen is not None and not reserve(run, chosen, now):
        run.decision = gateway.fleet.decide(run.plan, run.features, now, seed, decision_id, hosted_left=False)
    if run.decision.chosen is None:
        raise refusal(run, run.decision, now)
    if run.plan.siblings:
        gateway.fleet.board.asked(run.plan.name, now)


async def _first_that_answers(run: Run, guard: Guard) -> Call:
    """Try the candidates in order. UpstreamError of the last one when none answers; nothing is slept on in between."""
    order = run.decision.order if run.decision is not None else ()
    failure: UpstreamError | None = None
    for position, name in enumerate(order):
        if position and not _may_follow(run, name):
            continue
        rest = order[position + 1 :]
        wait_ms = hedge.delay_ms(run) if rest and not position else None
        found = await attempt(run, guard, name, rest) if wait_ms is None else await hedge.race(run, guard, order, wait_ms)
        if isinstance(found, Call):
            return found
        if found is None:
            continue
        failure = found.error
        if not found.goes_on:
            raise failure
    if failure is None:
        raise UpstreamError("Every replica was just seen failing; try again shortly.", code="upstream_unreachable")
    raise failure


def _may_follow(run: Run, name: str) -> bool:
    """Whether a candidate may be tried after others failed: not twice, not beyond the retry budget where its owner is overloaded, not without dollars."""
    if any(call.name == name for call in run.calls):
        return False  # a hedge has been there
    now, owner = run.gateway.clock(), run.plan.backends[name].candidate.owner
    again = any(call.backend.candidate.owner == owner and _is_strained(call) for call in run.calls)
    if again and not run.gateway.fleet.board.may_repeat(run.plan.name, now):
        return False
    return reserve(run, name, now)


def _is_strained(call: Call) -> bool:
    """Whether a failed call says that its provider or engine has too much to do, or is down: not that it does not know this model or key."""
    return call.status is None or call.status < 400 or call.status in {408, 425, 429} or call.status >= 500


async def _refuse(run: Run, guard: Guard, error: BreakevenError, send: Send) -> None:
    """Answer an admitted request with an error."""
    guard.stop()
    for call in run.calls:
        end(run, call)
    if run.head_sent:
        raise RuntimeError("an error was raised after the answer had begun") from error
    said = http_errors.answer(error)
    run.status = said.status
    if isinstance(error, UpstreamTimeout):
        run.outcome = Outcome.TIMEOUT
    elif isinstance(error, UpstreamRefused):
        run.outcome = Outcome.CLIENT_ERROR if said.status < 500 and said.status != 429 else Outcome.UPSTREAM_ERROR
    elif isinstance(error, UpstreamError):
        run.outcome = Outcome.UPSTREAM_ERROR
    else:
        run.outcome = Outcome.CLIENT_ERROR if isinstance(error, RequestError) and not isinstance(error, LimitError) else Outcome.REFUSED
    headers = head(run, cost=True)
    names = {name for name, _ in said.headers}
    await answer(send, said.status, [*said.headers, *(pair for pair in headers if pair[0] not in names)], said.body)
