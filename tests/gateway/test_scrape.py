"""`/metrics` of several processes: whoever is asked answers for all of them, as of now."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metric_files import MetricFiles, Said
from tests.gateway.conftest import provider
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.test_serve import Served, begin, chat, until
from tests.gateway.upstream_server import UpstreamServer

__all__ = ["begin"]
ACCEPT = {"accept": "application/openmetrics-text;version=1.0.0"}


def value(url: str, name: str, **labels: str) -> float:
    """A sample of a fresh connection's scrape: any worker may answer."""
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=30).text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


def test_the_sum_over_all_workers(begin: Callable[..., Served], tmp_path: Path) -> None:
    """After each request, whichever worker is asked, and it never goes back when one is killed."""
    served = begin(server={"workers": 2}).wait_ready()

    def counted() -> float:
        return value(served.url, "breakeven_requests_total", route="r", outcome="ok")

    for number in range(1, 9):
        assert chat(served.url).status_code == 200
        until(lambda number=number: counted() == number, 30)
    until(lambda: value(served.url, "breakeven_workers") == 2.0, 30)
    before = served.workers()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(served.workers()) - set(before)) == 1 and len(served.workers()) == 2, 30)
    for number in range(9, 13):
        assert counted() >= number - 1
        assert chat(served.url).status_code == 200
        until(lambda number=number: counted() == number, 30)
    until(lambda: value(served.url, "breakeven_workers") == 2.0, 30)
    assert (tmp_path / "data" / "metrics" / "w1.json").exists()
    assert httpx.get(f"{served.url}/metrics", headers=ACCEPT, timeout=30).headers["content-type"].startswith("application/openmetrics-text")
    assert served.stop() == 0


def test_who_does_not_answer_is_not_waited_for(start: Callable[..., LiveGateway], upstream: UpstreamServer, caplog: pytest.LogCaptureFixture) -> None:
    """What it last said counts, and the log names it."""
    gateway = start({"providers": {"one": provider(upstream)}, "server": {"workers": 2, "default_provider": "one"}})
    metrics = gateway.config.server.data_dir / "metrics"
    MetricFiles(metrics, "w1").write(Said("w1", time.time(), {("breakeven_requests", "r", "one/m", "ok"): [5.0], ("breakeven_workers",): [1.0]}))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf, caplog.at_level(logging.INFO):
        deaf.bind(str(metrics / "w1.bell"))
        assert value(gateway.url, "breakeven_requests_total", route="r") == 5.0
    assert "w1 did not say how they are doing" in caplog.text
    assert value(gateway.url, "breakeven_workers") == 2.0


def test_it_works_where_nothing_can_be_written(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker without a place for its bell and its file serves all the same, shows its own numbers, and says so."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metrics").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        gateway = start({"providers": {"one": provider(upstream)}, "server": {"default_provider": "one"}})
        assert value(gateway.url, "breakeven_workers") == 1.0
    assert "other processes cannot ask this one" in caplog.text
    assert "cannot be kept" in caplog.text
