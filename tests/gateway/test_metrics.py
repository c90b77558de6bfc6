"""What is counted, and under which labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metric_table import MOST_SERIES, MOST_VALUES, ROWS, TABLE
from gateway.metrics import Metrics, label
from router.types import Attempt, Exchange, Outcome, Slo, Usage

ANSWERED = Attempt("one/m", 200, None, 1.0, 20.0, 120.0, Usage(10, 0, 11, 0), "provider", 5, "known")


def exchange(**more: object) -> Exchange:
    values = {
        "id": "req_1", "time": 1.0, "route": "r", "endpoint": "/v1/x", "backend": "one/m", "adapter_version": None, "key_id": None, "tags": {}, "stream": True,
        "status": 200, "outcome": Outcome.OK, "usage": Usage(10, 0, 11, 0), "usage_state": "provider", "cost_nanousd": 2_000_000_000, "cost_state": "known",
        "opportunity_nanousd": None, "all_hosted_nanousd": None, "ttft_ms": 20.0, "total_ms": 120.0, "overhead_ms": 0.3, "reason": "cost", "decision_id": None,
        "attempts": (ANSWERED,), **more,
    }  # fmt: skip
    return Exchange(**values)  # type: ignore[arg-type]


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The values of a counter or gauge by its labels, as a scraper reads them."""
    row = ROWS[name]
    wanted = f"{name}_total" if row.kind == "counter" else name
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if sample.name == wanted:
                found[tuple(sample.labels[each] for each in row.labels)] = sample.value
    return found


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
    assert 'breakeven_overhead_seconds_bucket{le="0.0002"} 0.0' in text
    assert 'breakeven_attempts_total{backend="one/m",result="ok"} 1.0' in text


def test_buckets_hold_their_bound() -> None:
    """A value on a bound falls below it, as Prometheus has it; what is beyond the last is in +Inf alone."""
    metrics = Metrics()
    for seconds in (0.0001, 0.00015, 99.0):
        metrics.observe("breakeven_overhead_seconds", seconds)
    text = metrics.render().decode()
    for bound, count in (("0.0001", 1), ("0.0002", 2), ("0.1024", 2), ("+Inf", 3)):
        assert f'breakeven_overhead_seconds_bucket{{le="{bound}"}} {count}.0' in text
    assert "breakeven_overhead_seconds_count 3.0" in text
    assert "breakeven_overhead_seconds_sum 99.00025" in text


def test_what_is_not_known_is_not_counted_as_zero() -> None:
    """Unknown costs and tokens have counters of their own, or none."""
    metrics = Metrics()
    unknown: dict[str, Any] = {"cost_nanousd": None, "cost_state": "unknown", "usage_state": "unknown", "overhead_ms": None, "reason": None}
    metrics.settled(exchange(**unknown, outcome=Outcome.TIMEOUT, backend=None, attempts=()), "chat", ())
    text = metrics.render().decode()
    assert 'breakeven_unpriced_requests_total{backend="-",route="r"} 1.0' in text
    assert "gen_ai_client_token_usage_sum" not in text
    assert 'error_type="timeout"' in text
    assert "breakeven_cost_usd_total{" not in text


def test_against_the_slo() -> None:
    """What was answered in time met it; failures of ours missed it; what a client did wrong says nothing. Only streams have a first token to measure."""
    metrics = Metrics()
    aim = Slo(ttft_ms=50.0, total_ms=100.0)
    metrics.settled(exchange(), "chat", (), aim)
    metrics.settled(exchange(ttft_ms=60.0, total_ms=90.0), "chat", (), aim)
    metrics.settled(exchange(stream=False, ttft_ms=None, total_ms=90.0), "chat", (), aim)
    metrics.settled(exchange(outcome=Outcome.TIMEOUT, ttft_ms=None, total_ms=1.0), "chat", (), aim)
    metrics.settled(exchange(outcome=Outcome.CLIENT_GONE, total_ms=1.0), "chat", (), aim)
    metrics.settled(exchange(), "chat", ())
    assert samples(metrics, "breakeven_slo_requests") == {
        ("r", "ttft", "met"): 1.0,
        ("r", "ttft", "missed"): 2.0,
        ("r", "total", "met"): 2.0,
        ("r", "total", "missed"): 2.0,
    }


def test_fallbacks() -> None:
    """Answered after another had failed: neither a hedge that lost nor a request that nobody answered is one."""
    metrics = Metrics()
    broken = replace(ANSWERED, backend="two/m", error="http_503", status=503)
    metrics.settled(exchange(attempts=(broken, ANSWERED), all_hosted_nanousd=3_000_000_000), "chat", ())
    metrics.settled(exchange(attempts=(replace(broken, error="hedge_lost"), ANSWERED)), "chat", ())
    metrics.settled(exchange(attempts=(broken, broken), outcome=Outcome.UPSTREAM_ERROR), "chat", ())
    metrics.settled(exchange(), "chat", ())
    assert samples(metrics, "breakeven_fallback_requests") == {("r",): 1.0}
    assert samples(metrics, "breakeven_all_hosted_usd") == {("r",): 3.0}
    assert samples(metrics, "breakeven_attempts")[("two/other", "http_503")] == 3.0


def test_labels_are_bounded() -> None:
    """A name that no route has counts as its owner's other."""
    assert [label(name, {"one/m"}) for name in ("one/m", "one/x", "local", None)] == ["one/m", "one/other", "local/other", "-"]


def test_ten_thousand_odd_requests() -> None:
    """Whatever clients ask for, answer with and are tagged by, the series stay those of the configuration."""
    metrics = Metrics()
    known = {f"one/m{n}" for n in range(4)}
    for n in range(10_000):
        backend = f"one/m{n % 4}" if n % 2 else f"one/made-up-{n}"
        call = replace(ANSWERED, backend=backend)
        metrics.settled(exchange(backend=backend, route=None if n % 3 else "r", tags={f"t{n}": "x"}, key_id=f"key_{n}", attempts=(call,)), "chat", known)
    text = metrics.render().decode()
    assert "made-up" not in text
    assert "key_" not in text
    assert sum(len(family.samples) for family in text_string_to_metric_families(text)) < 400
    assert sum(samples(metrics, "breakeven_requests").values()) == 10_000


def test_should_a_label_ever_be_unbounded() -> None:
    """Behind all that stands a cap on each label and one on each metric: beyond it everything counts as `other`, and nothing is lost."""
    metrics = Metrics()
    for n in range(3 * MOST_VALUES):
        metrics.count("breakeven_refused_requests", f"odd-{n}")
    found = samples(metrics, "breakeven_refused_requests")
    assert len(found) == MOST_VALUES + 1
    assert found[("other",)] == 2.0 * MOST_VALUES
    side = 80
    assert side * side > MOST_SERIES
    for route in range(side):
        for reason in range(side):
            metrics.count("breakeven_decisions", f"r{route}", f"w{reason}")
    found = samples(metrics, "breakeven_decisions")
    assert len(found) == MOST_SERIES + 1
    assert sum(found.values()) == side * side
    assert found[("other", "other")] == side * side - MOST_SERIES


def test_wrong_labels_are_found_at_once() -> None:
    """A mistake of ours shows in the first test that counts it."""
    with pytest.raises(ValueError, match="breakeven_decisions has the labels"):
        Metrics().count("breakeven_decisions", "r")
    with pytest.raises(KeyError):
        Metrics().count("breakeven_nothing")


def test_breakers() -> None:
    """Only of backends that may be labels; one that is gone is not shown for ever."""
    metrics = Metrics()
    metrics.breakers({"one/m": "open", "one/x": "closed", "two/m": "half_open"}, {"one/m", "two/m"})
    assert samples(metrics, "breakeven_breaker_state") == {("one/m",): 2.0, ("two/m",): 1.0}
    metrics.breakers({"two/m": "closed"}, {"two/m"})
    assert samples(metrics, "breakeven_breaker_state") == {("two/m",): 0.0}


def test_going_on_from_a_predecessor() -> None:
    """Counters and histograms are taken over, gauges and what this version does not know are not."""
    before, after = Metrics(), Metrics()
    before.settled(exchange(), "chat", {"one/m"})
    before.set("breakeven_in_flight", 3.0)
    after.settled(exchange(), "chat", {"one/m"})
    cells = dict(before.cells())
    after.carry({**cells, ("breakeven_gone", "x"): [1.0], ("breakeven_decisions", "r"): [1.0], ("breakeven_overhead_seconds",): [1.0]})
    assert samples(after, "breakeven_requests") == {("r", "one/m", "ok"): 2.0}
    text = after.render().decode()
    assert 'gen_ai_server_request_duration_count{error_type="",gen_ai_operation_name="chat",gen_ai_provider_name="one",gen_ai_request_model="m"} 2.0' in text
    assert "breakeven_overhead_seconds_count 1.0" in text
    assert "breakeven_in_flight 3.0" not in text


def test_many_kinds_of_exchanges() -> None:
    """What is remembered of kinds is bounded, and forgetting it loses nothing."""
    metrics = Metrics()
    known = {f"one/m{n}" for n in range(60)}
    for n in range(5_000):
        metrics.settled(exchange(route=f"r{n % 90}", backend=f"one/m{n % 53}", reason="cost"), "chat", known)
    assert sum(samples(metrics, "breakeven_requests").values()) == 5_000
