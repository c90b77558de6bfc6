"""docs/monitoring.md says what there is."""

from __future__ import annotations

import re

from gateway.config.telemetry import TelemetryConfig
from gateway.metric_table import MOST_SERIES, MOST_VALUES, TABLE
from gateway.telemetry.otlp import MOST_QUEUED
from tests.monitoring.promql import DASHBOARDS, ROOT

PAGE = (ROOT / "docs" / "monitoring.md").read_text()


def test_every_metric_is_there_and_no_other() -> None:
    """Name, kind, labels and meaning, as the gateway's own table has them."""
    written = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    suffix = {"counter": "_total", "gauge": "", "histogram": ""}
    assert written == [(row.name + suffix[row.kind], row.kind, ", ".join(f"`{name}`" for name in row.labels) or "–", row.help) for row in TABLE]


def test_what_else_it_says() -> None:
    """Bounds, files and configuration keys."""
    assert f"{MOST_VALUES} values" in PAGE
    assert f"{MOST_SERIES:,} series" in PAGE
    assert f"{MOST_QUEUED:,} spans" in PAGE
    assert all(f"`{path.name}`" in PAGE for path in DASHBOARDS)
    keys = re.findall(r"^  (\w+):", PAGE, re.MULTILINE)
    assert keys
    assert set(keys) <= set(TelemetryConfig.model_fields)
