"""The sixteen faults of providers by name, each over TLS and to a client that reads slowly.

Each asserts what the client got, what both providers saw, and the ledger's row. Over plain TCP most of them, with more kinds of each, are in test_faults.py;
those that are not there run plain here too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest

from gateway import connections
from router.types import Exchange, Outcome
from tests.gateway.conftest import HASTY, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.test_faults import (
    WHOLE,
    chat,
    content_filter_stream,
    cut,
    malformed_first,
    malformed_later,
    no_done,
    reset,
    silence,
    slow_first_token,
    stall,
    status,
)
from tests.gateway.upstream_server import ROLE, Script, UpstreamServer, Wire, answers, completion, words
from tests.gateway.ways import FILLING, WAYS, Authority, SlowClient, Way

FLAPPING_S = float(os.environ.get("BREAKEVEN_FLAPPING_S", "1.2"))
CONTEXT = {"error": {"message": "This model's maximum context length is 512 tokens.", "type": "invalid_request_error", "code": "context_length_exceeded"}}
FILTERED = {"error": {"message": "flagged by the content policy", "type": "invalid_request_error", "param": "prompt", "code": "content_filter"}}
PREFILL = {"error": {"message": "This model takes no assistant message at the end.", "type": "invalid_request_error", "param": "messages", "code": None}}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who vouches for the providers of this file."""
    return Authority.made(tmp_path_factory.mktemp("authority"))


everywhere = pytest.mark.parametrize("way", WAYS, indirect=True)


@pytest.fixture(params=["tls", "slow"])
def way(request: pytest.FixtureRequest, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """How bytes travel in this test."""
    connections.trust.cache_clear()
    if request.param == "tls":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    yield request.param
    connections.trust.cache_clear()


def _provider(way: Way, authority: Authority) -> UpstreamServer:
    return UpstreamServer(tls=authority.server_side if way == "tls" else None, filling=FILLING if way == "slow" else 0)


@pytest.fixture
def upstream(way: Way, authority: Authority) -> Iterator[UpstreamServer]:
    """The provider with the fault."""
    with _provider(way, authority) as server:
        yield server


@pytest.fixture
def fallback(way: Way, authority: Authority) -> Iterator[UpstreamServer]:
    """The one beside it."""
    with _provider(way, authority) as server:
        yield server


@pytest.fixture
def pair(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> LiveGateway:
    """A gateway over both. A handshake takes its time on a busy machine: silence begins only after it."""
    body = two_providers(upstream, fallback)
    body["routes"]["hasty"]["timeouts"] = {**HASTY, "first_token_ms": 3000, "idle_ms": 3000}
    return start(body)


@pytest.fixture
def client(way: Way, pair: LiveGateway) -> Iterator[Any]:
    """Who asks."""
    if way == "slow":
        yield SlowClient(pair.port)
        return
    with httpx.Client(base_url=pair.url, timeout=30) as made:
        yield made


def whole(stream: bool) -> bytes:
    return WHOLE if stream else orjson.dumps(completion(model="m"))


def passes(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, stream: bool, error: str) -> Exchange:
    """One request over a first candidate that fails with `error`: the second answers, whole, and both are in the row."""
    answer = chat(client, "hasty" if error.startswith("upstream_timeout") else "r", stream=stream)
    assert (answer.status_code, answer.content) == (200, whole(stream))
    assert (answer.headers["x-breakeven-backend"], answer.headers["x-breakeven-reason"]) == ("two/m", "failover")
    assert answer.headers["x-should-retry"] == "false"
    assert (len(upstream.seen), len(fallback.seen)) == (1, 1)
    row = pair.row()
    assert (row.outcome, row.status, row.backend, row.reason) == (Outcome.OK, 200, "two/m", "failover")
    assert [(a.backend, a.error) for a in row.attempts] == [("one/m", error), ("two/m", None)]
    assert row.attempts[1].cost_nanousd == 150_000
    assert row.cost_nanousd == sum(a.cost_nanousd or 0 for a in row.attempts)
    return row


def breaks(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, error: str) -> None:
    """One stream that breaks after its first word: the words that came, one error event, no other candidate, and an `upstream_error` row."""
    answer = chat(client, "hasty" if error.endswith("idle") else "r", stream=True)
    begin, _, last = answer.content.removesuffix(b"\n\n").rpartition(b"\n\n")
    assert (answer.status_code, begin + b"\n\n") == (200, ROLE + words("Hello")[0])
    said = orjson.loads(last.removeprefix(b"data: "))["error"]
    assert (said["code"], said["type"]) == ("stream_interrupted", "server_error")
    assert (len(upstream.seen), len(fallback.seen)) == (1, 0)
    row = pair.row()
    assert (row.status, row.outcome, row.usage_state, row.cost_state) == (200, Outcome.UPSTREAM_ERROR, "estimated", "estimated")
    assert [(a.backend, a.error) for a in row.attempts] == [("one/m", error)]
    assert pair.call(pair.app.gateway.fleet.in_flight) == 0


def refused(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, body: dict[str, Any]) -> None:
    """A refusal that is about the request: the client gets it as it is, nobody else is asked, nothing is paid."""
    answer = chat(client)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, body["error"]["message"])
    assert (answer.json()["error"]["code"], set(answer.json()["error"]) >= {"message", "type"}) == (body["error"]["code"], True)
    assert (len(upstream.seen), len(fallback.seen)) == (1, 0)
    row = pair.row()
    assert (row.outcome, row.status, row.cost_nanousd) == (Outcome.CLIENT_ERROR, 400, 0)
    assert [(a.backend, a.error) for a in row.attempts] == [("one/m", "http_400")]


def test_01_rate_limited(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """429 without Retry-After."""
    upstream.script(status(429))
    row = passes(client, pair, upstream, fallback, False, "http_429")
    assert (row.attempts[0].cost_nanousd, row.attempts[0].cost_state) == (0, "known")


def test_02_rate_limited_with_retry_after(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """429 with Retry-After: the next request does not ask there again, and nobody sleeps."""
    upstream.script(status(429, retry_after="30"), answers)
    passes(client, pair, upstream, fallback, True, "http_429")
    again = chat(client)
    assert (again.headers["x-breakeven-backend"], again.headers["x-breakeven-reason"]) == ("two/m", "circuit")
    assert (len(upstream.seen), len(pair.rows(2)[1].attempts)) == (1, 1)


@everywhere
def test_03_a_500_once(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """500 once: one request falls over, the next is answered by the first candidate again."""
    upstream.script(status(500), answers)
    passes(client, pair, upstream, fallback, False, "http_500")
    again = chat(client)
    assert (again.headers["x-breakeven-backend"], again.content) == ("one/m", whole(False))
    assert [(a.backend, a.error) for a in pair.rows(2)[1].attempts] == [("one/m", None)]
    assert (len(upstream.seen), len(fallback.seen)) == (2, 1)


def test_04_unavailable(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """503."""
    upstream.script(status(503))
    passes(client, pair, upstream, fallback, True, "http_503")


def test_05_reset(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A TCP reset instead of an answer."""
    upstream.script(reset)
    passes(client, pair, upstream, fallback, False, "upstream_reset")


@pytest.mark.parametrize("stream", [False, True])
def test_06_silence(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, stream: bool) -> None:
    """Nothing at all: the call is closed, and billed as an estimate."""
    upstream.script(silence)
    row = passes(client, pair, upstream, fallback, stream, "upstream_timeout:first_token")
    assert upstream.seen[0].closed.wait(10)
    assert row.attempts[0].cost_state == "estimated"


def test_07_slow_first_token(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A head, a comment and a role, and no token: nobody has got anything yet, so the next one answers."""
    upstream.script(slow_first_token)
    passes(client, pair, upstream, fallback, True, "upstream_timeout:first_token")
    assert upstream.seen[0].closed.wait(10)


def test_08_stream_cut(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The connection closes in the middle of a stream."""
    upstream.script(cut)
    breaks(client, pair, upstream, fallback, "upstream_cut")


def test_09_stall(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Nothing more comes: the call is closed."""
    upstream.script(stall)
    breaks(client, pair, upstream, fallback, "upstream_timeout:idle")
    assert upstream.seen[0].closed.wait(10)


def test_10_malformed_chunk(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A chunk that is no JSON, after the first words."""
    upstream.script(malformed_later)
    breaks(client, pair, upstream, fallback, "upstream_stream_error")


def test_10_malformed_first_chunk(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A chunk that is no JSON, before any word: the next one answers."""
    upstream.script(malformed_first)
    passes(client, pair, upstream, fallback, True, "upstream_stream_error")


def test_11_missing_done(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A whole answer without its [DONE]: supplied."""
    upstream.script(no_done)
    answer = chat(client, stream=True)
    assert (answer.status_code, answer.content) == (200, WHOLE)
    assert (len(upstream.seen), len(fallback.seen)) == (1, 0)
    row = pair.row()
    assert (row.outcome, row.backend, row.usage_state) == (Outcome.OK, "one/m", "estimated")


def test_12_context_length(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Too long for the model: OpenAI's code, whatever the backend's was."""
    upstream.script(status(400, {"object": "error", **CONTEXT["error"], "code": 400}))
    refused(client, pair, upstream, fallback, CONTEXT)


def test_13_content_filter(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A refusal of the content is an answer, before the first byte and as a finish_reason: never asked elsewhere."""
    upstream.script(status(400, FILTERED), content_filter_stream)
    refused(client, pair, upstream, fallback, FILTERED)
    assert b"content_filter" in chat(client, stream=True).content
    assert (len(upstream.seen), len(fallback.seen)) == (2, 0)
    assert pair.rows(2)[1].outcome is Outcome.OK


@everywhere
def test_14_prefill_reject(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """The candidate that is fallen over to does not take an assistant message at the end: its clean 400 is the answer, both calls are in the row."""
    upstream.script(status(503))
    fallback.script(status(400, PREFILL))
    messages = [{"role": "user", "content": "A colour?"}, {"role": "assistant", "content": "My colour is"}]
    answer = client.post("/v1/chat/completions", json={"model": "r", "messages": messages})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, PREFILL["error"]["message"])
    assert [seen.body["messages"] for seen in (*upstream.seen, *fallback.seen)] == [messages] * 2
    row = pair.row()
    assert (row.outcome, row.status, row.cost_nanousd) == (Outcome.CLIENT_ERROR, 400, 0)
    assert [(a.backend, a.error) for a in row.attempts] == [("one/m", "http_503"), ("two/m", "http_400")]


@everywhere
def test_15_flapping(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Up and down by turns (60 s of it in the long proofs): every answer is whole, every call is in the books, and in the end it is left alone."""
    calls = Counter[str]()

    async def flapping(wire: Wire) -> None:
        calls["one"] += 1
        await (status(503) if calls["one"] % 3 else answers)(wire)

    upstream.script(flapping)
    deadline, asked = time.monotonic() + FLAPPING_S, 0
    while time.monotonic() < deadline or asked < 3:
        assert (answer := chat(client)).status_code == 200
        assert answer.content == whole(False)
        asked += 1
        time.sleep(0.1 if FLAPPING_S > 10 else 0)
    rows = pair.rows(asked)
    assert {row.outcome for row in rows} == {Outcome.OK}
    made = Counter(attempt.backend for row in rows for attempt in row.attempts)
    assert (made["one/m"], made["two/m"]) == (len(upstream.seen), len(fallback.seen))
    assert sum(attempt.error == "http_503" for row in rows for attempt in row.attempts) == calls["one"] - calls["one"] // 3
    if asked > 20:
        assert len(upstream.seen) < asked, "the circuit never opened"


@everywhere
def test_16_accounting(client: Any, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A failover of each kind, one after the other: each row is the sum of its calls, the ledger's total is the sum of the rows, and every call was seen."""

    async def half_an_answer(wire: Wire) -> None:
        await wire.events(ROLE)

    failures: list[tuple[Script, str, bool]] = [
        (status(500), "http_500", False),
        (reset, "upstream_reset", False),
        (half_an_answer, "upstream_cut", True),
        (answers, "", False),
        (malformed_first, "upstream_stream_error", True),
    ]
    for script, _, stream in failures:
        upstream.script(script)
        assert chat(client, stream=stream).content == whole(stream)
    rows = pair.rows(len(failures))
    for row, (_, error, _) in zip(rows, failures, strict=True):
        assert [(a.backend, a.error) for a in row.attempts] == ([("one/m", error), ("two/m", None)] if error else [("one/m", None)])
        assert row.cost_nanousd == sum(a.cost_nanousd or 0 for a in row.attempts)
        assert row.attempts[-1].cost_nanousd == (150_000 if error else 15_000)
        if error.startswith("http_"):
            assert row.attempts[0].cost_nanousd == 0
    # six and not five: a first reset over a kept connection may be the server's keep-alive that ended, and is asked again over a new one
    assert (len(upstream.seen), len(fallback.seen)) == (6, 4)
    with httpx.Client(base_url=pair.url, timeout=30) as admin:
        groups = admin.get("/admin/costs", params={"group_by": "route"}).json()["data"]
    assert sum(group["hosted_nanousd"] for group in groups) == sum(row.cost_nanousd or 0 for row in rows)
    assert sum(group["requests"] for group in groups) == len(rows)


async def test_the_slow_client_is_slow() -> None:
    """What is sent to it does not fit into what is between: a sender has to wait for its reader."""
    waited = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.set_write_buffer_limits(high=16_384)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % FILLING + b"~" * FILLING)
        if writer.transport.get_write_buffer_size():
            waited.set()
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = SlowClient(server.sockets[0].getsockname()[1])
    answer = await asyncio.to_thread(client.post, "/", {})
    server.close()
    assert (answer.status_code, client.filled, waited.is_set()) == (200, FILLING, True)
