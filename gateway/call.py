"""One call to one backend: from sending it until there is something for the client (the first token of a stream, or a whole answer).

Raises UpstreamError for everything that another candidate may still make good: nothing has been sent to the client yet. What it cost and what it taught
is settled elsewhere (costing.py, settle.py); the rest of a stream is relayed by relay.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from gateway.guard import Guard
from gateway.http_errors import is_content_filter, said
from gateway.live import Ticket
from gateway.programs import applied
from gateway.responses.dialect import Dialect, dialect_of
from gateway.sse import Meter
from gateway.telemetry import context
from gateway.transcript import Transcript
from gateway.upstream import Answer
from gateway.usage import usage_of
from gateway.view import Backend
from gateway.wire import PATHS, Ask, upstream_body
from router.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from router.types import CostState, Usage, UsageState

if TYPE_CHECKING:
    from gateway.run import Run

_MOST_ANSWER_BYTES = 256 * 1024 * 1024
_MOST_ERROR_BYTES = 1024 * 1024
_NO_TICKET = Ticket(0, 0, probe=False)


@dataclass(slots=True, eq=False)
class Call:
    """`time` is epoch seconds, `started` `perf_counter` seconds. `error` is None while nothing went wrong; `held` is what waits to be sent.

    `hedge_nanousd` is what was paid for it as a hedge; None: it is none. `later`: the work is done after this answer, so what it takes is not known.
    `media`: the content type of a whole answer that is sent in another shape than it came. `ask`: what it is asked where a program changed
    that, by `added_bytes`.
    """

    backend: Backend
    base: str
    time: float
    started: float
    answer: Answer | None = None
    status: int | None = None
    error: str | None = None
    meter: Meter | None = None
    held: bytes = b""
    usage: Usage | None = None
    service_tier: str | None = None
    finish_reason: str | None = None
    output_bytes: int = 0
    transcript: Transcript | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    usage_state: UsageState = "unknown"
    cost_nanousd: int | None = None
    cost_state: CostState = "unknown"
    ticket: Ticket = _NO_TICKET
    hedge_nanousd: int | None = None
    later: bool = False
    media: str | None = None
    ask: Ask | None = None
    added_bytes: int = 0

    @property
    def name(self) -> str:
        """The backend's public name."""
        return self.backend.candidate.backend

    def end(self) -> bool:
        """Stop the clock and let go of the upstream; whatever it is still doing ends with that. False when it had ended before."""
        if self.total_ms is not None:
            return False
        self.total_ms = self.elapsed_ms
        meter = self.meter
        if meter is not None:
            self.usage, self.service_tier, self.finish_reason = meter.usage, meter.service_tier, meter.finish_reason
            self.output_bytes, self.transcript = meter.output_bytes, meter.transcript
        if self.answer is not None:
            self.answer.close()
        return True

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since it was started."""
        return (perf_counter() - self.started) * 1000.0


async def begin(run: Run, call: Call, guard: Guard, patience_ms: float) -> None:
    """Call and wait, at most `patience_ms`. UpstreamError when there will be no answer; a deadline or a client that left comes as a cancellation."""
    ask, backend = run.ask, call.backend
    if backend.program is not None:
        ask, call.added_bytes = await applied(backend.program, ask, call.name, backend.provider_kind)
        call.ask = ask
    headers = {**backend.headers, "content-type": "application/json", "accept": "text/event-stream" if ask.stream else "application/json"}
    if run.view.config.telemetry.forward_traceparent:
        headers["traceparent"] = context.forwarded(run.id, run.trace, (call.name, call.time), run.view.config.telemetry.sample)
    dialect = dialect_of(run, call) if ask.endpoint == "responses" else None
    path, model = PATHS[ask.endpoint] if dialect is None else dialect.path, backend.names[call.base]
    body = upstream_body(ask, model) if dialect is None else dialect.body(model)
    guard.expect("first_token", patience_ms)
    answer = await run.gateway.upstream.post(call.name, call.base + path, headers, body, run.plan.timeouts.connect_ms)
    call.answer, call.status = answer, answer.status
    if not 200 <= answer.status < 300:
        raise await _refused(call, answer, run.gateway.clock())
    if ask.stream and answer.headers.get("content-type", "").startswith("text/event-stream"):
        call.meter = Meter(hide_usage=ask.hides_usage, keep_text=run.keep_text, rename=backend.rename) if dialect is None else dialect.meter()
        await _first_token(call, answer, call.meter)
    else:
        await _whole(call, answer, dialect, keep_text=run.keep_text)
    guard.relax()


def falls_over(error: UpstreamError) -> bool:
    """Whether another candidate may be tried: not for what the client's request itself is wrong in, and never around a content filter."""
    if isinstance(error, UpstreamTimeout):
        return error.phase != "total"
    if not isinstance(error, UpstreamRefused):
        return True
    if is_content_filter(error.body) or is_lost_conversation(error.body):
        return False
    return error.status in {401, 402, 403, 404, 407, 408, 425, 429} or error.status >= 500 or error.status < 400


def is_lost_conversation(body: bytes) -> bool:
    """Whether a provider does not know the `previous_response_id`: it may be another's, and is no failure of this one."""
    return b"previous_response_not_found" in body[:2000]


async def _first_token(call: Call, answer: Answer, meter: Meter) -> None:
    held: list[bytes] = []
    while not meter.started and not meter.done:
        data = await answer.read()
        held.append(meter.feed(data) if data else meter.end())
        if meter.error is not None:
            raise UpstreamError(f"{call.name} failed inside its stream: {meter.error}", code="upstream_stream_error")
        if not data and not meter.complete:
            raise UpstreamError(f"{call.name} ended its stream before the first token", code="upstream_cut")
    if meter.error is not None:
        raise UpstreamError(f"{call.name} failed inside its stream: {meter.error}", code="upstream_stream_error")
    call.ttft_ms = call.elapsed_ms
    call.held = b"".join(held)


async def _whole(call: Call, answer: Answer, dialect: Dialect | None, *, keep_text: bool) -> None:
    body = await answer.body(_MOST_ANSWER_BYTES)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamError(f"{call.name} sent an answer that is not JSON", code="upstream_malformed") from None
    if not isinstance(parsed, dict):
        raise UpstreamError(f"{call.name} sent an answer that is not a JSON object", code="upstream_malformed")
    if parsed.get("error") and "choices" not in parsed and "data" not in parsed and not (dialect is not None and dialect.stands(parsed)):
        raise UpstreamError(f"{call.name} failed inside its answer: {said(body)[0]}", code="upstream_stream_error")
    call.usage = usage_of(parsed.get("usage"))
    tier = parsed.get("service_tier")
    call.service_tier = tier if isinstance(tier, str) else None
    _read_choices(call, parsed.get("choices"), keep_text=keep_text)
    if dialect is not None:
        call.held = dialect.whole(call, parsed, body)
    else:
        call.held = body if call.backend.rename is None else call.backend.rename.apply(body)


def _read_choices(call: Call, choices: Any, *, keep_text: bool) -> None:
    if keep_text:
        call.transcript = Transcript()
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        if not isinstance(choice, dict):
            continue
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else choice.get("text")
        tools = message.get("tool_calls") if isinstance(message, dict) else None
        call.output_bytes += len(text) if isinstance(text, str) else 0
        call.output_bytes += len(orjson.dumps(tools)) if tools else 0
        if position == 0:
            finish = choice.get("finish_reason")
            call.finish_reason = None if finish is None else str(finish)
            if call.transcript is not None:
                numbered = [{**tool, "index": index} for index, tool in enumerate(tools) if isinstance(tool, dict)] if isinstance(tools, list) else None
                call.transcript.add(text, numbered)


async def _refused(call: Call, answer: Answer, now: float) -> UpstreamRefused:
    body = await answer.body(_MOST_ERROR_BYTES)
    wait_s = retry_after_s(answer.headers, now)
    return UpstreamRefused(f"{call.name} answered {answer.status}", status=answer.status, body=body, retry_after_s=wait_s)


def retry_after_s(headers: Any, now: float) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after` (seconds or a date); None when it says nothing that can be understood."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - now
            except (TypeError, ValueError):
                continue
        if 0.0 <= seconds < 86_400.0 * 30:
            return seconds
    return None
