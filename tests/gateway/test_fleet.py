"""The fleet of a process: what changes in the database is seen within a second, a view is swapped whole, decisions can be asked for without calling anyone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from gateway import fleet as fleet_module
from gateway.fleet import Fleet
from router.errors import RequestError
from serving import replica_table
from serving.database import writing
from serving.views import ReplicaView
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, answers

MESSAGES = [{"role": "user", "content": "hi"}]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def with_engine(upstream: UpstreamServer, fallback: UpstreamServer) -> dict[str, object]:
    body = two_providers(upstream, fallback)
    body["engines"] = {"local": {"urls": ["http://127.0.0.1:1"]}}
    body["routes"]["e"] = {"candidates": [{"provider": "two", "model": "m"}, {"engine": "local"}]}
    return body


def put(gateway: LiveGateway, index: int, url: str, *, healthy: bool = True) -> None:
    with writing(gateway.database) as conn:
        replica_table.put(conn, ReplicaView("local", index, url, "ready", healthy, 0, "", model="local", max_model_len=4096), 1.0)


def test_a_replica_that_comes_up_is_used(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The free local candidate is taken once the registry says it is healthy, by the name the engine knows, at no hosted cost."""
    gateway = start(with_engine(upstream, fallback))
    with httpx.Client(base_url=gateway.url) as client:
        assert client.post("/v1/chat/completions", json={"model": "e", "messages": MESSAGES}).headers["x-breakeven-backend"] == "two/m"
        put(gateway, 0, upstream.url)
        until(lambda: client.post("/v1/chat/completions", json={"model": "e", "messages": MESSAGES}).headers["x-breakeven-backend"] == "local")
    assert upstream.seen[0].path == "/v1/chat/completions"
    assert upstream.seen[0].body["model"] == "local"
    assert "authorization" not in upstream.seen[0].headers
    until(lambda: any(row.backend == "local" for row in gateway.rows()))
    row = next(row for row in gateway.rows() if row.backend == "local")
    assert (row.cost_nanousd, row.cost_state, row.opportunity_nanousd, row.attempts[0].kind) == (0, "known", 0, "local")
    assert row.all_hosted_nanousd == 150_000


def test_the_least_busy_replica_answers(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """While one replica is busy the other is called."""
    gateway = start(with_engine(upstream, fallback))
    put(gateway, 0, upstream.url)
    put(gateway, 1, fallback.url)

    async def slow(wire: Wire) -> None:
        await wire.until_closed()

    upstream.script(slow)
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    with httpx.Client(base_url=gateway.url, timeout=2) as client:
        import threading

        def first() -> None:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json={"model": "local", "messages": MESSAGES})

        thread = threading.Thread(target=first, daemon=True)
        thread.start()
        until(lambda: upstream.seen)
        for _ in range(3):
            assert httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "local", "messages": MESSAGES}).status_code == 200
        thread.join(30)
    assert (len(upstream.seen), len(fallback.seen)) == (1, 3)


def test_a_dead_replica_is_passed_over(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A refused connection tries the next replica, pinned or not, and the dead one is left alone for a while."""
    gateway = start(with_engine(upstream, fallback))
    put(gateway, 0, "http://127.0.0.1:1")
    put(gateway, 1, upstream.url)
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    with httpx.Client(base_url=gateway.url) as client:
        for _ in range(2):
            assert client.post("/v1/chat/completions", json={"model": "local", "messages": MESSAGES}).status_code == 200
    first, second = gateway.rows(2)
    assert [attempt.error for attempt in first.attempts] == ["upstream_unreachable", None]
    assert len(second.attempts) == 1
    assert first.reason == "pinned"


def test_a_dead_engine_costs_one_detour(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """All replicas dead: hosted answers, and while they are suspected they are not even tried."""
    gateway = start(with_engine(upstream, fallback))
    put(gateway, 0, "http://127.0.0.1:1")
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    with httpx.Client(base_url=gateway.url) as client:
        for _ in range(3):
            assert client.post("/v1/chat/completions", json={"model": "e", "messages": MESSAGES}).headers["x-breakeven-backend"] == "two/m"
        assert client.post("/v1/chat/completions", json={"model": "local", "messages": MESSAGES}).json()["error"]["code"] == "no_candidate"
    assert [len(row.attempts) for row in gateway.rows(4)] == [2, 1, 1, 0]


def test_explain_calls_nobody(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The decision a request would get, for routes and pins; errors as for the request."""
    fleet = pair.app.gateway.fleet
    made = fleet.explain("r", {"messages": MESSAGES, "max_tokens": 5})
    assert (made.chosen, made.order, made.features.max_tokens) == ("one/m", ("one/m", "two/m"), 5)
    assert fleet.plan(fleet.view, "r").snapshot_of(made.snapshot_digest).digest == made.snapshot_digest
    assert fleet.explain("two/m", {"messages": MESSAGES}).chosen == "two/m"
    assert fleet.explain("r", {"messages": MESSAGES}, hosted_left=False).chosen is None
    with pytest.raises(RequestError):
        fleet.explain("r", {"messages": "x"})
    assert not upstream.seen


def test_a_pin_that_is_a_route(pair: LiveGateway) -> None:
    """The message says what a pin may be."""
    fleet = pair.app.gateway.fleet
    with pytest.raises(RequestError, match="is a route; name a candidate"):
        fleet.plan(fleet.view, "r", "r")


def test_pinned_plans_do_not_pile_up(pair: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names clients invent, memory stays bounded; the same name is planned once."""
    monkeypatch.setattr(fleet_module, "_MOST_PINNED", 10)
    fleet = pair.app.gateway.fleet
    pair.call(lambda: [fleet.plan(fleet.view, f"one/x{i}") for i in range(50)])
    assert len(fleet._pinned) <= 10
    assert fleet.plan(fleet.view, "one/m") is fleet.plan(fleet.view, "one/m")
    old = replace(fleet.view)
    assert fleet.plan(old, "one/m") is not fleet.plan(fleet.view, "one/m")


def test_a_database_that_does_not_answer_changes_nothing(pair: LiveGateway, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go on with what is known; it shows in the metrics and heals by itself."""

    def broken(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    fleet = pair.app.gateway.fleet
    with monkeypatch.context() as patch:
        patch.setattr(fleet_module, "_read", broken)
        until(lambda: fleet.stale_since is not None)
        assert client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES}).status_code == 200
        stale = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("breakeven_fleet_stale_seconds"))
        assert float(stale.split()[1]) > 0
    until(lambda: fleet.stale_since is None)


def test_prices_are_renewed_without_a_change(pair: LiveGateway) -> None:
    """Prices have dates, so the view is built anew from time to time; otherwise an unchanged database leaves it alone."""
    fleet: Fleet = pair.app.gateway.fleet
    before = fleet.view
    assert pair.run(fleet.refresh()) is False
    assert fleet.view is before
    pair.call(lambda: setattr(fleet, "_built_at", fleet._built_at - 3600))
    until(lambda: fleet.view is not before)


def test_a_reload_is_whole(pair: LiveGateway, client: httpx.Client, upstream: UpstreamServer) -> None:
    """A request under way keeps the plan it started with."""
    import json
    import threading

    release = threading.Event()

    async def held(wire: Wire) -> None:
        import asyncio

        await asyncio.to_thread(release.wait, 5)
        await answers(wire)

    upstream.script(held)
    path = pair.directory / "breakeven.yaml"
    config = json.loads(path.read_text())
    results: list[httpx.Response] = []
    with httpx.Client(base_url=pair.url, timeout=20) as other:
        thread = threading.Thread(target=lambda: results.append(other.post("/v1/chat/completions", json={"model": "one/m", "messages": MESSAGES})), daemon=True)
        thread.start()
        until(lambda: upstream.seen)
        config["routes"].clear()
        config["routes"]["s"] = {"candidates": [{"provider": "two", "model": "m"}]}
        path.write_text(json.dumps(config))
        assert client.post("/admin/reload").status_code == 200
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["s"]
        release.set()
        thread.join(30)
    assert results[0].status_code == 200
