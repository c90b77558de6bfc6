"""Streams that crawl: the arithmetic, and the way they end over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import pace as pace_module
from gateway.pace import WINDOW_S, Pace
from router.types import Outcome
from tests.gateway.conftest import TIMEOUTS, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import DONE, ROLE, STOP, Script, UpstreamServer, Wire, words

MESSAGES = [{"role": "user", "content": "Hi"}]


def test_a_window_begins_again_when_its_quota_is_there() -> None:
    """Two tokens a second of four bytes each: forty bytes in five seconds of waiting."""
    pace = Pace(2.0, 4.0, 100)
    assert pace.left_ms == WINDOW_S * 1000.0
    pace.waited(3.0, 139)
    assert pace.left_ms == 2000.0
    pace.waited(1.5, 140)
    assert pace.left_ms == WINDOW_S * 1000.0
    pace.waited(6.0, 179)
    assert pace.left_ms == 0.0


@given(st.floats(0.1, 100.0), st.floats(1.0, 3.0), st.lists(st.floats(0.001, 1.0), min_size=1, max_size=60))
def test_who_keeps_the_pace_is_never_late(rate: float, ahead: float, pauses: list[float]) -> None:
    """A stream that makes in every pause what it should, and more, is never out of time. Bytes are whole: at a slow pace a total that is rounded once may
    lag behind within a window, and that is late."""
    pace, size = Pace(rate, 4.0, 0), 0
    for pause in pauses:
        size += int(pause * rate * 4.0 * ahead) + 1
        pace.waited(pause, size)
        assert pace.left_ms > 0.0


async def crawling(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + words("Hello")[0])
    for _ in range(200):
        await asyncio.sleep(0.05)
        try:
            await wire.chunk(words("x")[0])
        except ConnectionError:
            wire.seen.closed.set()
            raise
    await wire.until_closed()


async def brisk(wire: Wire) -> None:
    await wire.events(ROLE, *words(*["some eight " for _ in range(30)]), STOP, DONE, pause=0.02)


async def silent_tail(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + words("Hello")[0] + STOP)
    await asyncio.sleep(0.6)
    await wire.chunk(DONE)
    await wire.end()


@pytest.fixture
def gateway(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> LiveGateway:
    """Route `r` wants 20 tokens a second, measured over one second; route `any` wants nothing."""
    monkeypatch.setattr(pace_module, "WINDOW_S", 1.0)
    body = two_providers(upstream, fallback)
    body["routes"]["any"] = {**body["routes"]["r"]}
    body["routes"]["r"]["timeouts"] = {**TIMEOUTS, "min_tokens_per_s": 20}
    return start(body)


def stream(gateway: LiveGateway, model: str) -> bytes:
    return httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": model, "messages": MESSAGES, "stream": True}, timeout=30).content


def test_a_crawling_stream_ends_as_a_broken_one(gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Five tokens a second where twenty are wanted: an error event, no `[DONE]`, the upstream closed, the breaker told that it was slow."""
    upstream.script(crawling)
    said = stream(gateway, "r")
    *_, last = said.removesuffix(b"\n\n").split(b"\n\n")
    error = orjson.loads(last.removeprefix(b"data: "))["error"]
    assert (error["code"], error["type"]) == ("stream_interrupted", "server_error")
    assert "20 tokens a second" in error["message"]
    assert said.startswith(ROLE + words("Hello")[0])
    assert upstream.seen[0].closed.wait(5)
    assert not fallback.seen
    row = gateway.row()
    assert (row.outcome, row.attempts[0].error, row.usage_state) == (Outcome.UPSTREAM_ERROR, "upstream_timeout:throughput", "estimated")
    breaker = gateway.call(lambda: gateway.app.gateway.fleet.board._backends["one/m"].breaker)
    assert (breaker.slow, breaker.bad, breaker.bad_in_a_row) == (1.0, 0.0, 0)


@pytest.mark.parametrize("script", [brisk, silent_tail])
def test_other_streams_are_left_alone(gateway: LiveGateway, upstream: UpstreamServer, script: Script) -> None:
    """One that keeps the pace, and one that has finished and only lacks its last bytes."""
    upstream.script(script)
    assert stream(gateway, "r").endswith(DONE)
    assert gateway.row().outcome is Outcome.OK


def test_without_a_floor_a_stream_may_crawl(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """Off unless the route says so."""

    async def slowly(wire: Wire) -> None:
        await wire.events(ROLE, *words("a", "b", "c"), STOP, DONE, pause=0.3)

    upstream.script(slowly)
    assert stream(gateway, "any").endswith(DONE)
    assert gateway.row().outcome is Outcome.OK


def test_windows_are_of_waiting_not_of_the_clock() -> None:
    """What a slow client takes is not held against the stream: only `waited` moves the window."""
    pace = Pace(1.0, 4.0, 0)
    lefts = []
    for _ in range(4):
        pace.waited(1.0, 1)
        lefts.append(pace.left_ms)
    assert all(earlier - later == 1000.0 for earlier, later in pairwise(lefts))
