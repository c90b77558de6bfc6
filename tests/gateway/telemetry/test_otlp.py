"""Sending spans: to a real OTLP/HTTP receiver, in good and in bad times."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gateway.config.telemetry import TelemetryConfig
from gateway.metrics import Metrics
from gateway.telemetry.otlp import Exporter
from gateway.telemetry.traces import Traces
from tests.gateway.telemetry.collector import Collector
from tests.gateway.test_metrics import exchange

SERVER, CLIENT, ERROR = 2, 3, 2


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


def config(collector: Collector, **more: object) -> TelemetryConfig:
    return TelemetryConfig(otlp_endpoint=collector.url, **more)  # type: ignore[arg-type]


def test_spans_arrive(collector: Collector) -> None:
    """With the headers that were asked for, under the service's name, times and ids as they are."""
    exporter = Exporter(config(collector, headers={"x-team": "search"}, service_name="gateway-1"))
    exporter.offer([exchange(id=f"req_{'cd' * 16}", time=100.0)])
    exporter.stop(30)
    whole, below = sorted(collector.spans, key=lambda span: span["kind"])
    assert (whole["kind"], below["kind"], whole["trace"], below["parent"]) == (SERVER, CLIENT, "cd" * 16, whole["id"])
    assert (whole["start"], whole["ms"]) == (100.0, 120.0)
    assert whole["attributes"]["gen_ai.usage.input_tokens"] == 10
    assert collector.paths == ["/v1/traces"]
    assert collector.headers[0]["x-team"] == "search"
    assert collector.resources[0]["service.name"] == "gateway-1"
    assert (exporter.sent, exporter.dropped, exporter.failed, exporter.queued) == (2, 0, 0, 0)


def test_a_share_of_them(collector: Collector) -> None:
    """None at 0; what a caller sampled comes all the same."""
    exporter = Exporter(config(collector, sample=0))
    caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    exporter.offer([exchange(id="req_1"), exchange(id="req_2", trace=caller)])
    exporter.stop(30)
    assert {span["attributes"].get("breakeven.request_id") for span in collector.spans} == {"req_2", None}
    assert exporter.sent == 2


def test_a_receiver_that_hangs_costs_nobody_anything(collector: Collector) -> None:
    """The queue is bounded, what does not fit is counted, `offer` comes back at once."""
    collector.hold.clear()
    exporter = Exporter(config(collector), most_queued=10)
    exporter.offer([exchange(id="req_0")])
    collector.until(lambda: exporter.queued == 0)
    began = time.monotonic()
    exporter.offer([exchange(id=f"req_{n}") for n in range(100)])
    assert time.monotonic() - began < 5
    assert (exporter.queued, exporter.dropped) == (10, 190)
    collector.hold.set()
    exporter.stop(30)
    assert (exporter.sent, exporter.dropped, len(collector.spans)) == (12, 190, 12)


def test_a_receiver_that_refuses() -> None:
    """What it does not take is counted as failed, and the next is sent."""
    with Collector(status=400) as refuses:
        exporter = Exporter(config(refuses))
        exporter.offer([exchange()])
        exporter.stop(30)
    assert (exporter.sent, exporter.failed) == (0, 2)


def test_nobody_listens() -> None:
    """An end does not wait for an endpoint that is not there."""
    with Collector() as gone:
        pass
    exporter = Exporter(config(gone))
    exporter.offer([exchange()])
    exporter.stop(0.2)
    assert exporter.sent == 0


def test_another_endpoint_at_reload(collector: Collector) -> None:
    """From then on rows go there; the counts go on."""
    traces, metrics = Traces(), Metrics()
    traces.rows([exchange()])
    traces.use(config(collector))
    traces.use(config(collector))
    traces.rows([exchange(id="req_1")])
    collector.until(lambda: len(collector.spans) == 2)
    traces.count(metrics)
    with Collector() as second:
        traces.use(config(second))
        traces.rows([exchange(id="req_2")])
        second.until(lambda: len(second.spans) == 2)
        traces.close()
    traces.count(metrics)
    traces.use(TelemetryConfig())
    traces.rows([exchange(id="req_3")])
    traces.count(metrics)
    traces.close()
    text = metrics.render().decode()
    assert 'breakeven_trace_spans_total{result="sent"} 4.0' in text
    assert len(collector.spans) == 2
