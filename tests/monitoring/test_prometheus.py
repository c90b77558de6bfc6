"""A real Prometheus beside a live gateway: it scrapes, and every rule can be evaluated on what it got."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.gateway.conftest import pair, start, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer
from tests.monitoring.promql import DASHBOARDS, RULES, alerts, dashboard, recorded

__all__ = ["pair", "start"]
pytestmark = [pytest.mark.monitoring, pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's package prometheus is not installed")]
ROUTE = {"slo": {"ttft_ms": 400, "total_ms": 5000}, "budget": {"usd_per_day": 20}}


class Prometheus:
    """Asks its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        return httpx.get(f"{self.url}/api/v1/{path}", params=query, timeout=30).json()["data"]

    def value(self, query: str) -> float | None:
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None


@pytest.fixture
def gateway(start: Callable[..., LiveGateway]) -> Iterator[LiveGateway]:
    with UpstreamServer() as first, UpstreamServer() as second:
        yield start(two_providers(first, second, **ROUTE))


@pytest.fixture
def prometheus(gateway: LiveGateway, tmp_path: Path) -> Iterator[Prometheus]:
    """The configuration we ship, looking every second, at this gateway."""
    directory = tmp_path / "prometheus"
    directory.mkdir()
    config = yaml.safe_load(RULES.with_name("prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{gateway.port}"]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(RULES, directory)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["prometheus", f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with (directory / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            made = Prometheus(f"http://127.0.0.1:{port}")
            until(lambda: process.poll() is None and ready(made))
            yield made
        finally:
            process.kill()


def ready(made: Prometheus) -> bool:
    try:
        return httpx.get(f"{made.url}/-/ready", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def until(true: Callable[[], object], wait_s: float = 60.0) -> None:
    deadline = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_scrapes_and_evaluates(gateway: LiveGateway, prometheus: Prometheus) -> None:
    """The target is up, the numbers arrive, no rule and no panel fails on live data."""
    for _ in range(5):
        body = {"model": "r", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=30).status_code == 200
    until(lambda: prometheus.value('sum(breakeven_requests_total{route="r"})') == 5.0)
    assert prometheus.value('up{job="breakeven"}') == 1.0
    assert prometheus.value('breakeven_budget_limit_usd{scope="route",name="r",period="day"}') == 20.0

    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in rules()))
    assert len(rules()) == len(alerts()) + len(recorded())
    assert {rule["name"]: rule.get("lastError") for rule in rules() if rule["health"] != "ok"} == {}
    for path in DASHBOARDS:
        for panel in dashboard(path)["panels"]:
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "24h").replace("$route", ".*")
                answer = httpx.get(f"{prometheus.url}/api/v1/query", params={"query": text}, timeout=30).json()
                assert answer["status"] == "success", (panel["title"], answer)
