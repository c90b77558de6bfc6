"""The table of metrics and what is counted."""

from __future__ import annotations

from gateway.metric_table import TABLE
from gateway.metrics import Metrics, label
from router.types import Attempt, Exchange, Outcome, Usage


def exchange(**more: object) -> Exchange:
    attempt = Attempt("one/m", 200, None, 1.0, 20.0, 120.0, Usage(10, 0, 11, 0), "provider", 5, "known")
    values = {
        "id": "req_1", "time": 1.0, "route": "r", "endpoint": "/v1/x", "backend": "one/m", "adapter_version": None, "key_id": None, "tags": {}, "stream": True,
        "status": 200, "outcome": Outcome.OK, "usage": Usage(10, 0, 11, 0), "usage_state": "provider", "cost_nanousd": 2_000_000_000, "cost_state": "known",
        "opportunity_nanousd": None, "all_hosted_nanousd": None, "ttft_ms": 20.0, "total_ms": 120.0, "overhead_ms": 0.3, "reason": "cost", "decision_id": None,
        "attempts": (attempt,), **more,
    }  # fmt: skip
    return Exchange(**values)  # type: ignore[arg-type]


def test_every_metric_can_be_rendered() -> None:
    """The table has no two of a name, each has a help text, histograms have buckets."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert all(row.help.endswith(".") for row in TABLE)
    assert all(bool(row.buckets) == (row.kind == "histogram") for row in TABLE)
    text = Metrics().render().decode()
    assert all(f"# HELP {row.name}" in text for row in TABLE)


def test_a_settled_exchange() -> None:
    """Cost in dollars, speeds of the last call, overhead in seconds."""
    metrics = Metrics()
    metrics.settled(exchange(), "chat", {"one/m"})
    text = metrics.render().decode()
    assert 'breakeven_cost_usd_total{backend="one/m",cost_state="known",route="r"} 2.0' in text
    assert 'gen_ai_server_time_per_output_token_sum{gen_ai_operation_name="chat",gen_ai_provider_name="one",gen_ai_request_model="m"} 0.01' in text
    assert 'breakeven_overhead_seconds_bucket{le="0.0004"} 1.0' in text
    assert 'breakeven_attempts_total{backend="one/m",result="ok"} 1.0' in text


def test_what_is_not_known_is_not_counted_as_zero() -> None:
    """Unknown costs and tokens have counters of their own, or none."""
    metrics = Metrics()
    metrics.settled(
        exchange(
            cost_nanousd=None, cost_state="unknown", usage_state="unknown", overhead_ms=None, reason=None, outcome=Outcome.TIMEOUT, backend=None, attempts=()
        ),
        "chat",
        (),
    )
    text = metrics.render().decode()
    assert 'breakeven_unpriced_requests_total{backend="-",route="r"} 1.0' in text
    assert "gen_ai_client_token_usage_sum" not in text
    assert 'error_type="timeout"' in text
    assert "breakeven_cost_usd_total{" not in text


def test_labels_are_bounded() -> None:
    """A name that no route has counts as its owner's other."""
    assert [label(name, {"one/m"}) for name in ("one/m", "one/x", "local", None)] == ["one/m", "one/other", "local/other", "-"]


def test_breakers() -> None:
    """Only of backends that may be labels."""
    metrics = Metrics()
    metrics.breakers({"one/m": "open", "one/x": "closed"}, {"one/m"})
    text = metrics.render().decode()
    assert 'breakeven_breaker_state{backend="one/m"} 2.0' in text
    assert "one/x" not in text
