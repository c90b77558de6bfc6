"""The section `telemetry` of the configuration: where traces go."""

from __future__ import annotations

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import HttpUrl, Name, Share, Text


class TelemetryConfig(Section):
    """Where spans are sent, and which. `headers` are sent with them and may hold secrets."""

    otlp_endpoint: HttpUrl | None = None
    headers: dict[str, Text] = Field(default={}, repr=False)
    sample: Share = 1.0
    service_name: Name = "breakeven"
    forward_traceparent: bool = False

    @property
    def reads_traceparent(self) -> bool:
        """Whether the trace of a caller is of use to anyone."""
        return self.otlp_endpoint is not None or self.forward_traceparent

    @property
    def traces_url(self) -> str:
        """The address spans are posted to: below the endpoint, unless it says so itself."""
        base = (self.otlp_endpoint or "").rstrip("/")
        return base if base.endswith("/v1/traces") else f"{base}/v1/traces"
