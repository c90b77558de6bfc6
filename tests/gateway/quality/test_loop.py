"""The whole loop on real sockets: clients, the gateway, a hosted provider, a vLLM that serves two versions, and the controller's judgement."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from gateway.quality.duty import Quality
from gateway.store import shadow_pairs
from gateway.store.shadow_pairs import Pair
from router.types import Stage
from serving import registry, replica_table
from serving.database import reading, writing
from serving.verbs import Change
from serving.views import ReplicaView
from tests.gateway.conftest import price, provider
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, completion, usage
from tests.serving.making import version

LABELS = '{"label": "refund", "urgent": true}'
BROKEN = b"that is no JSON"
Start = Callable[..., LiveGateway]


class World:
    """Route `r`: `one/m` hosted, `a` on the engine `local` whose versions 1 (live) and 2 are loaded. `bad` version 2 says something else, or breaks."""

    def __init__(self, start: Start, hosted: UpstreamServer, engine: UpstreamServer, **quality: Any) -> None:
        self.engine, self.hosted, self.wrong = engine, hosted, ""
        engine.script(self._local)
        hosted.script(lambda wire: wire.json(completion(LABELS)))
        both = [{"provider": "one", "model": "m"}, {"engine": "local", "adapter": "a"}]
        self.gateway = start(
            {
                "providers": {"one": provider(hosted)},
                "prices": [price("one", "m", "1000", "1000")],
                "engines": {"local": {"urls": [engine.url], "gpu_hour_usd": 0.01}},
                "routes": {"r": {"candidates": both, "quality": quality}},
            }
        )
        self.quality = Quality(self.gateway.database, time.time, lambda _: None)
        self._write(lambda conn: replica_table.put(conn, ReplicaView("local", 0, engine.url, "ready", True, 0, "", model="local", max_model_len=4096), 1.0))
        self.add("d1", "promote")
        self.add("d2", "load")
        self.refresh()

    async def _local(self, wire: Wire) -> None:
        if not wire.seen.body["model"].endswith("@2") or not self.wrong:
            await wire.json(completion('{"urgent": true, "label": "Refund"}'))
        elif self.wrong == "broken":
            await wire.head(200, {"content-type": "application/json"}, length=len(BROKEN))
            wire.writer.write(BROKEN)
        else:
            await wire.json(completion(self.wrong))

    def add(self, digest: str, verb: str) -> None:
        def work(conn: Any) -> None:
            number = registry.add_version(conn, version("a", 0, digest), "local", "/src", "me", time.time()).version
            registry.request(conn, Change(verb, "a", number, actor="me"), {"r": False}, time.time())  # type: ignore[arg-type]
            registry.saw(conn, ("local", 0), ("a", number), "verified", "", time.time())
            registry.apply(conn, {"local": frozenset({0})}, {"a": {"r": False}}, time.time())

        self._write(work)

    def ask(self, verb: str, number: int, **more: Any) -> None:
        self._write(lambda conn: registry.request(conn, Change(verb, "a", number, actor="me", **more), {"r": False}, time.time()))  # type: ignore[arg-type]
        self.refresh()

    def refresh(self) -> None:
        self.gateway.run(self.gateway.app.gateway.fleet.refresh(force=True))

    def chat(self, count: int) -> list[str]:
        """So many conversations through the official SDK: which backend answered each."""
        with openai.OpenAI(api_key="-", base_url=f"{self.gateway.url}/v1", max_retries=0, timeout=60) as client, ThreadPoolExecutor(4) as pool:

            def one(number: int) -> str:
                said = client.chat.completions.with_raw_response.create(model="r", messages=[{"role": "user", "content": f"{time.time()} {number}"}])
                return str(said.headers["x-breakeven-backend"])

            return list(pool.map(one, range(count)))

    def look(self) -> list[str]:
        """What the controller does: rows into the database, then a judgement; then the workers look."""
        self.gateway.rows()
        said = self.quality.look(self.gateway.config)
        self.refresh()
        return said

    def pairs(self, count: int) -> list[Pair]:
        """The comparisons, once there are so many."""
        deadline = time.monotonic() + 30
        while True:
            with reading(self.gateway.database) as conn:
                found = shadow_pairs.of_route(conn, "r", 0.0)
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) >= count
                return found
            time.sleep(0.02)

    @property
    def adapter(self) -> registry.AdapterView:
        with reading(self.gateway.database) as conn:
            return registry.view(conn, "a")

    def stage(self, number: int) -> Stage | None:
        with reading(self.gateway.database) as conn:
            return registry.stages(conn).get(("r", "a", number))

    def _write(self, work: Callable[[Any], object]) -> None:
        with writing(self.gateway.database) as conn:
            work(conn)


@pytest.fixture
def world(start: Start, upstream: UpstreamServer, fallback: UpstreamServer) -> Callable[..., World]:
    """Makes the world."""
    return lambda **quality: World(start, upstream, fallback, **quality)


def test_a_degraded_canary_is_caught_and_rolled_back_by_itself(world: Callable[..., World]) -> None:
    """It breaks its answers: no client notices, the canary ends after one judgement, and every later answer is the live version's."""
    made = world(floor=-0.2)
    made.ask("canary", 2, percent=50)
    made.wrong = "broken"
    answered = made.chat(160)
    assert "canary -> blocked" in made.look()[0]
    assert (made.adapter.canary_version, made.adapter.live, made.stage(2)) == (None, 1, Stage.BLOCKED)
    assert "local/a@2" not in answered
    assert set(made.chat(20)) == {"local/a@1"}
    body = httpx.get(f"{made.gateway.url}/admin/adapters/a", timeout=20).json()
    assert any(line["actor"] == "controller" and "failures" in line["reason"] for line in body["audit"])


def test_a_good_canary_ramps_and_opens_by_itself(world: Callable[..., World]) -> None:
    """As good as the live one: half the requests after the first judgement, all after the second."""
    made = world(floor=-0.2)
    made.ask("canary", 2, percent=50)
    made.chat(260)
    assert "canary -> ramp" in made.look()[0]
    assert {"local/a@1", "local/a@2"} == set(made.chat(260))
    assert "ramp -> open" in made.look()[0]
    assert made.adapter.live == 2
    assert set(made.chat(10)) == {"local/a@2"}


def test_a_shadow_call_is_booked_once_and_compared_and_no_clients(world: Callable[..., World]) -> None:
    """Every answer of the live version is compared with the hosted model: a row without a route that cost money, a pair with that cost, nobody waits."""
    made = world(shadow={"share": 1.0, "usd_per_day": 1.0})
    with reading(made.gateway.database) as conn:
        assert registry.stages(conn)["r", "a", 1] is Stage.OPEN
    assert made.chat(1) == ["local/a@1"]
    pair = made.pairs(1)[0]
    rows = made.gateway.rows(2)
    client, shadow = sorted(rows, key=lambda row: row.route is None)
    assert (client.route, client.cost_nanousd, client.tags) == ("r", 0, {})
    assert (shadow.route, shadow.endpoint, shadow.key_id, shadow.tags, shadow.backend) == (None, "/v1/shadow", None, {"shadow": "r"}, "one/m")
    assert shadow.cost_nanousd == 12_000_000
    assert (pair.id, pair.request_id, pair.version, pair.reference_backend, pair.cost_nanousd) == (shadow.id, client.id, 1, "one/m", 12_000_000)
    assert (pair.agreed, pair.scorer) == (1.0, "json_fields")


def test_a_version_in_shadow_is_asked_beside_and_goes_on_by_itself(world: Callable[..., World]) -> None:
    """Nobody gets its answers while they are compared; once they agree it is the canary. A wrong one is blocked."""
    made = world(floor=-0.2, shadow={"share": 1.0, "agree": 0.9})
    assert "blocked -> shadow" in made.look()[0]
    for _ in range(40):
        assert "local/a@2" not in made.chat(4)
        made.pairs(1)
        if made.look():
            break
    assert (made.adapter.canary_version, made.stage(2)) == (2, Stage.CANARY)
    assert {pair.version for pair in made.pairs(1)} == {2}
    assert {pair.reference_backend for pair in made.pairs(1)} == {"local/a@1"}


def test_the_allowance_ends_shadow_calls_and_nothing_else(world: Callable[..., World]) -> None:
    """The day's allowance is spent by one shadow call: the second is not made, clients are answered as before."""
    made = world(shadow={"share": 1.0, "usd_per_day": 0.3})
    made.hosted.script(lambda wire: wire.json(completion(LABELS, usage=usage(9, 300))))
    made.chat(1)
    made.pairs(1)
    assert made.chat(3) == ["local/a@1"] * 3
    made.gateway.call(lambda: None)  # a turn of its loop: what was to follow has begun
    assert len(made.gateway.rows(5)) == 5
    assert len(made.hosted.seen) == 1


def test_a_failed_shadow_call_is_no_verdict(world: Callable[..., World]) -> None:
    """The provider is down: the pair has no agreement."""
    made = world(shadow={"share": 1.0})
    made.hosted.script(lambda wire: wire.json({"error": {"message": "down"}}, 500))
    made.chat(1)
    pair = made.pairs(1)[0]
    assert (pair.agreed, pair.scorer) == (None, "failed")
