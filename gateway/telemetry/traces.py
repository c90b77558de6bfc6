"""The traces of an installation: which endpoint they go to now, and what became of them. Held by the controller, told of new rows by the ingester."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gateway.config.telemetry import TelemetryConfig
from gateway.metrics import Metrics
from gateway.telemetry.otlp import Exporter
from router.types import Exchange

_RESULTS = ("sent", "dropped", "failed")


class Traces:
    """`rows` may be called from any thread, the others belong to one."""

    def __init__(self) -> None:
        self._config = TelemetryConfig()
        self._exporter: Exporter | None = None
        self._counted: dict[str, int] = {}

    def use(self, config: TelemetryConfig) -> None:
        """Send to where `config` says from now on. ConfigError when OpenTelemetry's packages are not there."""
        if config == self._config:
            return
        before, self._exporter = self._exporter, None if config.otlp_endpoint is None else Exporter(config)
        self._config, self._counted = config, {}
        if before is not None:
            threading.Thread(target=before.stop, name="telemetry, before", daemon=True).start()

    def rows(self, exchanges: Sequence[Exchange]) -> None:
        """Exchanges that are in the database now."""
        exporter = self._exporter
        if exporter is not None and exchanges:
            exporter.offer(exchanges)

    def count(self, metrics: Metrics) -> None:
        """Add to the metrics what has become of spans since the last time."""
        exporter = self._exporter
        metrics.set("breakeven_trace_queue_length", 0 if exporter is None else exporter.queued)
        for result in _RESULTS:
            so_far = 0 if exporter is None else int(getattr(exporter, result))
            metrics.count("breakeven_trace_spans", result, by=so_far - self._counted.get(result, 0))
            self._counted[result] = so_far

    def close(self) -> None:
        """Send what is left. Blocking, for some seconds at most."""
        if self._exporter is not None:
            self._exporter.stop()
