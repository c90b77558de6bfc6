"""Prometheus' own promtool on our rules, its configuration, the alerts' unit tests and every query of the dashboards."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.monitoring.promql import RULES, alerts, queries, recorded

pytestmark = [pytest.mark.monitoring, pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool of Debian's package prometheus is not installed")]


def promtool(*arguments: str | Path) -> str:
    """Its output; it must be content."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules_and_configuration() -> None:
    """Both are what Prometheus takes."""
    assert f"SUCCESS: {len(alerts()) + len(recorded())} rules found" in promtool("check", "rules", RULES)
    assert "is valid prometheus config" in promtool("check", "config", RULES.with_name("prometheus.yaml"))


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """The unit tests beside this file: silent before, firing with these words after."""
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("alerts.yaml"), tmp_path)
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "alerts.yaml")
    tested = {check["alertname"] for test in yaml.safe_load((tmp_path / "alerts.yaml").read_text())["tests"] for check in test["alert_rule_test"]}
    assert len(tested) >= 8


def test_every_panel_is_promql(tmp_path: Path) -> None:
    """With what Grafana puts in for its variables, each query of a dashboard is one that Prometheus can parse."""
    rules = []
    for number, query in enumerate(query for query in queries() if ".json" in query.where and not query.text.startswith("label_values")):
        text = re.sub(r"\$__rate_interval", "5m", re.sub(r"\$__range", "24h", query.text)).replace("$route", ".*")
        rules.append({"record": f"panel:{number}", "expr": text})
    assert len(rules) > 50
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", path)
