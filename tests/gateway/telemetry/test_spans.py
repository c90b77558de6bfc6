"""What is in a span, and what never is."""

from __future__ import annotations

from dataclasses import replace

from gateway.telemetry.spans import spans_of
from router.types import Attempt, Exchange, Outcome, Usage
from tests.gateway.test_metrics import exchange


def failed() -> Exchange:
    broken = Attempt("local/triage@3", None, "upstream_unreachable", 100.0, None, 15.0, Usage(), "unknown", None, "unknown", "local")
    answered = Attempt("one/m", 200, None, 100.02, 20.0, 120.0, Usage(10, 4, 11, 3, cache_write=2), "provider", 5, "known")
    return exchange(
        time=100.0,
        attempts=(broken, answered),
        usage=answered.usage,
        cost_nanousd=5,
        endpoint="/v1/chat/completions",
        finish_reason="stop",
        decision_id="dec_1",
        reason="failover",
        tags={"team": "search"},
        key_id="key_1",
    )


def test_an_exchange_and_its_attempts() -> None:
    """Each failed attempt is a span of its own, below the exchange's."""
    whole, first, second = spans_of(failed())
    assert (whole.name, first.name, second.name) == ("chat r", "chat triage@3", "chat m")
    assert (whole.kind, first.kind, whole.parent_id, first.parent_id, second.parent_id) == ("server", "client", None, whole.span_id, whole.span_id)
    assert len({whole.trace_id, first.trace_id, second.trace_id}) == 1
    assert whole.end_ns - whole.start_ns == 120_000_000
    assert second.start_ns == 100_020_000_000
    assert (whole.error, first.error, second.error) == (None, "upstream_unreachable", None)


def test_attributes() -> None:
    """The conventions' names for what they name; money in dollars."""
    whole, first, second = spans_of(failed())
    assert whole.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "one",
        "gen_ai.request.model": "r",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 11,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_creation.input_tokens": 2,
        "http.response.status_code": 200,
        "breakeven.usage.reasoning_tokens": 3,
        "breakeven.usage_state": "provider",
        "breakeven.request_id": "req_1",
        "breakeven.route": "r",
        "breakeven.backend": "one/m",
        "breakeven.decision_id": "dec_1",
        "breakeven.reason": "failover",
        "breakeven.outcome": "ok",
        "breakeven.cost_usd": 5e-9,
        "breakeven.cost_state": "known",
        "breakeven.ttft_ms": 20.0,
        "breakeven.overhead_ms": 0.3,
        "breakeven.stream": True,
        "breakeven.sandbox": False,
        "breakeven.key_id": "key_1",
        "breakeven.tag.team": "search",
    }
    assert first.attributes["error.type"] == "upstream_unreachable"
    assert "gen_ai.usage.input_tokens" not in first.attributes
    assert "breakeven.cost_usd" not in first.attributes
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert (second.attributes["gen_ai.provider.name"], second.attributes["gen_ai.request.model"]) == ("one", "m")


def test_the_callers_trace_goes_on() -> None:
    """Ours is a child of the caller's span."""
    caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    whole, *below = spans_of(replace(failed(), trace=caller))
    assert (whole.trace_id, whole.parent_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert all(span.trace_id == whole.trace_id and span.parent_id == whole.span_id for span in below)


def test_nobody_answered() -> None:
    """A refused or interrupted request is one span with an error; what is unknown has no attribute."""
    (only,) = spans_of(
        exchange(outcome=Outcome.REFUSED, backend=None, route=None, attempts=(), usage_state="unknown", cost_nanousd=None, cost_state="unknown", ttft_ms=None)
    )
    assert (only.name, only.error, only.attributes["error.type"]) == ("x", "refused", "refused")
    assert not {"gen_ai.request.model", "gen_ai.response.model", "breakeven.cost_usd", "breakeven.route", "gen_ai.usage.output_tokens"} & set(only.attributes)


def test_the_bare_base_of_an_engine() -> None:
    """Its backend has no model beside the engine's name."""
    whole, below = spans_of(exchange(route=None, backend="local", attempts=(replace(exchange().attempts[0], backend="local"),), endpoint="/v1/embeddings"))
    assert whole.name == below.name == "embeddings local"
