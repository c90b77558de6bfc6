"""What attempts teach and what they may: slow calls, probes of a circuit with nobody else, repeats at an overloaded owner. Over real sockets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.app import Options
from router import retries
from router.breaker import FIRST_OPEN_S, view
from router.types import Outcome
from tests.gateway.conftest import TIMEOUTS, price, provider, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import Script, UpstreamServer, Wire, answers

MESSAGES = [{"role": "user", "content": "Hi, where is my parcel?"}]


class Clock:
    """The gateway's clock stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ask(gateway: LiveGateway, **more: object) -> httpx.Response:
    return httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "r", "messages": MESSAGES, **more}, timeout=30)


def status(code: int, **headers: str) -> Script:
    async def script(wire: Wire) -> None:
        await wire.json({"error": {"message": "no", "type": "x", "param": None, "code": None}}, code, headers)

    return script


async def late(wire: Wire) -> None:
    await asyncio.sleep(2.5)
    await answers(wire)


def only(server: UpstreamServer) -> dict[str, Any]:
    return {
        "server": {"default_provider": "one"},
        "providers": {"one": provider(server)},
        "prices": [price("one", "m")],
        "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}], "timeouts": TIMEOUTS}},
    }


def phase(gateway: LiveGateway, clock: Clock, name: str = "one/m") -> str:
    return gateway.call(lambda: view(gateway.app.gateway.fleet.board._backends[name].breaker, clock.now))


@pytest.mark.parametrize("stream", [False, True])
def test_slow_answers_open_the_circuit_and_a_slow_probe_does_not_close_it(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, clock: Clock, stream: bool
) -> None:
    """Far above what is usual: they are answers all the same, but the next request goes elsewhere until two probes were quick."""
    gateway = start(two_providers(upstream, fallback), Options(environ={}, clock=clock))
    board = gateway.app.gateway.fleet.board
    gateway.call(lambda: board.preset("one/m", 10.0, 1.0, 20.0, clock.now))
    upstream.script(late)
    with ThreadPoolExecutor(12) as pool:
        went = [each.result() for each in [pool.submit(ask, gateway, stream=stream) for _ in range(12)]]
    assert {(answer.status_code, answer.headers["x-breakeven-backend"]) for answer in went} == {(200, "one/m")}
    state = board._backends["one/m"]
    deadline = time.monotonic() + 10
    while phase(gateway, clock) != "open":  # a stream is judged after its last byte
        assert time.monotonic() < deadline, f"{state.breaker} {state.usual_ttft} {state.usual_tpot} {state.learnt}"
        time.sleep(0.01)
    assert ask(gateway, stream=stream).headers["x-breakeven-backend"] == "two/m"
    clock.now += FIRST_OPEN_S
    assert phase(gateway, clock) == "half_open"
    pin = {"x-breakeven-pin": "one/m"}
    slow = httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "r", "messages": MESSAGES, "stream": stream}, headers=pin, timeout=30)
    assert slow.status_code == 200
    gateway.rows(14)
    assert phase(gateway, clock) == "open", "a slow probe closes nothing"
    clock.now += 2 * FIRST_OPEN_S
    upstream.script(answers)
    for _ in range(2):
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "r", "messages": MESSAGES}, headers=pin, timeout=30).status_code == 200


def test_what_is_usual_is_not_slow(start: Callable[..., LiveGateway], upstream: UpstreamServer, clock: Clock) -> None:
    """A backend that always takes its time is not broken."""

    async def steady(wire: Wire) -> None:
        await asyncio.sleep(1.0)
        await answers(wire)

    upstream.script(steady)
    gateway = start(only(upstream), Options(environ={}, clock=clock))
    with ThreadPoolExecutor(12) as pool:
        assert {each.result().status_code for each in [pool.submit(ask, gateway) for _ in range(24)]} == {200}
    assert phase(gateway, clock) == "closed"


def test_an_only_candidate_is_probed_while_its_circuit_is_open(start: Callable[..., LiveGateway], upstream: UpstreamServer, clock: Clock) -> None:
    """One request a second goes through, the rest are told when to come again; two good ones and it is closed, long before its time."""
    upstream.script(status(500))
    gateway = start(only(upstream), Options(environ={}, clock=clock))
    assert [ask(gateway).status_code for _ in range(5)] == [502] * 5
    assert phase(gateway, clock) == "open"
    assert ask(gateway).status_code == 502
    assert len(upstream.seen) == 6
    refused = ask(gateway)
    assert (refused.status_code, refused.json()["error"]["code"], refused.headers["retry-after"]) == (503, "no_candidate", "1")
    clock.now += 0.9
    assert ask(gateway).status_code == 503
    assert len(upstream.seen) == 6
    clock.now += 0.1
    upstream.script(answers)
    assert ask(gateway).status_code == 200
    assert phase(gateway, clock) == "half_open"
    assert ask(gateway).status_code == 200
    assert phase(gateway, clock) == "closed"
    assert clock.now - 1_800_000_000.0 < FIRST_OPEN_S
    assert [row.outcome for row in gateway.rows(10)].count(Outcome.REFUSED) == 2


def test_one_probe_at_a_time(start: Callable[..., LiveGateway], upstream: UpstreamServer, clock: Clock) -> None:
    """Of twenty requests at once one finds out; a probe that hangs lets no second one hang."""
    upstream.script(status(500))
    gateway = start(only(upstream), Options(environ={}, clock=clock))
    for _ in range(5):
        ask(gateway)
    go = threading.Event()

    async def hangs(wire: Wire) -> None:
        while not go.is_set():
            await asyncio.sleep(0.01)
        await answers(wire)

    upstream.script(hangs)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(ask, gateway)
        deadline = time.monotonic() + 20
        while len(upstream.seen) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        clock.now += 3.0
        others = [each.result().status_code for each in [pool.submit(ask, gateway) for _ in range(19)]]
        go.set()
        assert first.result().status_code == 200
    assert others == [503] * 19
    assert len(upstream.seen) == 6


def test_a_wait_that_was_asked_for_is_not_probed(start: Callable[..., LiveGateway], upstream: UpstreamServer, clock: Clock) -> None:
    """Retry-After is the provider's word, circuits are our guess."""
    upstream.script(status(500))
    gateway = start(only(upstream), Options(environ={}, clock=clock))
    for _ in range(5):
        ask(gateway)
    upstream.script(status(503, **{"retry-after": "20"}))
    ask(gateway)
    clock.now += 4.0
    last = ask(gateway)
    assert (last.status_code, last.headers["retry-after"], len(upstream.seen)) == (429, "16", 6)


def with_siblings(first: UpstreamServer, second: UpstreamServer) -> dict[str, Any]:
    """`one/m`, then `one/big` of the same provider, then `two/m`."""
    body = two_providers(first, second)
    body["prices"].append(price("one", "big", "5", "10"))
    body["routes"]["r"]["candidates"].insert(1, {"provider": "one", "model": "big"})
    return body


def tried(gateway: LiveGateway, count: int) -> list[list[str]]:
    return [[each.backend for each in row.attempts] for row in gateway.rows(count)]


def test_repeats_at_an_overloaded_owner_are_limited(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two in the window here: the third request leaves the provider's other model out and still gets its answer from the other provider."""
    monkeypatch.setattr(retries, "LEAST", 2)
    monkeypatch.setattr(retries, "SHARE", 0.0)
    upstream.script(status(500))
    gateway = start(with_siblings(upstream, fallback), Options(environ={}, clock=clock))
    for _ in range(3):
        clock.now += 0.001
        assert ask(gateway).headers["x-breakeven-backend"] == "two/m"
    clock.now += 2 * retries.WINDOW_S
    assert ask(gateway).headers["x-breakeven-backend"] == "two/m"
    whole, short = ["one/m", "one/big", "two/m"], ["one/m", "two/m"]
    assert tried(gateway, 4) == [whole, whole, short, whole]


def test_other_owners_and_other_reasons_are_never_limited(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any budget: another provider is always tried, and so is a sibling of a model that is merely not there."""
    monkeypatch.setattr(retries, "LEAST", 0)
    monkeypatch.setattr(retries, "SHARE", 0.0)
    upstream.script(status(404), answers, status(429))
    gateway = start(with_siblings(upstream, fallback), Options(environ={}, clock=clock))
    assert ask(gateway).headers["x-breakeven-backend"] == "one/big"
    clock.now += 0.001
    assert ask(gateway).headers["x-breakeven-backend"] == "two/m"
    assert tried(gateway, 2) == [["one/m", "one/big"], ["one/m", "two/m"]]
