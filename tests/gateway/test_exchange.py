"""The way of a request, over real sockets: what the client gets, what the provider saw, and the row that was written."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest

from gateway.store import captures
from router.types import Outcome, Usage
from serving.database import reading
from tests.gateway.conftest import price, provider, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import DONE, ROLE, STOP, USAGE, UpstreamServer, Wire, answers, completion, event, words

MESSAGES = [{"role": "user", "content": "Hi, where is my parcel?"}]
WHOLE = ROLE + b"".join(words("Hello", " there")) + STOP + DONE


def chat(client: httpx.Client, model: str = "r", headers: dict[str, str] | None = None, **more: object) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES, **more}, headers=headers)


def test_a_whole_answer(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The first candidate answers; bytes pass unaltered; headers, cost and one row are right."""
    answer = chat(client, temperature=0.5, future_field={"x": [1]})
    assert answer.status_code == 200
    assert answer.content == orjson.dumps(completion(model="m"))
    sent = upstream.seen[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-upstream"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.body == {"model": "m", "messages": MESSAGES, "temperature": 0.5, "future_field": {"x": [1]}}
    headers = answer.headers
    assert headers["x-breakeven-backend"] == "one/m"
    assert headers["x-breakeven-reason"] == "cost"
    assert headers["x-breakeven-cost-usd"] == "0.000015"
    assert float(headers["x-breakeven-overhead-ms"]) < 100
    assert headers["x-ratelimit-remaining-requests"] == "99"
    assert int(headers["openai-processing-ms"]) >= 0
    assert "x-should-retry" not in headers
    row = pair.row()
    assert row.id == headers["x-request-id"]
    assert row.decision_id == headers["x-breakeven-decision"]
    assert (row.route, row.backend, row.status, row.outcome, row.endpoint) == ("r", "one/m", 200, Outcome.OK, "/v1/chat/completions")
    assert (row.usage, row.usage_state, row.cost_nanousd, row.cost_state) == (Usage(9, 0, 3, 0), "provider", 15_000, "known")
    assert row.all_hosted_nanousd == 15_000
    assert row.ttft_ms is None
    assert len(row.attempts) == 1


def test_a_stream(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Usage is asked for, taken, and hidden again; everything else passes unaltered."""
    answer = chat(client, stream=True)
    assert answer.content == WHOLE
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert upstream.seen[0].body["stream_options"] == {"include_usage": True}
    row = pair.row()
    assert (row.stream, row.outcome, row.usage, row.cost_nanousd) == (True, Outcome.OK, Usage(9, 0, 3, 0), 15_000)
    assert row.ttft_ms is not None
    assert row.attempts[0].ttft_ms is not None


def test_a_stream_with_usage(client: httpx.Client) -> None:
    """A client that asked for usage gets it."""
    answer = chat(client, stream=True, stream_options={"include_usage": True})
    assert answer.content == ROLE + b"".join(words("Hello", " there")) + STOP + USAGE + DONE


def test_chunks_are_relayed_as_they_arrive(client: httpx.Client, upstream: UpstreamServer) -> None:
    """The first chunk is with the client long before the last is made."""

    async def paced(wire: Wire) -> None:
        await wire.events(ROLE, *words("a", "b", "c"), STOP, DONE, pause=0.15)

    upstream.script(paced)
    seen: list[float] = []
    with client.stream("POST", "/v1/chat/completions", json={"model": "r", "messages": MESSAGES, "stream": True}) as answer:
        seen.extend(time.monotonic() for _ in answer.iter_raw())
    assert len(seen) >= 4
    assert seen[-1] - seen[0] > 0.3


def test_connections_are_reused_and_unbuffered(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Keep-alive on both sides, streams included, with TCP_NODELAY on both sockets of the gateway."""
    with httpx.Client(base_url=pair.url) as client:
        for stream in (False, True, True, False):
            chat(client, stream=stream)
        inward = [c.transport.get_extra_info("socket") for c in pair._server.server_state.connections]
        pooled = [each._transport for origin in pair.app.gateway.upstream._origins.values() for each in origin._all]
        outward = [transport.get_extra_info("socket") for transport in pooled if transport is not None]
        assert len(inward) == len(outward) == 1
        assert all(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in inward + outward)
    assert {seen.connection for seen in upstream.seen} == {1}


def test_completions_and_embeddings_are_routed(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The other two endpoints take the same way."""

    async def legacy(wire: Wire) -> None:
        await wire.json(
            {
                "id": "c",
                "object": "text_completion",
                "model": "m",
                "choices": [{"index": 0, "text": "yes", "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 4, "completion_tokens": 1},
            }
        )

    upstream.script(legacy, answers)
    assert client.post("/v1/completions", json={"model": "r", "prompt": "Is it?"}).json()["choices"][0]["text"] == "yes"
    assert client.post("/v1/embeddings", json={"model": "r", "input": ["a", "b"]}).json()["data"][0]["embedding"] == [0.5]
    assert [seen.path for seen in upstream.seen] == ["/v1/completions", "/v1/embeddings"]
    assert [(row.endpoint, row.usage.input, row.cost_nanousd) for row in pair.rows(2)] == [("/v1/completions", 4, 6_000), ("/v1/embeddings", 4, 4_000)]


async def slow_whole(wire: Wire) -> None:
    await wire.until_closed()


async def slow_stream(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + b"".join(words("Hello", " there", " you")))
    await wire.until_closed()


async def slow_head(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.until_closed()


@pytest.mark.parametrize(
    ("script", "stream", "read", "output"), [(slow_whole, False, 0, 0), (slow_whole, True, 0, 0), (slow_head, True, 0, 0), (slow_stream, True, 1, 4)]
)
def test_a_client_that_leaves_closes_the_upstream(
    start: Callable[..., LiveGateway],
    upstream: UpstreamServer,
    fallback: UpstreamServer,
    script: Callable[[Wire], object],
    stream: bool,
    read: int,
    output: int,
) -> None:
    """On every path, before and after the first token: the upstream is closed at once, nothing else is tried, what was made is billed as an estimate."""
    upstream.script(script)  # type: ignore[arg-type]
    gateway = start(two_providers(upstream, fallback))
    body = orjson.dumps({"model": "r", "messages": MESSAGES, "stream": stream})
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        deadline = time.monotonic() + 20
        while not upstream.seen and time.monotonic() < deadline:
            time.sleep(0.005)
        if read:
            assert raw.recv(65536).startswith(b"HTTP/1.1 200")
    assert upstream.seen[0].closed.wait(1), "the upstream was not closed"
    row = gateway.row()
    assert (row.outcome, row.status) == (Outcome.CLIENT_GONE, 200 if read else 499)
    assert (row.usage_state, row.usage.output, row.cost_state) == ("estimated", output, "estimated")
    assert row.attempts[0].error == "client_gone"
    assert not fallback.seen
    assert gateway.app.gateway.fleet.in_flight() == 0
    assert gateway.app.gateway.admission.running == 0


def test_a_half_sent_body_leaves_no_row(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """A client that goes before its request is whole was never admitted."""
    with socket.create_connection(("127.0.0.1", pair.port), 30) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{")
        time.sleep(0.1)
    with httpx.Client(base_url=pair.url) as client:
        chat(client)
    assert pair.row().outcome is Outcome.OK
    assert pair.app.gateway.admission.running == 0


def test_a_server_that_stops_books_what_it_cuts(pair: LiveGateway, upstream: UpstreamServer) -> None:
    """A request that outlives the drain is settled as interrupted, not lost."""
    upstream.script(slow_stream)
    with (
        httpx.Client(base_url=pair.url, timeout=20) as client,
        client.stream("POST", "/v1/chat/completions", json={"model": "r", "messages": MESSAGES, "stream": True}) as answer,
    ):
        chunks = answer.iter_raw()
        next(chunks)
        pair.call(lambda: [task.cancel() for task in asyncio.all_tasks() if "run_asgi" in str(task.get_coro())])
        with pytest.raises(httpx.HTTPError):
            list(chunks)
    row = pair.row()
    assert (row.outcome, row.attempts[0].error) == (Outcome.INTERRUPTED, "interrupted")
    assert upstream.seen[0].closed.wait(2)


def test_pins(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A pinned candidate is called whatever it costs, and nothing else is when it fails."""
    answer = chat(client, headers={"x-breakeven-pin": "two/m"})
    assert answer.headers["x-breakeven-backend"] == "two/m"
    assert answer.headers["x-breakeven-reason"] == "pinned"

    async def failing(wire: Wire) -> None:
        await wire.json({"error": {"message": "no"}}, 500)

    fallback.script(failing)
    assert chat(client, headers={"x-breakeven-pin": "two/m"}).status_code == 502
    assert chat(client, model="two/m").status_code == 502
    assert not upstream.seen
    assert chat(client, model="one/other").status_code == 200
    assert upstream.seen[0].body["model"] == "other"
    rows = pair.rows(4)
    assert [row.route for row in rows] == ["r", "r", None, None]
    assert (rows[3].cost_nanousd, rows[3].cost_state) == (None, "unknown")


def test_tags_and_slo(client: httpx.Client, pair: LiveGateway) -> None:
    """Tags reach the ledger; the wished SLO reaches the decision."""
    chat(client, headers={"x-breakeven-tags": "team=support, tier=gold", "x-breakeven-slo-ms": "1500"})
    assert pair.row().tags == {"team": "support", "tier": "gold"}


@pytest.mark.parametrize(("header", "value"), [("pin", "r"), ("pin", ""), ("slo-ms", "fast"), ("tags", "x"), ("no-capture", "yes please")])
def test_wrong_wishes_say_what_to_change(client: httpx.Client, pair: LiveGateway, header: str, value: str) -> None:
    """A header that cannot be understood is a 400 that names it."""
    answer = chat(client, headers={f"x-breakeven-{header}": value})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_header"
    assert header in answer.json()["error"]["param"]
    assert pair.rows() == []


def test_captures(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Sampled conversations are kept, redacted, streams included; not for pins, and not when the client says no."""
    tools = [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    async def with_tools(wire: Wire) -> None:
        body = completion(model="m")
        body["choices"][0]["message"] |= {"content": None, "tool_calls": tools}
        await wire.json(body)

    upstream.script(answers, answers, with_tools, answers)
    gateway = start(two_providers(upstream, fallback, capture={"sample": 1.0}))
    with httpx.Client(base_url=gateway.url) as client:
        chat(client, messages=[{"role": "user", "content": "I am jo@example.com"}])
        chat(client, stream=True)
        chat(client)
        chat(client, headers={"x-breakeven-no-capture": "1"})
        chat(client, headers={"x-breakeven-pin": "one/m"})
        chat(client, model="one/m")
        client.post("/v1/chat/completions", json={"model": "r"})
    gateway.rows(6)
    with reading(gateway.database) as conn:
        kept = list(captures.iterate(conn, "r"))
    assert [(each.response, each.finish, each.backend) for each in kept] == [
        ("Hello there", "stop", "one/m"),
        ("Hello there", "stop", "one/m"),
        ("", "stop", "one/m"),
    ]
    assert "jo@example.com" not in str(kept[0].request)
    assert list(kept[2].tool_calls) == tools


def test_no_capture_by_default(client: httpx.Client, pair: LiveGateway) -> None:
    """Nothing is kept unless the route says so."""
    chat(client)
    pair.rows(1)
    with reading(pair.database) as conn:
        assert list(captures.iterate(conn, "r")) == []


def test_a_spent_budget_drops_hosted(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Dollars are reserved before and settled after the call; when they are spent the client gets OpenAI's insufficient_quota."""
    gateway = start(two_providers(upstream, fallback, budget={"usd_per_day": 0.0005}))
    with httpx.Client(base_url=gateway.url) as client:
        codes = [chat(client, max_tokens=50).status_code for _ in range(60)]
        last = chat(client, max_tokens=50)
    answered = codes.count(200)
    assert codes == [200] * answered + [429] * (60 - answered)
    assert 20 <= answered <= 33
    assert last.json()["error"]["code"] == "insufficient_quota"
    assert last.json()["error"]["type"] == "insufficient_quota"
    assert int(last.headers["retry-after"]) <= 86_400
    rows = gateway.rows(61)
    assert sum(row.cost_nanousd or 0 for row in rows) <= 500_000
    assert rows[-1].outcome is Outcome.REFUSED
    assert gateway.call(lambda: gateway.app.gateway.limits.spent_today("r", time.time())) == sum(row.cost_nanousd or 0 for row in rows)


def test_a_restart_remembers_what_was_spent(tmp_path: Path, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Budgets and estimators start from the ledger."""
    body = two_providers(upstream, fallback, budget={"usd_per_day": 0.00002})
    with LiveGateway(tmp_path, body) as first, httpx.Client(base_url=first.url) as client:
        assert chat(client, max_tokens=1).status_code == 200
        first.rows(1)
    with LiveGateway(tmp_path, body) as second, httpx.Client(base_url=second.url) as client:
        live = second.call(lambda: second.app.gateway.fleet.live(second.app.gateway.fleet.view.routes["r"]))
        assert live["one/m"].output_tokens == 3.0
        assert live["one/m"].ttft_ms is not None
        assert chat(client, max_tokens=10).json()["error"]["code"] == "insufficient_quota"


def test_the_gateways_own_capacity(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Beyond the bound a request is refused at once with 503 and a wait, and leaves no row."""
    upstream.script(slow_whole)
    body = two_providers(upstream, fallback)
    body["server"] |= {"max_in_flight": 1, "max_queue": 0}
    gateway = start(body)
    with httpx.Client(base_url=gateway.url) as one, httpx.Client(base_url=gateway.url) as two, one.stream("GET", "/healthz"):
        thread_body = orjson.dumps({"model": "r", "messages": MESSAGES})
        with socket.create_connection(("127.0.0.1", gateway.port), 30) as raw:
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(thread_body), thread_body))
            deadline = time.monotonic() + 20
            while not upstream.seen and time.monotonic() < deadline:
                time.sleep(0.005)
            answer = chat(two)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"].startswith("req_")
    assert gateway.row().outcome is Outcome.CLIENT_GONE


def test_a_ledger_that_cannot_be_written_refuses(pair: LiveGateway, client: httpx.Client, upstream: UpstreamServer) -> None:
    """No row, no answer: 503 before anyone is called, and a reservation is given back."""
    secret = pair.key(concurrency=1)
    gateway = pair.app.gateway
    pair.call(lambda: setattr(gateway.spool, "_max_backlog", 1))
    for _ in range(2):
        answer = chat(client, headers={"authorization": f"Bearer {secret}"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert not upstream.seen


def test_a_price_that_depends_on_the_tier(start: Callable[..., LiveGateway], upstream: UpstreamServer) -> None:
    """The service tier of the answer decides its price; a tier nobody has priced makes the cost unknown, never a guess."""

    async def tiers(wire: Wire) -> None:
        tier = wire.seen.body["service_tier"]
        if wire.seen.body.get("stream"):
            await wire.events(ROLE, event({"content": "x"}, service_tier=tier), STOP, USAGE, DONE)
        else:
            await wire.json(completion(model="gpt-4o-mini", service_tier=tier))

    upstream.script(tiers)
    config = {
        "providers": {"openai": {"kind": "openai", "base_url": f"{upstream.url}/v1", "api_key": "k"}},
        "routes": {"r": {"candidates": [{"provider": "openai", "model": "gpt-4o-mini"}]}},
    }
    gateway = start(config)
    with httpx.Client(base_url=gateway.url) as client:
        for stream in (False, True):
            for tier in ("default", "made-up"):
                chat(client, stream=stream, service_tier=tier)
    assert [(row.cost_nanousd, row.cost_state) for row in gateway.rows(4)] == [(3_150, "known"), (None, "unknown")] * 2


def test_only_the_hosted_can(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """An engine without a replica is merely infeasible: the hosted candidate answers, and alone it is a 503 in words."""
    body = two_providers(upstream, fallback)
    body["engines"] = {"local": {"urls": ["http://127.0.0.1:1"]}}
    body["routes"]["both"] = {"candidates": [{"provider": "one", "model": "m"}, {"engine": "local"}]}
    body["routes"]["alone"] = {"candidates": [{"engine": "local"}, {"engine": "local", "adapter": "a"}]}
    gateway = start(body)
    with httpx.Client(base_url=gateway.url) as client:
        assert chat(client, model="both").headers["x-breakeven-backend"] == "one/m"
        answer = chat(client, model="alone")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_candidate")
    assert "unhealthy" in answer.json()["error"]["message"]


def test_what_no_candidate_can(client: httpx.Client, start: Callable[..., LiveGateway], pair: LiveGateway) -> None:
    """Too long for every candidate is OpenAI's context_length_exceeded without calling anyone."""
    long = [{"role": "user", "content": "word " * 800_000}]
    known = {
        "providers": {"openai": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "api_key": "k"}},
        "routes": {"r": {"candidates": [{"provider": "openai", "model": "gpt-4o-mini"}]}},
    }
    gateway = start({**known, "database": f"sqlite:///{pair.directory / 'other.db'}", "server": {"data_dir": str(pair.directory / "other")}})
    with httpx.Client(base_url=gateway.url, timeout=20) as other:
        answer = chat(other, messages=long)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "128000 tokens" in answer.json()["error"]["message"]
    assert gateway.row().outcome is Outcome.CLIENT_ERROR


def test_limits_of_a_key(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """Requests per minute: `x-ratelimit-*` of the key on every answer, then 429 with `Retry-After`."""
    secret = pair.key(rpm=2, tpm=100_000)
    headers = {"authorization": f"Bearer {secret}"}
    first = chat(client, headers=headers)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert chat(client, headers=headers).status_code == 200
    third = chat(client, headers=headers)
    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(upstream.seen) == 2


def test_a_keys_dollars(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """A key without hosted dollars gets free answers only."""
    secret = pair.key(nanousd_per_day=0)
    answer = chat(client, headers={"authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert not upstream.seen
    assert pair.row().key_id is not None


def test_unpriced(start: Callable[..., LiveGateway], upstream: UpstreamServer) -> None:
    """Without a price the cost is unknown: no cost header, null in the row, and it still routes."""
    gateway = start(
        {"providers": {"one": provider(upstream)}, "server": {"default_provider": "one"}, "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}]}}}
    )
    with httpx.Client(base_url=gateway.url) as client:
        answer = chat(client)
    assert "x-breakeven-cost-usd" not in answer.headers
    row = gateway.row()
    assert (row.cost_nanousd, row.cost_state, row.all_hosted_nanousd) == (None, "unknown", None)


def test_a_failover_that_the_budget_forbids(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The dearer candidate is not called when its dollars are not there: the first one's error stands."""

    async def failing(wire: Wire) -> None:
        await wire.json({"error": {"message": "no"}}, 500)

    upstream.script(failing)
    body = two_providers(upstream, fallback, budget={"usd_per_day": 0.001})
    body["prices"] = [price("one", "m"), price("two", "m", "1000", "2000")]
    gateway = start(body)
    with httpx.Client(base_url=gateway.url) as client:
        assert chat(client).status_code == 502
    assert not fallback.seen
