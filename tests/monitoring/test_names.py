"""Dashboards and alert rules name what a live gateway shows, and nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from gateway import adapters
from gateway.adapters import Asked
from gateway.controller import Controller
from gateway.store import drift
from gateway.store.tables import engine_minutes
from serving import registry
from serving.database import reading, writing
from serving.verbs import Change
from tests.gateway import engine_world
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.telemetry.collector import Collector
from tests.gateway.upstream_server import UpstreamServer, Wire
from tests.monitoring.promql import Query, queries, recorded

Labels = dict[str, set[str]]
# Put there by Prometheus itself.
_OF_PROMETHEUS = {"job", "instance", "le"}
MESSAGES = [{"role": "user", "content": "hi"}]


class Busy:
    """An upstream that answers once it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()

    async def __call__(self, wire: Wire) -> None:
        while not self.go.is_set():
            await asyncio.sleep(0.02)
        await wire.json({"error": {"message": "busy"}}, 503)


def ask(gateway: LiveGateway, model: str = "r", **more: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": model, "messages": MESSAGES, **more}, timeout=60)


def traffic(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """Something of everything: answers, a failure and who stood in for it, one that waits, one that is sent away, one that is refused, one without a price."""
    ask(gateway, stream=True)
    busy = Busy()
    upstream.script(busy)
    threads = [threading.Thread(target=ask, args=(gateway,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: gateway.app.gateway.admission.waiting == 1 and any(not thread.is_alive() for thread in threads))
    busy.go.set()
    for thread in threads:
        thread.join(60)
    ask(gateway, "two/made-up")
    httpx.post(f"{gateway.url}/v1/chat/completions", content=b"{", timeout=60)


def until(true: Any, wait_s: float = 60.0) -> None:
    deadline = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labels]:
    """The names of all samples of a live gateway with a controller, an engine and an adapter, and the labels of each."""
    directory = tmp_path_factory.mktemp("shown")
    with Collector() as collector, UpstreamServer() as first, UpstreamServer() as second:
        local, hosted = engine_world.body(directory), two_providers(first, second, slo={"ttft_ms": 400, "total_ms": 5000}, budget={"usd_per_day": 20})
        body = {
            **local,
            **hosted,
            "server": {**hosted["server"], "max_in_flight": 1, "max_queue": 1},
            "routes": {**local["routes"], **hosted["routes"]},
            "telemetry": {"otlp_endpoint": collector.url},
        }
        with LiveGateway(directory, body) as gateway:
            yield asyncio.run(watched(gateway, first, directory))


async def watched(gateway: LiveGateway, upstream: UpstreamServer, directory: Path) -> Labels:
    controller, stop = Controller(gateway.config, time.time, {}), asyncio.Event()
    task = asyncio.ensure_future(controller.run(stop))
    try:
        return await asyncio.to_thread(scraped, gateway, upstream, directory)
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


def scraped(gateway: LiveGateway, upstream: UpstreamServer, directory: Path) -> Labels:
    def replicas() -> list[str]:
        with reading(gateway.database) as conn:
            return [replica.state for replica in registry.replicas(conn)]

    until(lambda: replicas() == ["ready"])
    number = int(adapters.added(gateway.database, gateway.config, Asked("colour", engine_world.adapter(directory, "red")), time.time(), {})["version"])
    adapters.carried_out(gateway.database, gateway.config, Change("promote", "colour", number), 60, (time.time, time.sleep))
    with writing(gateway.database) as conn:
        minute = {"engine": "local", "minute": int(time.time() // 60), "milliseconds": 60_000, "closed_at": 1.0, "stale": False}
        conn.execute(insert(engine_minutes).values(**minute, bill_nanousd=5, allocated_nanousd=3, idle_nanousd=2))
        drift.put_state(conn, drift.State(("plain", "colour", number), "none", 1.0, (), None, None, 1, {}, {}, time.time()))
    traffic(gateway, upstream)
    found: Labels = {}

    def everything() -> bool:
        found.clear()
        for family in text_string_to_metric_families(httpx.get(f"{gateway.url}/metrics", timeout=60).text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        return {"breakeven_gpu_cost_usd_total", "breakeven_adapter_live_version", "breakeven_drift_level"} <= set(found)

    until(everything)
    return found


def wrong(query: Query, shown: Labels) -> str | None:
    """What a query names that is not there."""
    if not query.metrics and "up{" not in query.text:
        return "names no metric of ours"
    known = set(_OF_PROMETHEUS)
    for name in query.metrics:
        if name not in shown and name not in recorded():
            return f"there is no {name}"
        known |= shown[name] if name in shown else Query(name, recorded()[name]).grouped
    for name, labels in query.selected:
        if not labels <= shown.get(name, set()) | _OF_PROMETHEUS:
            return f"{name} has no labels {labels - shown.get(name, set())}"
    return None if query.grouped <= known else f"groups by {query.grouped - known}, which nothing has"


def test_they_name_only_what_exists(shown: Labels) -> None:
    """Every metric has a sample in a live scrape, or is recorded by a rule; every label that is selected or grouped by is one of the metric's."""
    assert {query.where: found for query in queries() if (found := wrong(query, shown))} == {}
    assert wrong(Query("", "sum(breakeven_nothing)"), shown) == "there is no breakeven_nothing"
    assert wrong(Query("", 'breakeven_requests_total{model="x"}'), shown) == "breakeven_requests_total has no labels {'model'}"
    assert wrong(Query("", "sum by (model) (breakeven_requests_total)"), shown) == "groups by {'model'}, which nothing has"


def test_every_query_is_looked_at() -> None:
    """A look at what the test above reads, so that it cannot pass by finding nothing."""
    found = queries()
    assert len(found) > 80
    assert Query("", 'sum by (route) (rate(breakeven_x_total{outcome=~"a|b"}[5m])) > on (route) route:breakeven_y:rate5m').metrics == {
        "breakeven_x_total",
        "route:breakeven_y:rate5m",
    }
    assert Query("", 'a{b="c{",d!~"e"}').selected == [("a", {"b", "d"})]
