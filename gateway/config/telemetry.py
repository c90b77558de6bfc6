"""The section `telemetry` of the configuration: where traces go."""

from __future__ import annotations

from importlib.util import find_spec

from pydantic import Field, field_validator

from gateway.config.section import Section
from gateway.config.values import HttpUrl, Name, Share, Text


class TelemetryConfig(Section):
    """Where spans are sent, and which. `headers` are sent with them and may hold secrets."""

    otlp_endpoint: HttpUrl | None = None
    headers: dict[str, Text] = Field(default={}, repr=False)
    sample: Share = 1.0
    service_name: Name = "breakeven"
    forward_traceparent: bool = False

    @field_validator("otlp_endpoint")
    @classmethod
    def _can_be_sent_to(cls, value: str | None) -> str | None:
        if value is not None and not _installed():
            raise ValueError("needs OpenTelemetry's packages: pip install 'breakeven[otel]'")
        return value

    @property
    def reads_traceparent(self) -> bool:
        """Whether the trace of a caller is of use to anyone."""
        return self.otlp_endpoint is not None or self.forward_traceparent

    @property
    def traces_url(self) -> str:
        """The address spans are posted to: below the endpoint, unless it says so itself."""
        base = (self.otlp_endpoint or "").rstrip("/")
        return base if base.endswith("/v1/traces") else f"{base}/v1/traces"


def _installed(package: str = "opentelemetry.exporter.otlp.proto.http") -> bool:
    """Whether the exporter is there; it is not imported for that."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
