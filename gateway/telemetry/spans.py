"""From a settled exchange to its spans: one for the exchange, below it one for each attempt. Pure; attributes as OpenTelemetry's GenAI conventions name them.

Sizes, times, money and names only: no prompt and no answer is ever in a span. What is not known has no attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.telemetry import context
from router.types import Attempt, Exchange, Outcome, Usage, UsageState

Value = str | int | float | bool | tuple[str, ...]
Attributes = dict[str, Value]
_OPERATIONS: Mapping[str, str] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}


@dataclass(frozen=True, slots=True)
class Span:
    """Times are nanoseconds since the epoch, ids hexadecimal; `error` is its type, None: it went well."""

    name: str
    kind: Literal["server", "client"]
    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int
    attributes: Attributes
    error: str | None = None


def spans_of(exchange: Exchange) -> tuple[Span, ...]:
    """The exchange's own span first."""
    operation = _OPERATIONS.get(exchange.endpoint, exchange.endpoint.removeprefix("/v1/"))
    trace, own = context.trace_id(exchange.id, exchange.trace), context.span_id(exchange.id)
    asked = exchange.route or (exchange.backend or "").partition("/")[2] or exchange.backend
    start = _ns(exchange.time)
    whole = Span(
        name=f"{operation} {asked}" if asked else operation,
        kind="server",
        trace_id=trace,
        span_id=own,
        parent_id=context.parent_id(exchange.trace),
        start_ns=start,
        end_ns=start + round(exchange.total_ms * 1e6),
        attributes=_attributes(exchange, operation, asked),
        error=None if exchange.outcome is Outcome.OK else exchange.outcome.value,
    )
    return (whole, *(_attempt(exchange, call, operation, trace, own) for call in exchange.attempts))


def _attempt(exchange: Exchange, call: Attempt, operation: str, trace: str, parent: str) -> Span:
    owner, _, model = call.backend.partition("/")
    attributes: Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": owner,
        "gen_ai.request.model": model or owner,
        "breakeven.backend": call.backend,
        "breakeven.kind": call.kind,
        **_tokens(call.usage, call.usage_state),
        **_known({"http.response.status_code": call.status, "error.type": call.error, "breakeven.ttft_ms": call.ttft_ms}),
        **_money(call.cost_nanousd, call.cost_state),
    }
    if call is exchange.attempts[-1] and exchange.finish_reason is not None:
        attributes["gen_ai.response.finish_reasons"] = (exchange.finish_reason,)
    start = _ns(call.started)
    return Span(
        name=f"{operation} {model or owner}",
        kind="client",
        trace_id=trace,
        span_id=context.attempt_span_id(exchange.id, call.backend, call.started),
        parent_id=parent,
        start_ns=start,
        end_ns=start + round(call.total_ms * 1e6),
        attributes=attributes,
        error=call.error,
    )


def _attributes(exchange: Exchange, operation: str, asked: str | None) -> Attributes:
    owner, _, model = (exchange.backend or "").partition("/")
    found: Attributes = {
        "gen_ai.operation.name": operation,
        "http.response.status_code": exchange.status,
        "breakeven.request_id": exchange.id,
        "breakeven.outcome": exchange.outcome.value,
        "breakeven.stream": exchange.stream,
        "breakeven.sandbox": exchange.sandbox,
        **_tokens(exchange.usage, exchange.usage_state),
        **_money(exchange.cost_nanousd, exchange.cost_state),
    }
    found |= _known(
        {
            "gen_ai.provider.name": owner or None,
            "gen_ai.request.model": asked,
            "gen_ai.response.model": model or owner or None,
            "error.type": None if exchange.outcome is Outcome.OK else exchange.outcome.value,
            "breakeven.route": exchange.route,
            "breakeven.backend": exchange.backend,
            "breakeven.decision_id": exchange.decision_id,
            "breakeven.reason": exchange.reason,
            "breakeven.key_id": exchange.key_id,
            "breakeven.ttft_ms": exchange.ttft_ms,
            "breakeven.overhead_ms": exchange.overhead_ms,
        }
    )
    if exchange.finish_reason is not None:
        found["gen_ai.response.finish_reasons"] = (exchange.finish_reason,)
    return found | {f"breakeven.tag.{name}": value for name, value in exchange.tags.items()}


def _tokens(usage: Usage, state: UsageState) -> Attributes:
    if state == "unknown":
        return {}
    found: Attributes = {"gen_ai.usage.input_tokens": usage.input, "gen_ai.usage.output_tokens": usage.output, "breakeven.usage_state": state}
    if usage.cached:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cached
    if usage.cache_write:
        found["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write
    if usage.reasoning:
        found["breakeven.usage.reasoning_tokens"] = usage.reasoning
    return found


def _money(nanousd: int | None, state: str) -> Attributes:
    return {"breakeven.cost_state": state} if nanousd is None else {"breakeven.cost_state": state, "breakeven.cost_usd": nanousd / 1e9}


def _known(values: Mapping[str, Value | None]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
