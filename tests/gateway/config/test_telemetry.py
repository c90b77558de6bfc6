"""The section `telemetry`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.config import telemetry
from gateway.config.telemetry import TelemetryConfig


def test_where_spans_go() -> None:
    """Below the endpoint, as OTEL_EXPORTER_OTLP_ENDPOINT has it; an address that names the path stays."""
    assert TelemetryConfig(otlp_endpoint="http://c:4318").traces_url == "http://c:4318/v1/traces"
    assert TelemetryConfig(otlp_endpoint="https://c/otlp/").traces_url == "https://c/otlp/v1/traces"
    assert TelemetryConfig(otlp_endpoint="https://c/x/v1/traces").traces_url == "https://c/x/v1/traces"


def test_who_wants_the_callers_trace() -> None:
    """Whoever sends spans or passes it on; nobody else reads the header."""
    assert not TelemetryConfig().reads_traceparent
    assert TelemetryConfig(otlp_endpoint="http://c:4318").reads_traceparent
    assert TelemetryConfig(forward_traceparent=True).reads_traceparent


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint is a problem that says what to install, found before anything is started."""
    assert not telemetry._installed("opentelemetry.nowhere.at.all")
    assert not telemetry._installed("json.nowhere")
    monkeypatch.setattr(telemetry, "_installed", lambda: False)
    with pytest.raises(ValidationError, match=r"breakeven\[otel\]"):
        TelemetryConfig(otlp_endpoint="http://c:4318")
    assert TelemetryConfig(forward_traceparent=True).forward_traceparent


def test_headers_are_secret() -> None:
    """They may hold a token."""
    assert "s3cret" not in repr(TelemetryConfig(headers={"authorization": "Bearer s3cret"}))
