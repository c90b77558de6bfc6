"""One candidate of an exchange, tried: its addresses in turn, each call watched, judged for the circuit breaker, ended and priced.

Not here: which candidate comes next (exchange.py), two at a time (hedge.py), what is said over the connection (call.py).
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import NamedTuple

from gateway import http_errors, ratelimits
from gateway.asgi import ClientGone
from gateway.call import Call, begin, falls_over, is_lost_conversation
from gateway.costing import price_call
from gateway.guard import Guard
from gateway.run import Run
from gateway.settle import live_of, scored_of
from gateway.view import Backend
from router.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from router.headroom import expected_tokens
from router.latency import slowdown
from router.slow import is_slow
from router.types import Errand, Outcome

CRAWLING = "upstream_timeout:throughput"
# A whole answer does not show its first token: while another candidate is left it is given its first-token time and this many usual answers' times.
_PATIENCE = 4.0


class Failed(NamedTuple):
    """A candidate did not answer; whether another may be tried."""

    error: UpstreamError
    goes_on: bool


async def attempt(run: Run, guard: Guard, name: str, rest: tuple[str, ...], hedge_nanousd: int | None = None) -> Call | Failed | None:
    """Call a candidate until there is something for the client. `rest` are those that could be tried after it; None: it has no usable address just now."""
    backend = run.plan.backends[name]
    failed: Failed | None = None
    for base in _bases(run, backend):
        try:
            return await _once(run, guard, Call(backend, base, run.gateway.clock(), perf_counter(), hedge_nanousd=hedge_nanousd), more=bool(rest))
        except UpstreamError as error:
            failed = Failed(error, _goes_on(run, error, rest, backend))
            if not failed.goes_on or error.code != "upstream_unreachable":
                break  # another replica is tried only when this one was never reached
    return failed


def judge(run: Run, call: Call, error: UpstreamError | None) -> None:
    """Tell the breaker. What the client's request is to blame for is no failure of the backend; a wait it asked for is kept."""
    board, now = run.gateway.fleet.board, run.gateway.clock()
    if error is not None and error.code == "upstream_unreachable" and call.backend.candidate.kind == "local":
        board.suspect(call.base, now)
        if not call.ticket.probe:
            return  # it is left alone for a moment, and tried again by who comes then: nothing is lost by that but an instant
    if isinstance(error, UpstreamRefused) and error.retry_after_s is not None and error.status in {429, 503}:
        board.retry_after(call.name, now + error.retry_after_s)
        return
    crawled = error is not None and error.code == CRAWLING
    ok = error is None or crawled or (isinstance(error, UpstreamRefused) and not falls_over(error))
    board.result(call.name, ok, now, slow=crawled or (error is None and _was_slow(run, call)), probe=call.ticket.probe)


def end(run: Run, call: Call) -> None:
    """Let go of a call and price it. Idempotent."""
    if call.error is None and call.meter is not None and not call.meter.complete:
        call.error = "interrupted" if run.outcome is not Outcome.CLIENT_GONE else "client_gone"
    if call.end():
        run.gateway.fleet.board.end(call.name, _replica(call), call.ticket)
        price_call(call, live_of(run, call.name), run.features, run.gateway.prices, run.time)


def lost(run: Run, call: Call) -> None:
    """A call was cut off because one beside it was faster: learn how long it was waited for, and tell the breaker if that was far too long."""
    board, waited_ms = run.gateway.fleet.board, call.total_ms or 0.0
    board.waited(call.name, waited_ms, predicted_ms(run, call.name), stream=run.ask.stream)
    if _is_slow(run, call, waited_ms, None if run.ask.stream else live_of(run, call.name).output_tokens or 0.0):
        board.result(call.name, True, run.gateway.clock(), slow=True, probe=call.ticket.probe)


def predicted_ms(run: Run, name: str) -> float | None:
    """How long the decision expects a whole answer of this candidate to take."""
    scored = scored_of(run, name)
    return None if scored is None else scored.latency_ms


async def _once(run: Run, guard: Guard, call: Call, *, more: bool) -> Call:
    hosted = call.backend.candidate.kind == "hosted"
    board, tokens = run.gateway.fleet.board, expected_tokens(run.features, live_of(run, call.name)) if hosted else 0
    run.calls.append(call)
    call.ticket = board.begin(call.name, _replica(call), call.time, tokens, None if hosted else _errand(run, call))
    try:
        await begin(run, call, guard, _patience_ms(run, call, guard, more=more))
    except UpstreamError as error:
        _failed(run, call, error)
        raise
    except asyncio.CancelledError:
        reason = guard.caught()
        if reason is None or reason in {"client_gone", "hedge_lost"}:
            call.error = reason or "interrupted"
            if reason == "client_gone":
                raise ClientGone from None
            raise
        late = UpstreamTimeout(f"{call.name} did not answer within {call.elapsed_ms:.0f} ms", phase=reason)
        _failed(run, call, late)
        if reason != "total":
            guard.rearm()
        raise late from None
    finally:
        run.upstream_s += perf_counter() - call.started
        if hosted and call.answer is not None:
            _note_limits(run, call)
        if call.error is not None:
            end(run, call)
    if call.meter is None:
        judge(run, call, None)
    else:
        board.first(call.ticket)
    return call


def _errand(run: Run, call: Call) -> Errand:
    backend = call.backend
    candidate = backend.candidate
    tokens = (run.features.prompt_bytes + candidate.program_bytes) / live_of(run, call.name).bytes_per_token
    return Errand(candidate.owner, tokens, run.ask.stream, candidate.backend if candidate.adapter is not None else "", backend.adapter_slots)


def _bases(run: Run, backend: Backend) -> list[str]:
    """The addresses to try: one, and for an engine each other usable replica after it."""
    if backend.candidate.kind == "hosted":
        return [backend.bases[0]]
    board, now = run.gateway.fleet.board, run.gateway.clock()
    usable = [base for base in backend.bases if board.usable(base, now)]
    return sorted(usable, key=board.replica_load)


def _patience_ms(run: Run, call: Call, guard: Guard, *, more: bool) -> float:
    first_token_ms = run.plan.timeouts.first_token_ms
    if run.ask.stream:
        return first_token_ms
    if not more:
        return guard.left_ms
    usual = run.gateway.fleet.board.usual_total_ms(call.name)
    return first_token_ms + _PATIENCE * (usual or 0.0)


def _note_limits(run: Run, call: Call) -> None:
    said = ratelimits.read(call.answer.headers, run.gateway.clock()) if call.answer is not None else None
    if said is not None:
        run.gateway.fleet.board.headroom(call.name, said, call.ticket)


def _failed(run: Run, call: Call, error: UpstreamError) -> None:
    if isinstance(error, UpstreamTimeout):
        call.error = f"{error.code}:{error.phase}"
    else:
        call.error = f"http_{error.status}" if isinstance(error, UpstreamRefused) else error.code
    judge(run, call, error)


def _was_slow(run: Run, call: Call) -> bool:
    if call.meter is not None:
        return call.ttft_ms is not None and _is_slow(run, call, call.ttft_ms, None)
    made = call.usage.output if call.usage is not None else call.output_bytes / live_of(run, call.name).bytes_per_token
    return _is_slow(run, call, call.total_ms or call.elapsed_ms, made / run.features.n)


def _is_slow(run: Run, call: Call, waited_ms: float, output: float | None) -> bool:
    """`output` tokens of a whole answer; None: only its first token was waited for."""
    usual_ms = run.gateway.fleet.board.usual_ms(call.name, output or 0.0)
    if usual_ms is not None and call.backend.candidate.kind == "local":
        usual_ms *= slowdown(live_of(run, call.name))  # what waits for a slot is our doing
    return is_slow(run.plan.snapshot.slo, waited_ms, usual_ms, whole=output is not None)


def _goes_on(run: Run, error: UpstreamError, rest: tuple[str, ...], backend: Backend) -> bool:
    """Whether the next candidate may be tried after `error`."""
    if run.plan.pinned and error.code != "upstream_unreachable":
        return False
    if isinstance(error, UpstreamRefused) and error.status == 400 and http_errors.is_context_error(error.body):
        room = backend.candidate.context_tokens
        wider = (run.plan.backends[name].candidate.context_tokens for name in rest)
        return room is not None and any(other is not None and other > room for other in wider)
    # a conversation that one provider does not know may have begun at another
    return falls_over(error) or (isinstance(error, UpstreamRefused) and is_lost_conversation(error.body))


def _replica(call: Call) -> str | None:
    return call.base if call.backend.candidate.kind == "local" else None
