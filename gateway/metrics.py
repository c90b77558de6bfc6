"""Every metric of the data plane, in one table, and what is counted when. Names follow OpenTelemetry's GenAI conventions where it has one, dots as underscores.

Labels are bounded: backends that no route names count as `<owner>/other`, whatever clients ask for. With several workers the values of all of them are
added up by prometheus-client's multi-process mode, which gateway.serve sets up.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from router.types import Attempt, Exchange

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_OVERHEAD_SECONDS = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024)
_USD = 1e-9


class Row(NamedTuple):
    """One metric. `buckets` are for histograms."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_CALL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
TABLE: tuple[Row, ...] = (
    Row("gen_ai_client_token_usage", "histogram", "Tokens of an answer, by type.", (*_CALL, "gen_ai_token_type"), _TOKENS),
    Row("gen_ai_server_request_duration", "histogram", "Seconds from the request to the end of the answer.", (*_CALL, "error_type"), _SECONDS),
    Row("gen_ai_server_time_to_first_token", "histogram", "Seconds from calling the backend to its first token.", _CALL, _SECONDS),
    Row("gen_ai_server_time_per_output_token", "histogram", "Seconds per token after the first.", _CALL, _TOKEN_SECONDS),
    Row("breakeven_requests", "counter", "Admitted requests by outcome.", ("route", "backend", "outcome")),
    Row("breakeven_cost_usd", "counter", "Hosted dollars of answers whose cost is known or estimated.", ("route", "backend", "cost_state")),
    Row("breakeven_unpriced_requests", "counter", "Answers whose cost is unknown.", ("route", "backend")),
    Row("breakeven_decisions", "counter", "Decisions by reason.", ("route", "reason")),
    Row("breakeven_attempts", "counter", "Calls to backends by result: ok, or the error.", ("backend", "result")),
    Row("breakeven_refused_requests", "counter", "Requests that were not admitted, by error code.", ("code",)),
    Row("breakeven_overhead_seconds", "histogram", "Gateway time outside the upstream, up to the first byte of the answer.", (), _OVERHEAD_SECONDS),
    Row("breakeven_in_flight", "gauge", "Requests being answered."),
    Row("breakeven_queue_length", "gauge", "Requests that wait for a place."),
    Row(
        "breakeven_queue_seconds",
        "histogram",
        "Seconds that queued requests waited, by what became of them: in, full, late, gone.",
        ("priority", "result"),
        _SECONDS,
    ),
    Row("breakeven_shed_requests", "counter", "Requests sent away with 503: the queue was full, or their wait too long.", ("priority", "reason")),
    Row("breakeven_ledger_backlog_bytes", "gauge", "Bytes in the spool that the database does not have yet."),
    Row("breakeven_ledger_pending_records", "gauge", "Settled records that the disk has not taken yet."),
    Row("breakeven_fleet_stale_seconds", "gauge", "How long the database has not answered; 0 while it does."),
    Row("breakeven_breaker_state", "gauge", "Circuit breaker of a backend: 0 closed, 1 half open, 2 open.", ("backend",)),
    Row("breakeven_replica_up", "gauge", "Whether a vLLM replica is healthy.", ("engine", "replica")),
    Row("breakeven_adapter_live_version", "gauge", "The live version of an adapter; 0: none.", ("adapter",)),
)
_SUMMED = frozenset({"breakeven_in_flight", "breakeven_queue_length"})
_BREAKER_VALUES: Mapping[str, int] = {"closed": 0, "half_open": 1, "open": 2}


class Metrics:
    """One per process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {row.name: _make(row, self._registry) for row in TABLE}
        self._children: dict[tuple[str, ...], Any] = {}

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        self._child(name, *labels).observe(value)

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        self._child(name, *labels).inc(by)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._child(name, *labels).set(value)

    def settled(self, exchange: Exchange, operation: str, known: Collection[str]) -> None:
        """Everything one settled exchange counts. `known` are the backends that may be labels."""
        route = exchange.route or "-"
        backend = label(exchange.backend, known)
        self.count("breakeven_requests", route, backend, exchange.outcome.value)
        if exchange.reason is not None:
            self.count("breakeven_decisions", route, exchange.reason)
        if exchange.overhead_ms is not None:
            self.observe("breakeven_overhead_seconds", exchange.overhead_ms / 1000.0)
        if exchange.cost_nanousd is None:
            self.count("breakeven_unpriced_requests", route, backend)
        elif exchange.cost_nanousd:
            self.count("breakeven_cost_usd", route, backend, exchange.cost_state, by=exchange.cost_nanousd * _USD)
        owner, _, model = backend.partition("/")
        call = (operation, owner, model or owner)
        for attempt in exchange.attempts:
            self.count("breakeven_attempts", label(attempt.backend, known), attempt.error or "ok")
        self.observe("gen_ai_server_request_duration", exchange.total_ms / 1000.0, *call, "" if exchange.outcome == "ok" else exchange.outcome.value)
        if exchange.usage_state != "unknown":
            self.observe("gen_ai_client_token_usage", exchange.usage.input, *call, "input")
            self.observe("gen_ai_client_token_usage", exchange.usage.output, *call, "output")
        if exchange.attempts and exchange.outcome == "ok":
            self._speeds(exchange.attempts[-1], call)

    def breakers(self, phases: Mapping[str, str], known: Collection[str]) -> None:
        """Set the breaker gauges of the backends that may be labels."""
        for backend, phase in phases.items():
            if backend in known:
                self.set("breakeven_breaker_state", _BREAKER_VALUES[phase], backend)

    def render(self) -> bytes:
        """Prometheus' text format: this process, or all workers together in multi-process mode."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)

    def _speeds(self, attempt: Attempt, call: tuple[str, str, str]) -> None:
        if attempt.ttft_ms is None:
            return
        self.observe("gen_ai_server_time_to_first_token", attempt.ttft_ms / 1000.0, *call)
        if attempt.usage.output > 1:
            self.observe("gen_ai_server_time_per_output_token", (attempt.total_ms - attempt.ttft_ms) / 1000.0 / (attempt.usage.output - 1), *call)

    def _child(self, name: str, *labels: str) -> Any:
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            metric = self._metrics[name]
            child = self._children[key] = metric.labels(*labels) if labels else metric
        return child


def label(backend: str | None, known: Collection[str]) -> str:
    """A backend's name if it may be a label, else its owner's."""
    if backend is None:
        return "-"
    return backend if backend in known else f"{backend.partition('/')[0]}/other"


def _make(row: Row, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if row.kind == "counter":
        return Counter(row.name, row.help, row.labels, registry=registry)
    if row.kind == "gauge":
        # each worker has its own view of a breaker: the worst of them is what matters; the others add up
        mode: Literal["livemax", "livesum"] = "livesum" if row.name in _SUMMED or "ledger" in row.name else "livemax"
        return Gauge(row.name, row.help, row.labels, registry=registry, multiprocess_mode=mode)
    return Histogram(row.name, row.help, row.labels, registry=registry, buckets=row.buckets)
