"""Hedges over real sockets: what the client gets, what both providers saw, and the one row that was written."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import orjson
import pytest

from gateway.quotas import Budget, Budgets
from router.types import Exchange, Outcome
from serving import replica_table
from serving.database import writing
from serving.views import ReplicaView
from tests.gateway.conftest import TIMEOUTS, price, provider, two_providers
from tests.gateway.live_gateway import LiveGateway, config_of
from tests.gateway.upstream_server import DONE, ROLE, STOP, Script, UpstreamServer, Wire, answers, completion, words

MESSAGES = [{"role": "user", "content": "Hi, where is my parcel?"}]
WHOLE = ROLE + b"".join(words("Hello", " there")) + STOP + DONE
SOON = {"after_ms": 150, "spend": 1.0}


def chat(client: httpx.Client, headers: dict[str, str] | None = None, **more: object) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES, **more}, headers=headers)


def hedged(first: UpstreamServer, second: UpstreamServer, hedge: dict[str, Any] | None = None, **route: Any) -> dict[str, Any]:
    """As `two_providers`, hedged, and `two/m` costs a tenth more, so that one answer earns the dollars for a hedge."""
    body = two_providers(first, second, hedge=hedge or SOON, **route)
    return {**body, "prices": [price("one", "m"), price("two", "m", "1.1", "2.2")]}


def after(seconds: float, then: Script = answers) -> Script:
    async def script(wire: Wire) -> None:
        await asyncio.sleep(seconds)
        await then(wire)

    return script


def status(code: int, body: object = None) -> Script:
    async def script(wire: Wire) -> None:
        await wire.json(body or {"error": {"message": f"said {code}", "type": "x", "param": None, "code": None}}, code)

    return script


async def silence(wire: Wire) -> None:
    await wire.until_closed(30)


async def head_only(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.until_closed(30)


async def role_only(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(b": processing\n\n" + ROLE)
    await wire.until_closed(30)


def attempts(row: Exchange) -> list[tuple[str, str | None]]:
    return [(each.backend, each.error) for each in row.attempts]


@pytest.fixture
def gateway(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> LiveGateway:
    """Hedged after 150 ms."""
    return start(hedged(upstream, fallback))


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[httpx.Client]:
    """A client that has had one answer, which earned the dollars for one hedge."""
    with httpx.Client(base_url=gateway.url, timeout=30) as made:
        assert chat(made).status_code == 200
        yield made


@pytest.mark.parametrize(("script", "stream"), [(silence, False), (silence, True), (head_only, True), (role_only, True)])
def test_a_first_that_does_not_answer_is_hedged(
    client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, script: Script, stream: bool
) -> None:
    """The other candidate is called beside it and wins; the first is cut off at once and billed as an estimate; one row, reason `hedge`."""
    upstream.script(script)
    answer = chat(client, stream=stream)
    assert answer.status_code == 200
    assert answer.content == (WHOLE if stream else orjson.dumps(completion(model="m")))
    assert (answer.headers["x-breakeven-backend"], answer.headers["x-breakeven-reason"]) == ("two/m", "hedge")
    assert upstream.seen[1].closed.wait(5), "the loser was not cut off"
    assert len(fallback.seen) == 1
    row = gateway.rows(2)[1]
    assert (row.outcome, row.status, row.backend, row.reason) == (Outcome.OK, 200, "two/m", "hedge")
    assert attempts(row) == [("one/m", "hedge_lost"), ("two/m", None)]
    assert (row.attempts[0].cost_state, row.attempts[1].cost_nanousd) == ("estimated", 16_500)
    assert row.cost_nanousd == sum(each.cost_nanousd or 0 for each in row.attempts)
    assert row.attempts[1].started - row.attempts[0].started >= 0.14
    assert gateway.call(gateway.app.gateway.fleet.in_flight) == 0


def test_a_first_that_answers_in_time_is_not_hedged(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Nothing else is called, nothing else is paid."""
    gateway = start(hedged(upstream, fallback, {"after_ms": 8000, "spend": 1.0}))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for _ in range(3):
            assert chat(client, stream=True).headers["x-breakeven-reason"] == "cost"
    assert not fallback.seen
    assert [attempts(row) for row in gateway.rows(3)] == [[("one/m", None)]] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_may_still_win(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, stream: bool) -> None:
    """It answers while the hedge does not: the answer is the first's, the reason the decision's, the hedge is cut off."""
    upstream.script(after(1.5))
    fallback.script(silence)
    answer = chat(client, stream=stream)
    assert answer.content == (WHOLE if stream else orjson.dumps(completion(model="m")))
    assert (answer.headers["x-breakeven-backend"], answer.headers["x-breakeven-reason"]) == ("one/m", "cost")
    assert fallback.seen[0].closed.wait(5)
    row = gateway.rows(2)[1]
    assert (row.backend, row.reason, row.usage.output) == ("one/m", "cost", 3)
    assert attempts(row) == [("two/m", "hedge_lost"), ("one/m", None)]


@pytest.mark.parametrize("code", [500, 429, 400])
def test_a_hedge_never_makes_it_worse(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, code: int) -> None:
    """Whatever is wrong with the hedge, the first is waited for."""
    upstream.script(after(1.5))
    fallback.script(status(code))
    answer = chat(client)
    assert (answer.status_code, answer.headers["x-breakeven-backend"], answer.headers["x-breakeven-reason"]) == (200, "one/m", "cost")
    assert attempts(gateway.rows(2)[1]) == [("two/m", f"http_{code}"), ("one/m", None)]


def test_what_is_wrong_with_the_request_is_final(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The first says so while the hedge is under way: the client is told at once, and the hedge is cut off."""
    body = {"error": {"message": "bad temperature", "type": "invalid_request_error", "param": "temperature", "code": "invalid_value"}}
    upstream.script(after(1.5, status(400, body)))
    fallback.script(silence)
    answer = chat(client)
    assert (answer.status_code, answer.json()) == (400, body)
    assert fallback.seen[0].closed.wait(5)
    row = gateway.rows(2)[1]
    assert (row.outcome, row.status) == (Outcome.CLIENT_ERROR, 400)
    assert attempts(row) == [("one/m", "http_400"), ("two/m", "hedge_lost")]


def test_a_first_that_fails_leaves_it_to_the_hedge(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The hedge under way is waited for, not called again."""
    upstream.script(after(1.2, status(500)))
    fallback.script(after(2.0))
    answer = chat(client, stream=True)
    assert (answer.content, answer.headers["x-breakeven-reason"]) == (WHOLE, "hedge")
    assert len(fallback.seen) == 1
    assert attempts(gateway.rows(2)[1]) == [("one/m", "http_500"), ("two/m", None)]


def test_a_first_that_fails_in_time_is_a_failover(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Before the delay is over nothing is hedged: the next candidate follows as ever."""
    gateway = start(hedged(upstream, fallback, {"after_ms": 8000, "spend": 1.0}))
    upstream.script(status(500))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        assert chat(client).headers["x-breakeven-reason"] == "failover"
    assert attempts(gateway.row()) == [("one/m", "http_500"), ("two/m", None)]


@pytest.mark.parametrize("hedge_first", [True, False])
def test_both_fail_and_the_rest_goes_on(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, hedge_first: bool) -> None:
    """The third candidate answers, whichever of the two failed first; each of them was called once."""
    with UpstreamServer() as third, ExitStack() as stack:
        body = hedged(upstream, fallback)
        body["providers"]["three"] = provider(third)
        body["prices"].append(price("three", "m", "5", "5"))
        body["routes"]["r"]["candidates"] = [{"provider": name, "model": "m"} for name in ("one", "two", "three")]
        gateway = start(body)
        client = stack.enter_context(httpx.Client(base_url=gateway.url, timeout=30))
        chat(client)
        upstream.script(after(0.8 if hedge_first else 0.4, status(503)))
        fallback.script(after(0.0 if hedge_first else 0.8, status(500)))
        answer = chat(client, stream=True)
        assert (answer.content, answer.headers["x-breakeven-backend"], answer.headers["x-breakeven-reason"]) == (WHOLE, "three/m", "failover")
        assert (len(upstream.seen), len(fallback.seen), len(third.seen)) == (2, 1, 1)
        row = gateway.rows(2)[1]
        assert attempts(row) == [("one/m", "http_503"), ("two/m", "http_500"), ("three/m", None)]


def test_both_fail_and_nobody_is_left(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """One clean error, one row."""
    upstream.script(after(0.5, status(500)))
    fallback.script(status(503))
    answer = chat(client)
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "server_error")
    row = gateway.rows(2)[1]
    assert (row.outcome, len(row.attempts)) == (Outcome.UPSTREAM_ERROR, 2)


def test_a_pinned_request_is_never_hedged(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Who names the candidate gets it, however long it takes."""
    upstream.script(after(0.6))
    assert chat(client, headers={"x-breakeven-pin": "one/m"}).headers["x-breakeven-backend"] == "one/m"
    assert not fallback.seen
    assert attempts(gateway.rows(2)[1]) == [("one/m", None)]


def test_an_open_circuit_is_no_hedge(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Also when it opened after the decision was made."""
    board = gateway.app.gateway.fleet.board

    async def opens(wire: Wire) -> None:
        for _ in range(5):
            gateway._loop.call_soon_threadsafe(board.result, "two/m", False, time.time())
        await asyncio.sleep(0.6)
        await answers(wire)

    upstream.script(opens)
    assert chat(client).headers["x-breakeven-backend"] == "one/m"
    assert not fallback.seen


def test_without_dollars_there_is_no_hedge(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A purse that has earned nothing yet, and a budget that has room for one of the two only."""
    gateway = start(hedged(upstream, fallback))
    upstream.script(after(0.6))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        assert chat(client).headers["x-breakeven-backend"] == "one/m"
        assert not fallback.seen
        tight = Budgets({"r": (Budget("route", "r", "r", "day", 20_000),)})  # what was spent before is not counted against it
        # each of the two is expected to come to more than 10,000 nano-dollars
        gateway.call(lambda: gateway.app.gateway.limits.configure(tight))
        assert chat(client).headers["x-breakeven-reason"] == "cost"
    assert not fallback.seen
    assert [attempts(row) for row in gateway.rows(2)] == [[("one/m", None)]] * 2


def test_hedges_stay_within_their_share(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Over many slow answers: what hedges cost is at most `spend` of what the route's other hosted calls cost."""
    gateway = start({**hedged(upstream, fallback, {"after_ms": 30, "spend": 0.4}), "prices": [price("one", "m"), price("two", "m", "2", "4")]})
    upstream.script(after(0.15))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for _ in range(25):
            assert chat(client, max_tokens=3).status_code == 200
    rows = gateway.rows(25)
    hedges = sum(each.cost_nanousd or 0 for row in rows for each in row.attempts if each.backend == "two/m")
    others = sum(each.cost_nanousd or 0 for row in rows for each in row.attempts if each.backend == "one/m")
    assert 0 < hedges <= 0.4 * others
    assert {row.reason for row in rows} == {"cost", "hedge"}


def test_a_client_that_leaves_closes_both(client: httpx.Client, gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Neither goes on working for nobody; one row."""
    upstream.script(silence)
    fallback.script(head_only)
    body = orjson.dumps({"model": "r", "messages": MESSAGES, "stream": True})
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        deadline = time.monotonic() + 20
        while not fallback.seen and time.monotonic() < deadline:
            time.sleep(0.01)
    assert upstream.seen[1].closed.wait(5)
    assert fallback.seen[0].closed.wait(5)
    row = gateway.rows(2)[1]
    assert (row.outcome, row.status) == (Outcome.CLIENT_GONE, 499)
    assert attempts(row) == [("one/m", "client_gone"), ("two/m", "client_gone")]
    assert gateway.call(gateway.app.gateway.fleet.in_flight) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_the_total_deadline_ends_both(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, stream: bool) -> None:
    """504, both upstreams closed, one row."""
    gateway = start(hedged(upstream, fallback, timeouts={**TIMEOUTS, "first_token_ms": 9000, "total_ms": 3000}))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        chat(client)
        upstream.script(silence)
        fallback.script(silence)
        answer = chat(client, stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
        assert upstream.seen[1].closed.wait(5)
        assert fallback.seen[0].closed.wait(5)
        row = gateway.rows(2)[1]
        assert row.outcome is Outcome.TIMEOUT
        assert attempts(row) == [("one/m", "upstream_timeout:total"), ("two/m", "upstream_timeout:total")]
        upstream.script(answers)
        assert chat(client).status_code == 200, "the connection to the client outlives it"


def test_each_has_its_own_first_token_deadline(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The first gives up at its own time, the hedge, begun later, at its own."""
    gateway = start(hedged(upstream, fallback, timeouts={**TIMEOUTS, "first_token_ms": 1500}))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        chat(client)
        upstream.script(head_only)
        fallback.script(silence)
        assert chat(client, stream=True).status_code == 504
    row = gateway.rows(2)[1]
    assert attempts(row) == [("one/m", "upstream_timeout:first_token"), ("two/m", "upstream_timeout:first_token")]
    assert all(each.total_ms >= 1490 for each in row.attempts)


def test_a_first_that_cannot_be_connected_to(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Cut off in the middle of connecting: the hedge answers, and nothing is left behind."""
    body = hedged(upstream, fallback)
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):  # whoever comes now is not accepted and not refused
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        gateway = start(body)
        client = stack.enter_context(httpx.Client(base_url=gateway.url, timeout=30))
        chat(client)
        body["providers"]["one"]["base_url"] = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        board, fleet = gateway.app.gateway.fleet.board, gateway.app.gateway.fleet
        moved = config_of(gateway.directory, body)
        gateway.call(lambda: fleet.replace_config(moved, fleet.prices))
        answer = chat(client, stream=True)
        assert (answer.content, answer.headers["x-breakeven-reason"]) == (WHOLE, "hedge")
        assert attempts(gateway.rows(2)[1]) == [("one/m", "hedge_lost"), ("two/m", None)]
        assert gateway.call(board.in_flight) == 0


def with_engine(first: UpstreamServer, replica: UpstreamServer, start: Callable[..., LiveGateway]) -> LiveGateway:
    """`one/m` and the engine `local`, whose only replica is scripted. The engine is dear enough here to go second: it was seen to miss the aim."""
    body = hedged(first, replica, slo={"total_ms": 5_000})
    body["engines"] = {"local": {"urls": [replica.url]}}
    body["routes"]["r"]["candidates"] = [{"provider": "one", "model": "m"}, {"engine": "local"}]
    gateway = start(body)
    with writing(gateway.database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, replica.url, "ready", True, 0, "", model="local", max_model_len=4096), 1.0)
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    board = gateway.app.gateway.fleet.board
    now = time.time()
    gateway.call(lambda: (board.preset("one/m", 10.0, 1.0, 20.0, now), board.preset("local", 60_000.0, 1.0, 60_000.0, now)))
    return gateway


@pytest.mark.parametrize("free", [True, False])
def test_an_engine_is_a_hedge_while_it_has_a_free_slot(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, free: bool
) -> None:
    """It costs no dollars, so an empty purse is no hindrance; but nobody waits for a slot because of somebody else's hedge."""
    gateway = with_engine(upstream, fallback, start)
    board = gateway.app.gateway.fleet.board
    if not free:
        gateway.call(lambda: [board.begin("local", fallback.url, 1.0) for _ in range(16)])
    upstream.script(silence if free else after(0.8))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        answer = chat(client)
    row = gateway.row()
    if free:
        assert (answer.headers["x-breakeven-backend"], answer.headers["x-breakeven-reason"], answer.json()["model"]) == ("local", "hedge", "local")
        assert upstream.seen[0].closed.wait(5)
        assert attempts(row) == [("one/m", "hedge_lost"), ("local", None)]
        assert (row.attempts[1].kind, row.attempts[1].cost_nanousd) == ("local", 0)
    else:
        assert answer.headers["x-breakeven-backend"] == "one/m"
        assert (len(fallback.seen), attempts(row)) == (0, [("one/m", None)])


def test_p95_is_learnt(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Without evidence nothing is hedged; with twenty answers a stream that is slower than nearly all of them is."""
    gateway = start({**hedged(upstream, fallback, {"after_ms": "p95", "spend": 1.0}), "prices": [price("one", "m"), price("two", "m", "2", "4")]})
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        upstream.script(after(0.4))
        chat(client, stream=True)
        assert not fallback.seen
        upstream.script(answers)
        for _ in range(30):
            chat(client, stream=True)
        upstream.script(silence)
        assert chat(client, stream=True).headers["x-breakeven-reason"] == "hedge"
        known = gateway.call(lambda: gateway.app.gateway.fleet.board.p95_ms("one/m", None, stream=True))
    assert known is not None
    assert upstream.seen[-1].closed.wait(5)


@pytest.mark.parametrize("stream", [False, True])
def test_a_loser_that_was_far_too_slow_is_told_to_the_breaker(
    start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer, stream: bool
) -> None:
    """Losing is no failure; having been waited for far longer than is usual is what makes a call slow."""
    gateway = start(hedged(upstream, fallback, {"after_ms": 2500, "spend": 1.0}))
    gateway.call(lambda: gateway.app.gateway.fleet.board.preset("one/m", 10.0, 1.0, 20.0, 1.0))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        chat(client, stream=stream)
        upstream.script(silence)
        assert chat(client, stream=stream).headers["x-breakeven-reason"] == "hedge"
    breaker = gateway.call(lambda: gateway.app.gateway.fleet.board._backends["one/m"].breaker)
    assert 0.5 < breaker.slow <= 1.0
    assert breaker.bad == 0.0


def test_answers_at_the_same_moment(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Whoever is first by a hair, or both at once: one whole answer, one row, one winner, nothing left in flight."""
    gateway = start(hedged(upstream, fallback, {"after_ms": 40, "spend": 1.0}))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        chat(client)
        for step in range(24):
            upstream.script(after(0.030 + 0.001 * step))
            fallback.script(after(0.0))
            answer = chat(client, stream=step % 2 == 0)
            assert answer.content == (WHOLE if step % 2 == 0 else orjson.dumps(completion(model="m")))
    rows = gateway.rows(25)
    for row in rows:
        assert (row.outcome, row.attempts[-1].backend, row.attempts[-1].error) == (Outcome.OK, row.backend, None)
        assert [each.error for each in row.attempts[:-1]] in ([], ["hedge_lost"])
        assert row.usage.output == 3
    assert gateway.call(gateway.app.gateway.fleet.in_flight) == 0
    assert gateway.call(lambda: [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("hedged")]) == []
