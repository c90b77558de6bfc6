"""Waiting for a place: over real sockets who waits, in which order they go on, who is sent away with what, and that leaving takes a request out at once."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.admission import Admission
from gateway.asgi import ClientGone, Message
from gateway.metrics import Metrics
from router.errors import LimitError
from router.types import Outcome
from tests.gateway.conftest import two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, answers

MESSAGES = [{"role": "user", "content": "hi"}]


class Held:
    """An upstream script that answers only when told, one at a time or all."""

    def __init__(self) -> None:
        self.open = threading.Semaphore(0)
        self.who: list[str] = []

    async def __call__(self, wire: Wire) -> None:
        self.who.append(wire.seen.body.get("user", "?"))
        while not self.open.acquire(blocking=False):
            await asyncio.sleep(0.002)
        await answers(wire)

    def let(self, count: int = 1) -> None:
        self.open.release(count)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


@pytest.fixture
def held(upstream: UpstreamServer) -> Iterator[Held]:
    script = Held()
    upstream.script(script)
    yield script
    script.let(1000)


@pytest.fixture
def narrow(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, held: Held) -> LiveGateway:
    """One place, four may wait; on route `hasty` for a second at most."""
    body = two_providers(upstream, fallback)
    body["server"] |= {"max_in_flight": 1, "max_queue": 4}
    return start(body)


@pytest.fixture
def ask(narrow: LiveGateway) -> Iterator[Callable[..., Any]]:
    """Ask in a thread: `ask(user, key, **body)` is a future of the answer."""
    with ThreadPoolExecutor(20) as pool, httpx.Client(base_url=narrow.url, timeout=30) as client:

        def begin(user: str, key: str | None = None, headers: dict[str, str] | None = None, **more: Any) -> Any:
            sent = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
            body = {"model": "r", "messages": MESSAGES, "user": user, **more}
            return pool.submit(client.post, "/v1/chat/completions", json=body, headers=sent)

        yield begin


def metric(gateway: LiveGateway, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{gateway.url}/metrics").text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def test_they_wait_and_then_are_answered(narrow: LiveGateway, ask: Callable[..., Any], held: Held) -> None:
    """Beyond the bound requests wait, none is lost, the queue shows in the metrics; waiting is not the gateway's own time."""
    asked = [ask(f"u{number}") for number in range(5)]
    until(lambda: narrow.app.gateway.admission.waiting == 4)
    assert metric(narrow, "breakeven_queue_length") == 4.0
    assert metric(narrow, "breakeven_in_flight") == 1.0
    assert len(held.who) == 1
    time.sleep(0.2)
    held.let(5)
    answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert metric(narrow, 'breakeven_queue_seconds_count{priority="normal",result="in"}') == 4.0
    assert metric(narrow, 'breakeven_queue_seconds_sum{priority="normal",result="in"}') > 0.4
    assert narrow.app.gateway.admission.running == narrow.app.gateway.admission.waiting == 0
    assert all(row.overhead_ms is not None and row.overhead_ms < 200.0 for row in narrow.rows(5)[1:])


def test_keys_take_turns_and_priorities_go_first(narrow: LiveGateway, ask: Callable[..., Any], held: Held) -> None:
    """One key has two waiting, the other one: they alternate. Within a key the header decides, or the service tier."""
    one, two = narrow.key(), narrow.key()
    asked = [ask("first", one)]
    until(lambda: held.who)
    for user, key, more in (
        ("one-normal", one, {}),
        ("one-high", one, {"service_tier": "priority"}),
        ("two-low", two, {"service_tier": "flex"}),
        ("two-normal", two, {"headers": {"x-breakeven-priority": "normal"}, "service_tier": "flex"}),
    ):
        before = narrow.app.gateway.admission.waiting
        asked.append(ask(user, key, **more))
        until(lambda before=before: narrow.app.gateway.admission.waiting == before + 1)  # type: ignore[misc]
    for count in range(5):
        held.let()
        until(lambda count=count: len(held.who) == min(5, count + 2))  # type: ignore[misc]
    assert [each.result().status_code for each in asked] == [200] * 5
    assert held.who == ["first", "one-high", "two-normal", "one-normal", "two-low"]


def test_when_the_queue_is_full(narrow: LiveGateway, ask: Callable[..., Any], held: Held) -> None:
    """Low is shed first, and a key that floods makes room for another: 503 with a wait, no row, counted by priority."""
    flood, other = narrow.key(), narrow.key()
    asked = [ask("running", flood)]
    until(lambda: held.who)
    low = ask("low", flood, headers={"x-breakeven-priority": "low"})
    until(lambda: narrow.app.gateway.admission.waiting == 1)
    waiting = []
    for number in range(3):
        waiting.append(ask(f"flood{number}", flood))
        until(lambda number=number: narrow.app.gateway.admission.waiting == number + 2)  # type: ignore[misc]
    waiting.append(ask("flood3", flood))
    shed = low.result()
    assert (shed.status_code, shed.json()["error"]["code"], shed.json()["error"]["type"]) == (503, "overloaded", "server_error")
    assert int(shed.headers["retry-after"]) >= 1
    assert shed.headers["x-request-id"].startswith("req_")
    own = ask("flood4", flood).result()
    assert own.status_code == 503
    asked.append(ask("other", other))
    assert waiting[-1].result().status_code == 503
    held.let(5)
    assert [each.result().status_code for each in (*asked, *waiting[:-1])] == [200] * 5
    assert metric(narrow, 'breakeven_shed_requests_total{priority="low",reason="full"}') == 1.0
    assert metric(narrow, 'breakeven_shed_requests_total{priority="normal",reason="full"}') == 2.0
    narrow.rows(5)


@pytest.mark.parametrize(("model", "headers"), [("hasty", {}), ("r", {"x-breakeven-slo-ms": "300"})])
def test_waiting_has_an_end(narrow: LiveGateway, ask: Callable[..., Any], held: Held, model: str, headers: dict[str, str]) -> None:
    """What waited longer than its first-token timeout or its SLO is told so; what it had reserved is free again."""
    secret = narrow.key(concurrency=2)
    first = ask("first", secret)
    until(lambda: held.who)
    late = ask("late", secret, headers=headers, model=model).result()
    assert (late.status_code, late.json()["error"]["code"]) == (503, "overloaded")
    assert "waited as long" in late.json()["error"]["message"]
    assert metric(narrow, 'breakeven_shed_requests_total{priority="normal",reason="late"}') == 1.0
    again = ask("again", secret)
    until(lambda: narrow.app.gateway.admission.waiting == 1)
    held.let(2)
    assert [first.result().status_code, again.result().status_code] == [200, 200]


def test_who_leaves_is_out_at_once(narrow: LiveGateway, ask: Callable[..., Any], held: Held) -> None:
    """A client that hangs up while it waits leaves no row, holds no place, and the next goes on."""
    first = ask("first")
    until(lambda: held.who)
    body = json.dumps({"model": "r", "messages": MESSAGES, "user": "gone"}).encode()
    with socket.create_connection(("127.0.0.1", narrow.port), 30) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        until(lambda: narrow.app.gateway.admission.waiting == 1)
    until(lambda: narrow.app.gateway.admission.waiting == 0)
    next_one = ask("next")
    until(lambda: narrow.app.gateway.admission.waiting == 1)
    held.let(2)
    assert [first.result().status_code, next_one.result().status_code] == [200, 200]
    assert held.who == ["first", "next"]
    assert [row.outcome for row in narrow.rows(2)] == [Outcome.OK, Outcome.OK]
    assert metric(narrow, 'breakeven_queue_seconds_count{priority="normal",result="gone"}') == 1.0


def test_other_endpoints_wait_too(narrow: LiveGateway, ask: Callable[..., Any], held: Held, upstream: UpstreamServer) -> None:
    """What passes through to the default provider takes a place like the rest."""
    first = ask("first")
    until(lambda: held.who)
    with ThreadPoolExecutor(1) as pool:
        passing = pool.submit(httpx.post, f"{narrow.url}/v1/moderations", json={"user": "passing"})
        until(lambda: narrow.app.gateway.admission.waiting == 1)
        held.let(2)
        assert passing.result().status_code == 200
    assert first.result().status_code == 200


def test_a_reload_changes_the_bounds(narrow: LiveGateway, ask: Callable[..., Any], held: Held) -> None:
    """More places are taken by those that wait at once; nobody is sent away by fewer."""
    asked = [ask(f"u{number}") for number in range(4)]
    until(lambda: narrow.app.gateway.admission.waiting == 3)
    narrow.call(lambda: narrow.app.gateway.admission.resize(3, 0))
    until(lambda: len(held.who) == 3)
    assert narrow.app.gateway.admission.waiting == 1
    narrow.call(lambda: narrow.app.gateway.admission.resize(1, 0))
    assert ask("more").result().status_code == 503
    held.let(4)
    assert [each.result().status_code for each in asked] == [200] * 4


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def leaves_after(seconds: float) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"}

    return receive


async def test_a_cancelled_wait_gives_its_place_on() -> None:
    """A task that is cancelled in the very turn it is let in does not keep the place; one that still waits is out."""
    admission = Admission(1, 5, Metrics())
    await admission.enter("a", "normal", 1.0, stays)
    tasks = [asyncio.create_task(admission.enter("a", "normal", 20.0, stays)) for _ in range(4)]
    await asyncio.sleep(0)
    assert admission.waiting == 4
    tasks[1].cancel()
    admission.leave()  # lets tasks[0] in ...
    tasks[0].cancel()  # ... which never learns of it
    await asyncio.wait(tasks[:3])
    assert [tasks[0].cancelled(), tasks[1].cancelled()] == [True, True]
    assert tasks[2].result() >= 0.0
    assert (admission.running, admission.waiting) == (1, 1)
    tasks[3].cancel()
    admission.leave()  # in the same turn: the cancelled one must not be let in
    await asyncio.wait(tasks)
    assert (admission.running, admission.waiting) == (0, 0)


async def test_ends_that_meet() -> None:
    """A deadline, a client that leaves and a cancellation at the same moment end one wait once."""
    admission = Admission(1, 50, Metrics())
    await admission.enter("a", "normal", 1.0, stays)
    tasks = [asyncio.create_task(admission.enter(f"k{number}", "normal", 0.01, leaves_after(0.01))) for number in range(20)]
    await asyncio.sleep(0.0095)
    for task in tasks[::3]:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, LimitError | ClientGone | asyncio.CancelledError) for end in ends)
    assert (admission.running, admission.waiting) == (1, 0)


async def test_a_free_place_costs_no_queue() -> None:
    """With places left nothing is queued, watched or timed."""
    admission = Admission(3, 0, Metrics())
    assert [await admission.enter("a", "low", 0.0, stays) for _ in range(3)] == [0.0] * 3
    with pytest.raises(LimitError) as refused:
        await admission.enter("a", "high", 1.0, stays)
    assert (refused.value.status, refused.value.code, refused.value.retry_after_s) == (503, "overloaded", 1.0)
