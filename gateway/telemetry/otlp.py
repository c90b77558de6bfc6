"""Sending spans to an OTLP/HTTP endpoint, in a thread of its own behind a bounded queue. Who offers rows is never made to wait; what does not fit is counted.

OpenTelemetry's packages (`pip install 'breakeven[otel]'`) are imported when there is an endpoint, and only in the controller.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from gateway.config.telemetry import TelemetryConfig
from gateway.telemetry.context import sampled
from gateway.telemetry.spans import Span, spans_of
from router.errors import ConfigError
from router.types import Exchange

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger("breakeven.telemetry")

MOST_QUEUED = 8192
_BATCH = 512
_LINGER_S = 1.0
_TIMEOUT_S = 10.0


class Exporter:
    """One per endpoint. `offer` from any thread; `stop` ends it. The counts only grow."""

    def __init__(self, config: TelemetryConfig, most_queued: int = MOST_QUEUED) -> None:
        self.sent = self.dropped = self.failed = 0
        self._share = config.sample
        self._most = most_queued
        self._queue: deque[Span] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._sender = _Sender(config)
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Spans that wait."""
        return len(self._queue)

    def offer(self, exchanges: Iterable[Exchange]) -> None:
        """Take the spans of settled exchanges that are sampled, as far as there is room."""
        made = [span for each in exchanges if sampled(each.id, each.trace, self._share) for span in spans_of(each)]
        with self._change:
            room = self._most - len(self._queue)
            self._queue.extend(made[: max(0, room)])
            self.dropped += max(0, len(made) - room)
            self._change.notify()

    def stop(self, within_s: float = 5.0) -> None:
        """Send what is queued, for at most `within_s`; what is left then counts as dropped."""
        with self._change:
            self._stopping = True
            self._change.notify()
        self._thread.join(within_s)
        self._sender.close()
        with self._change:
            self.dropped += len(self._queue)
            self._queue.clear()
        self._thread.join(1.0)

    def _run(self) -> None:
        while batch := self._next():
            if self._sender.send(batch):
                self.sent += len(batch)
            else:
                self.failed += len(batch)

    def _next(self) -> list[Span]:
        """The next spans to send, once there are some; none: it is over."""
        with self._change:
            self._change.wait_for(lambda: self._queue or self._stopping)
            if len(self._queue) < _BATCH and not self._stopping:
                self._change.wait_for(lambda: len(self._queue) >= _BATCH or self._stopping, _LINGER_S)
            return [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]


class _Sender:
    """OpenTelemetry's exporter, and our spans in its types."""

    def __init__(self, config: TelemetryConfig) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
        except ImportError as error:
            raise ConfigError(f"telemetry.otlp_endpoint needs OpenTelemetry's packages ({error.name} is missing): pip install 'breakeven[otel]'") from error
        self._exporter: OTLPSpanExporter = OTLPSpanExporter(endpoint=config.traces_url, headers=dict(config.headers), timeout=_TIMEOUT_S)
        self._resource: Resource = Resource.create({"service.name": config.service_name, "service.version": version("breakeven")})

    def send(self, spans: Sequence[Span]) -> bool:
        """Whether the endpoint took them. It is tried again for some seconds; nothing is raised."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        return self._exporter.export([self._readable(span) for span in spans]) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _readable(self, span: Span) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        trace, flags = int(span.trace_id, 16), TraceFlags(TraceFlags.SAMPLED)
        own = span.kind == "client"
        parent = None if span.parent_id is None else SpanContext(trace, int(span.parent_id, 16), is_remote=not own, trace_flags=flags)
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace, int(span.span_id, 16), is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.CLIENT if own else SpanKind.SERVER,
            instrumentation_scope=InstrumentationScope("breakeven", version("breakeven")),
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.start_ns,
            end_time=span.end_ns,
        )
