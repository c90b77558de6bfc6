"""The way of one request: who asks, what for, which candidate, call it, fail over, relay, settle. The only place that strings these steps together.

Before admission errors simply go back to the edge (endpoints.py). From the write-ahead record on, every way out passes the `finally` of `serve`, which
settles exactly once and awaits nothing, so that neither a cancellation nor a second error can come between.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from time import perf_counter

from gateway import admit, http_errors
from gateway.answer import head
from gateway.asgi import ClientGone, Request, Send, answer
from gateway.call import Call, begin, falls_over
from gateway.context import Gateway
from gateway.costing import price_call
from gateway.guard import Guard
from gateway.refusals import no_candidate
from gateway.relay import send_stream, send_whole
from gateway.run import Run
from gateway.settle import live_of, settle
from gateway.view import Backend
from gateway.wire import Endpoint
from router.errors import BreakevenError, LimitError, RequestError, UpstreamError, UpstreamRefused, UpstreamTimeout
from router.types import Outcome

CLIENT_GONE_STATUS = 499
# A whole answer does not show its first token: while another candidate is left it is given its first-token time and this many usual answers' times.
_PATIENCE = 4.0


async def serve(gateway: Gateway, endpoint: Endpoint, request: Request) -> None:
    """Answer one request of a routed endpoint. BreakevenError only before anything was written ahead; afterwards errors are answered here."""
    gateway.admission.enter()
    try:
        run = await admit.admit(gateway, endpoint, request)
        guard = Guard(request.receive, run.plan.timeouts.total_ms)
        try:
            await _answer(run, guard, request.send)
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
                _end(run, call)
            settle(run)
    finally:
        gateway.admission.leave()


async def _answer(run: Run, guard: Guard, send: Send) -> None:
    _decide(run)
    call = await _first_that_answers(run, guard)
    if call.meter is not None:
        await send_stream(run, call, guard, send)
        _judge(run, call, None if call.error is None else UpstreamError("", code=call.error))
    else:
        _end(run, call)
        await send_whole(run, call, guard, send)


def _decide(run: Run) -> None:
    """Choose, and reserve the dollars of the choice; where they are not there any more, choose again without hosted candidates."""
    gateway, now, seed = run.gateway, run.gateway.clock(), random.getrandbits(62)
    decision_id = f"dec_{secrets.token_hex(12)}"
    left = gateway.limits.hosted_left(run.key, run.plan.route, now)
    run.decision = gateway.fleet.decide(run.plan, run.features, now, seed, decision_id, hosted_left=left)
    chosen = run.decision.chosen
    if chosen is not None and not _reserve(run, chosen, now):
        run.decision = gateway.fleet.decide(run.plan, run.features, now, seed, decision_id, hosted_left=False)
    if run.decision.chosen is None:
        raise no_candidate(run.decision, run.plan, now)


async def _first_that_answers(run: Run, guard: Guard) -> Call:
    """Try the candidates in order. UpstreamError of the last one when none answers; nothing is slept on in between."""
    order = run.decision.order if run.decision is not None else ()
    failure: UpstreamError | None = None
    for position, name in enumerate(order):
        if position and not _reserve(run, name, run.gateway.clock()):
            continue
        backend = run.plan.backends[name]
        for base in _bases(run, backend):
            try:
                return await _attempt(run, guard, backend, base, more=position + 1 < len(order))
            except UpstreamError as error:
                failure = error
                if not _goes_on(run, error, order[position + 1 :], backend):
                    raise
                if error.code != "upstream_unreachable":
                    break  # another replica is tried only when this one was never reached
    if failure is None:
        raise UpstreamError("Every replica was just seen failing; try again shortly.", code="upstream_unreachable")
    raise failure


def _bases(run: Run, backend: Backend) -> list[str]:
    """The addresses to try: one, and for an engine each other usable replica after it."""
    if backend.candidate.kind == "hosted":
        return [backend.bases[0]]
    board, now = run.gateway.fleet.board, run.gateway.clock()
    usable = [base for base in backend.bases if board.usable(base, now)]
    return sorted(usable, key=board.replica_load)


async def _attempt(run: Run, guard: Guard, backend: Backend, base: str, *, more: bool) -> Call:
    board, replica = run.gateway.fleet.board, base if backend.candidate.kind == "local" else None
    call = Call(backend, base, run.gateway.clock(), perf_counter())
    run.calls.append(call)
    board.begin(call.name, replica)
    try:
        await begin(run, call, guard, _patience_ms(run, call, guard, more=more))
    except UpstreamError as error:
        _failed(run, call, error)
        raise
    except asyncio.CancelledError:
        reason = guard.caught()
        if reason is None or reason == "client_gone":
            call.error = reason or "interrupted"
            if reason is None:
                raise
            raise ClientGone from None
        late = UpstreamTimeout(f"{call.name} did not answer within {call.elapsed_ms:.0f} ms", phase=reason)
        _failed(run, call, late)
        if reason != "total":
            guard.rearm()
        raise late from None
    finally:
        run.upstream_s += perf_counter() - call.started
        if call.error is not None:
            _end(run, call)
    if call.meter is None:
        _judge(run, call, None)
    return call


def _patience_ms(run: Run, call: Call, guard: Guard, *, more: bool) -> float:
    first_token_ms = run.plan.timeouts.first_token_ms
    if run.ask.stream:
        return first_token_ms
    if not more:
        return guard.left_ms
    usual = run.gateway.fleet.board.usual_total_ms(call.name)
    return first_token_ms + _PATIENCE * (usual or 0.0)


def _failed(run: Run, call: Call, error: UpstreamError) -> None:
    if isinstance(error, UpstreamTimeout):
        call.error = f"{error.code}:{error.phase}"
    else:
        call.error = f"http_{error.status}" if isinstance(error, UpstreamRefused) else error.code
    _judge(run, call, error)


def _judge(run: Run, call: Call, error: UpstreamError | None) -> None:
    """Tell the breaker. What the client's request is to blame for is no failure of the backend; a wait it asked for is kept."""
    board, now = run.gateway.fleet.board, run.gateway.clock()
    if error is not None and error.code == "upstream_unreachable" and call.backend.candidate.kind == "local":
        board.suspect(call.base, now)
    if isinstance(error, UpstreamRefused) and error.retry_after_s is not None and error.status in {429, 503}:
        board.retry_after(call.name, now + error.retry_after_s)
        return
    board.result(call.name, error is None or (isinstance(error, UpstreamRefused) and not falls_over(error)), now)


def _goes_on(run: Run, error: UpstreamError, rest: tuple[str, ...], backend: Backend) -> bool:
    """Whether the next candidate may be tried after `error`."""
    if run.plan.pinned and error.code != "upstream_unreachable":
        return False
    if isinstance(error, UpstreamRefused) and error.status == 400 and http_errors.is_context_error(error.body):
        room = backend.candidate.context_tokens
        wider = (run.plan.backends[name].candidate.context_tokens for name in rest)
        return room is not None and any(other is not None and other > room for other in wider)
    return falls_over(error)


def _reserve(run: Run, name: str, now: float) -> bool:
    candidate = run.plan.backends[name].candidate
    if candidate.kind == "local" or run.decision is None:
        return True
    expected = next((scored.cost_nanousd for scored in run.decision.scored if scored.backend == name), None)
    return run.gateway.limits.commit(run.hold, expected or 0, now)


def _end(run: Run, call: Call) -> None:
    """Let go of a call and price it. Idempotent."""
    if call.error is None and call.meter is not None and not call.meter.complete:
        call.error = "interrupted" if run.outcome is not Outcome.CLIENT_GONE else "client_gone"
    if call.end():
        run.gateway.fleet.board.end(call.name, call.base if call.backend.candidate.kind == "local" else None)
        price_call(call, live_of(run, call.name), run.features, run.gateway.prices, run.time)


async def _refuse(run: Run, guard: Guard, error: BreakevenError, send: Send) -> None:
    """Answer an admitted request with an error."""
    guard.stop()
    for call in run.calls:
        _end(run, call)
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
