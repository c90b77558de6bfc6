"""Sending a begun answer to the client: a whole one at once, a stream as it arrives. After the first byte there is no retry and no switch."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING

from gateway.answer import head
from gateway.asgi import ClientGone, Line, Request, answer, send_body, send_start
from gateway.pace import Pace
from gateway.settle import live_of
from gateway.sse import Meter
from router.errors import UpstreamError
from router.types import Outcome

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.guard import Guard
    from gateway.run import Run
    from gateway.upstream import Answer

# After the finish_reason only usage and [DONE] are to come: they are not waited for as long as for a token.
_TAIL_MS = 2000.0
# How long the end of an upstream's answer is waited for, so that its connection can be used again, once the client has everything.
_DRAIN_S = 1.0


async def send_whole(run: Run, call: Call, guard: Guard, request: Request) -> None:
    """The answer as it was received."""
    received = call.media or (call.answer.headers.get("content-type", "application/json") if call.answer is not None else "application/json")
    run.status, run.outcome = call.status or 200, Outcome.OK
    headers = [(b"content-type", received.encode("latin-1", "replace")), *head(run, cost=True)]
    run.head_sent = True
    guard.stop()
    line = request.line
    if line is None or line.send != request.send or not line.finish(run.status, headers, call.held):
        await answer(request.send, run.status, headers, call.held)


async def send_stream(run: Run, call: Call, guard: Guard, request: Request) -> None:
    """The events as they arrive. Ends with `[DONE]` where the answer is whole, else with an error event and the outcome `upstream_error`."""
    upstream, meter = call.answer, call.meter
    if upstream is None or meter is None:
        raise RuntimeError("a stream is relayed after its call began")
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"), *head(run)]
    run.ttft_ms = run.elapsed_ms
    run.status, run.head_sent = 200, True
    await send_start(request.send, 200, headers)
    out, failure = await _pump(run, call, guard, request)
    if meter.complete:
        run.outcome = Outcome.OK
    else:
        run.outcome = Outcome.UPSTREAM_ERROR
        call.error = failure.code if failure is not None else "upstream_stream_error" if meter.error else "upstream_cut"
        said = failure.message.removeprefix(f"{call.name} ") if failure is not None else meter.error or "the stream ended before the answer did"
        out += meter.broken(f"{call.name} broke off its answer: {said}. What came so far is incomplete.")
    guard.stop()
    await send_body(request.send, out, more=False)
    if meter.complete:
        await _drain(upstream)


class _Hose:
    """Hands on what comes from the upstream's connection straight to the client's, as long as neither has to be waited for. `rest` is what then is left."""

    __slots__ = ("_guard", "_idle_ms", "_line", "_meter", "rest")

    def __init__(self, line: Line, meter: Meter, guard: Guard, idle_ms: float) -> None:
        self._line, self._meter, self._guard, self._idle_ms = line, meter, guard, idle_ms
        self.rest = b""

    def take(self, data: bytes) -> bool:
        """A piece as it came, for `Answer.pour`."""
        meter = self._meter
        out = meter.feed(data)
        if meter.done or meter.error is not None or (out and not self._line.push(out)):
            self.rest = out
            return False
        if meter.complete:
            _expect(self._guard, meter, self._idle_ms, None)
        else:
            self._guard.extend(self._idle_ms)
        return True


async def _pump(run: Run, call: Call, guard: Guard, request: Request) -> tuple[bytes, UpstreamError | None]:
    """Relay until the upstream has nothing more. Returns the last bytes, not sent yet, and what went wrong."""
    upstream, meter = call.answer, call.meter
    assert upstream is not None and meter is not None  # noqa: S101, PT018 - checked by the caller; for the type checker
    out, idle_ms, floor = call.held, run.plan.timeouts.idle_ms, run.plan.timeouts.min_tokens_per_s
    call.held = b""
    pace = None if floor is None else Pace(floor, live_of(run, call.name).bytes_per_token, meter.output_bytes)
    # a stream whose pace is measured goes the longer way
    hose = None if request.line is None or pace is not None else _Hose(request.line, meter, guard, idle_ms)
    try:
        while not meter.done:
            if out:
                await send_body(request.send, out, more=True)
                out = b""
            _expect(guard, meter, idle_ms, pace)
            if hose is not None:
                await upstream.pour(hose.take)
                out, hose.rest = hose.rest, b""
                if meter.error is not None:
                    break
                if out or meter.done:
                    guard.relax()
                    continue
            asked = perf_counter()
            data = await upstream.read()
            waited_s = perf_counter() - asked
            guard.relax()
            out = meter.feed(data) if data else meter.end()
            if pace is not None:
                pace.waited(waited_s, meter.output_bytes)
            if not data or meter.error is not None:
                break
    except UpstreamError as error:
        return out + meter.end(), error
    except asyncio.CancelledError:
        last = (hose.rest if hose is not None else b"") + _timed_out(guard, call, meter)
        said = f"fewer than {floor:g} tokens a second came" if guard.reason == "throughput" else f"nothing came for {idle_ms:.0f} ms"
        return out + last, UpstreamError(said, code=f"upstream_timeout:{guard.reason}")
    return out, None


def _expect(guard: Guard, meter: Meter, idle_ms: float, pace: Pace | None) -> None:
    """The next deadline of a stream: its tail is short, silence has a limit, and a crawl a nearer one."""
    if meter.complete:
        guard.expect("idle", min(_TAIL_MS, idle_ms))
    elif pace is not None and pace.left_ms < idle_ms:
        guard.expect("throughput", pace.left_ms)
    else:
        guard.expect("idle", idle_ms)


def _timed_out(guard: Guard, call: Call, meter: Meter) -> bytes:
    """The last bytes after a deadline. Raises where it was none: the client left, or the server is being stopped."""
    reason = guard.caught()
    if reason is None:
        call.error = "interrupted"
        raise asyncio.CancelledError
    if reason == "client_gone":
        call.error = "client_gone"
        raise ClientGone
    return meter.end()


async def _drain(upstream: Answer) -> None:
    with suppress(UpstreamError, TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while await upstream.read():
                pass
