"""Providers that say how much they will still take: what is sent to them then, over real sockets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gateway.app import Options
from tests.gateway.conftest import TIMEOUTS, price, provider, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import Script, UpstreamServer, Wire, completion

MESSAGES = [{"role": "user", "content": "Hi, where is my parcel?"}]


class Clock:
    """The gateway's clock; it can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def says(**limits: str) -> Script:
    """Answers, with `x-ratelimit-*` headers."""

    async def script(wire: Wire) -> None:
        await wire.json(completion(model="m"), headers={f"x-ratelimit-{name.replace('_', '-')}": value for name, value in limits.items()})

    return script


def ask(gateway: LiveGateway, **more: object) -> httpx.Response:
    return httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "r", "messages": MESSAGES, **more}, timeout=30)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, clock: Clock) -> LiveGateway:
    """`one/m` goes first, `two/m` is the other."""
    return start(two_providers(upstream, fallback), Options(environ={}, clock=clock))


def test_a_provider_without_requests_left_is_left_alone_until_its_reset(
    gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, clock: Clock
) -> None:
    """The next request goes to the other candidate without asking; after the reset the first is asked again."""
    upstream.script(says(remaining_requests="0", reset_requests="6m0s"))
    assert ask(gateway).headers["x-breakeven-backend"] == "one/m"
    second = ask(gateway)
    assert (second.headers["x-breakeven-backend"], second.headers["x-breakeven-reason"]) == ("two/m", "circuit")
    assert (len(upstream.seen), len(fallback.seen)) == (1, 1)
    rows = gateway.rows(2)
    assert [(row.backend, len(row.attempts)) for row in rows] == [("one/m", 1), ("two/m", 1)]
    explained = gateway.call(lambda: gateway.app.gateway.fleet.explain("r", {"messages": MESSAGES}))
    assert [scored.dropped_because for scored in explained.scored] == ["rate_limit", None]
    clock.ahead = 361.0
    assert ask(gateway).headers["x-breakeven-backend"] == "one/m"


def test_a_request_that_needs_more_tokens_than_are_left_goes_elsewhere(gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A small one still goes to the first, a large one does not."""
    upstream.script(says(remaining_tokens="2000", reset_tokens="60s"))
    ask(gateway)
    large = [{"role": "user", "content": "word " * 4000}]
    assert ask(gateway, messages=large).headers["x-breakeven-backend"] == "two/m"
    assert ask(gateway).headers["x-breakeven-backend"] == "one/m"


def test_the_only_candidate_is_asked_anyway(start: Callable[..., LiveGateway], upstream: UpstreamServer) -> None:
    """The provider decides, unless it has asked to wait."""
    body = {
        "server": {"default_provider": "one"},
        "providers": {"one": provider(upstream)},
        "prices": [price("one", "m")],
        "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}], "timeouts": TIMEOUTS}},
    }
    gateway = start(body)
    upstream.script(says(remaining_requests="0", reset_requests="6m0s"))
    assert [ask(gateway).status_code for _ in range(3)] == [200, 200, 200]
    assert httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "one/m", "messages": MESSAGES}).status_code == 200

    async def refuses(wire: Wire) -> None:
        await wire.json(
            {"error": {"message": "slow down"}}, 429, {"retry-after": "30", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
        )

    upstream.script(refuses)
    assert ask(gateway).status_code == 429
    calls = len(upstream.seen)
    last = ask(gateway)
    assert (last.status_code, len(upstream.seen)) == (429, calls)
    assert 1 <= int(last.headers["retry-after"]) <= 30


def test_both_at_their_limit_are_both_asked(gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Nobody is refused for a belief: the first is asked, and when it refuses the second."""
    for server in (upstream, fallback):
        server.script(says(remaining_requests="0", reset_requests="60s"))
    assert [ask(gateway).headers["x-breakeven-backend"] for _ in range(3)] == ["one/m", "two/m", "one/m"]


def test_what_is_under_way_counts(gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Three requests are left: of eight at once three go to the first, however long they take there."""
    upstream.script(says(remaining_requests="3", reset_requests="60s"))
    ask(gateway)
    go = threading.Event()

    async def held(wire: Wire) -> None:
        while not go.is_set():
            await asyncio.sleep(0.01)
        await wire.json(completion(model="m"))

    upstream.script(held)
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(ask, gateway) for _ in range(8)]
        deadline = time.monotonic() + 20
        while len(fallback.seen) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        go.set()
        went = sorted(each.result().headers["x-breakeven-backend"] for each in running)
    assert went == ["one/m"] * 3 + ["two/m"] * 5
    assert len(upstream.seen) == 4


def test_a_refusal_says_it_too(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """The headers of a 429 without Retry-After are taken as well: the next request does not ask."""

    async def refuses(wire: Wire) -> None:
        await wire.json({"error": {"message": "slow down"}}, 429, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"})

    upstream.script(refuses)
    assert [ask(gateway).headers["x-breakeven-reason"] for _ in range(2)] == ["failover", "circuit"]
    assert len(upstream.seen) == 1
