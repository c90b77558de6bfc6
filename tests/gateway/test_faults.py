"""Faults of providers, each a real one on a real socket: what the client gets, what both providers saw, and the row that was written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import orjson
import pytest

from router.types import Outcome
from tests.gateway.conftest import price, provider, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import DONE, ROLE, STOP, Script, UpstreamServer, Wire, answers, completion, event, words

MESSAGES = [{"role": "user", "content": "Hi, where is my parcel?"}]
WHOLE = ROLE + b"".join(words("Hello", " there")) + STOP + DONE


def chat(client: httpx.Client, model: str = "r", headers: dict[str, str] | None = None, **more: object) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES, **more}, headers=headers)


def status(code: int, body: object = None, **headers: str) -> Script:
    async def script(wire: Wire) -> None:
        await wire.json(
            body or {"error": {"message": f"said {code}", "type": "x", "param": None, "code": None}}, code, {k.replace("_", "-"): v for k, v in headers.items()}
        )

    return script


async def reset(wire: Wire) -> None:
    wire.reset()


async def silence(wire: Wire) -> None:
    await wire.until_closed()


async def slow_first_token(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(b": processing\n\n" + ROLE)
    await wire.until_closed()


async def error_first(wire: Wire) -> None:
    await wire.events(ROLE, b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n')


async def malformed_first(wire: Wire) -> None:
    await wire.events(b"data: {not json\n\n")


async def not_json(wire: Wire) -> None:
    await wire.json(b"<html>oops</html>")


async def error_in_200(wire: Wire) -> None:
    await wire.json({"error": {"message": "inside"}})


async def cut_before_token(wire: Wire) -> None:
    await wire.events(ROLE)


async def not_http(wire: Wire) -> None:
    wire.keep = False
    wire.writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await wire.writer.drain()


async def half_a_body(wire: Wire) -> None:
    wire.keep = False
    await wire.head(200, {"content-type": "application/json"}, length=5000)
    wire.writer.write(b'{"id":')
    await wire.writer.drain()


BEFORE_FIRST_BYTE: list[tuple[str, Script, bool, str]] = [
    ("429", status(429), False, "http_429"),
    ("429 retry-after", status(429, retry_after="7"), False, "http_429"),
    ("500", status(500), True, "http_500"),
    ("503", status(503), False, "http_503"),
    ("529", status(529), True, "http_529"),
    ("401 of ours", status(401), False, "http_401"),
    ("404 of ours", status(404), False, "http_404"),
    ("redirect", status(307, location="http://127.0.0.1:1/"), False, "http_307"),
    ("reset", reset, True, "upstream_reset"),
    ("silence, stream", silence, True, "upstream_timeout:first_token"),
    ("silence, whole", silence, False, "upstream_timeout:first_token"),
    ("slow first token", slow_first_token, True, "upstream_timeout:first_token"),
    ("error as first event", error_first, True, "upstream_stream_error"),
    ("malformed first chunk", malformed_first, True, "upstream_stream_error"),
    ("not JSON", not_json, False, "upstream_malformed"),
    ("a list", status(200, [1]), False, "upstream_malformed"),
    ("error in a 200", error_in_200, False, "upstream_stream_error"),
    ("cut before the first token", cut_before_token, True, "upstream_cut"),
    ("not HTTP", not_http, False, "upstream_malformed"),
    ("half a body", half_a_body, False, "upstream_cut"),
]


@pytest.mark.parametrize(("script", "stream", "error"), [fault[1:] for fault in BEFORE_FIRST_BYTE], ids=[fault[0] for fault in BEFORE_FIRST_BYTE])
def test_before_the_first_byte_the_next_candidate_answers(
    client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, script: Script, stream: bool, error: str
) -> None:
    """A failing candidate falls over to the next: a full answer, both attempts in the row with their own costs, the failed call closed."""
    upstream.script(script)
    answer = chat(client, "hasty" if error.startswith("upstream_timeout") else "r", stream=stream)
    assert answer.status_code == 200
    assert answer.content == (WHOLE if stream else orjson.dumps(completion(model="m")))
    assert answer.headers["x-breakeven-backend"] == "two/m"
    assert answer.headers["x-breakeven-reason"] == "failover"
    assert answer.headers["x-should-retry"] == "false"
    assert (len(upstream.seen), len(fallback.seen)) == (1, 1)
    row = pair.row()
    assert (row.outcome, row.status, row.backend, row.reason) == (Outcome.OK, 200, "two/m", "failover")
    assert [(a.backend, a.error) for a in row.attempts] == [("one/m", error), ("two/m", None)]
    assert row.attempts[1].cost_nanousd == 150_000
    assert row.cost_nanousd == sum(a.cost_nanousd or 0 for a in row.attempts)
    if error.startswith("upstream_timeout"):
        assert upstream.seen[0].closed.wait(2)
        assert row.attempts[0].cost_state == "estimated"
    elif error.startswith("http_"):
        assert (row.attempts[0].cost_nanousd, row.attempts[0].cost_state) == (0, "known")


async def cut(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + words("Hello")[0])
    await asyncio.sleep(0.05)  # the client has it by then: a cut in the same packet as the first words may still fall over
    wire.keep = False


async def reset_later(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + words("Hello")[0])
    await asyncio.sleep(0.05)
    wire.reset()


async def stall(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + words("Hello")[0])
    await wire.until_closed()


async def malformed_later(wire: Wire) -> None:
    await wire.events(ROLE, words("Hello")[0], b'data: {"choices":[{\n\n', STOP, DONE, pause=0.02)


async def error_later(wire: Wire) -> None:
    await wire.events(ROLE, words("Hello")[0], b'data: {"error":{"message":"the model crashed"}}\n\n', pause=0.02)


async def clean_end_without_finish(wire: Wire) -> None:
    await wire.events(ROLE, words("Hello")[0], pause=0.02)


@pytest.mark.parametrize("script", [cut, reset_later, stall, malformed_later, error_later, clean_end_without_finish])
def test_after_the_first_byte_a_broken_stream_ends_as_an_error(
    client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, script: Script
) -> None:
    """No retry, no switch, no `[DONE]`: what came, one error event, and an `upstream_error` row with what was generated billed as an estimate."""
    upstream.script(script)
    answer = chat(client, "hasty" if script is stall else "r", stream=True)
    begin, _, last = answer.content.removesuffix(b"\n\n").rpartition(b"\n\n")
    assert begin + b"\n\n" == ROLE + words("Hello")[0]
    error = orjson.loads(last.removeprefix(b"data: "))["error"]
    assert error["code"] == "stream_interrupted"
    assert error["type"] == "server_error"
    assert not fallback.seen
    row = pair.row()
    assert (row.status, row.outcome, row.usage_state, row.cost_state) == (200, Outcome.UPSTREAM_ERROR, "estimated", "estimated")
    assert row.usage.output == 1
    assert row.attempts[0].error in {"upstream_cut", "upstream_reset", "upstream_timeout:idle", "upstream_stream_error"}
    assert pair.app.gateway.fleet.in_flight() == 0


async def no_done(wire: Wire) -> None:
    await wire.events(ROLE, *words("Hello", " there"), STOP)


async def no_done_then_stall(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + b"".join(words("Hello", " there")) + STOP)
    await wire.until_closed()


async def no_done_then_reset(wire: Wire) -> None:
    await wire.head(200, {"content-type": "text/event-stream"})
    await wire.chunk(ROLE + b"".join(words("Hello", " there")) + STOP)
    await asyncio.sleep(0.05)
    wire.reset()


@pytest.mark.parametrize("script", [no_done, no_done_then_stall, no_done_then_reset])
def test_a_missing_done_is_supplied(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, script: Script) -> None:
    """After every finish_reason the answer is whole, however the upstream ends."""
    upstream.script(script)
    assert chat(client, "hasty" if script is no_done_then_stall else "r", stream=True).content == WHOLE
    row = pair.row()
    assert (row.outcome, row.usage_state) == (Outcome.OK, "estimated")


async def content_filter_stream(wire: Wire) -> None:
    await wire.events(ROLE, event({}, "content_filter"), DONE)


async def plain_answer(wire: Wire) -> None:
    await wire.json(completion(model="m"))


def test_a_provider_that_does_not_stream(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """A whole answer to a streamed request is passed on as what it is."""
    upstream.script(plain_answer)
    answer = chat(client, stream=True)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == completion(model="m")
    assert pair.row().usage.output == 3


def test_odd_choices_do_no_harm(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """What a provider sends in strange shapes is passed on; what cannot be read is estimated."""
    odd = {"choices": [None, {"text": 3}, {"message": {"content": "abcdefgh", "tool_calls": "?"}}], "usage": "none"}

    async def strange(wire: Wire) -> None:
        await wire.json(odd)

    upstream.script(strange)
    assert chat(client).json() == odd
    assert pair.row().usage_state == "estimated"


def test_content_filters_never_fail_over(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A refusal of the content goes to the client as it is, whatever status it has; a finish_reason `content_filter` is an answer."""
    body = {"error": {"message": "flagged by our content management policy", "type": "x", "param": "prompt", "code": "content_filter"}}
    for code in (400, 403):
        upstream.script(status(code, body))
        answer = chat(client)
        assert (answer.status_code, answer.json()) == (code, body)
    upstream.script(content_filter_stream)
    assert b"content_filter" in chat(client, stream=True).content
    assert not fallback.seen
    assert [row.outcome for row in pair.rows(3)][2] is Outcome.OK


@pytest.mark.parametrize("code", [400, 413, 415, 422, 409])
def test_request_errors_go_to_the_client_as_they_are(
    client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer, code: int
) -> None:
    """What is wrong with the request is wrong everywhere."""
    body = {"error": {"message": "bad temperature", "type": "invalid_request_error", "param": "temperature", "code": "invalid_value"}}
    upstream.script(status(code, body))
    answer = chat(client)
    assert (answer.status_code, answer.json()) == (code, body)
    assert not fallback.seen
    row = pair.row()
    assert (row.outcome, row.status, row.cost_nanousd) == (Outcome.CLIENT_ERROR, code, 0)


def test_a_context_length_error_has_openais_code(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """vLLM's words and numeric code become OpenAI's, so that SDKs raise what applications catch."""
    upstream.script(status(400, {"object": "error", "message": "This model's maximum context length is 512 tokens.", "type": "BadRequestError", "code": 400}))
    answer = chat(client)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "512 tokens" in answer.json()["error"]["message"]


def test_when_everyone_fails_the_last_error_is_clean(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """No candidate left: 502 or 504 in OpenAI's shape, `x-should-retry: false`, one row with both attempts."""
    upstream.script(status(500))
    fallback.script(silence)
    answer = chat(client, "hasty", stream=True)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "upstream_timeout"
    assert answer.headers["x-should-retry"] == "false"
    upstream.script(status(503))
    fallback.script(reset)
    answer = chat(client)
    assert answer.status_code == 502
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    rows = pair.rows(2)
    assert [row.outcome for row in rows] == [Outcome.TIMEOUT, Outcome.UPSTREAM_ERROR]
    assert [len(row.attempts) for row in rows] == [2, 2]


def test_retry_after_is_honoured(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A provider that asked to wait is not called again before that, and nobody sleeps."""
    upstream.script(status(429, retry_after="30"), answers)
    chat(client)
    again = chat(client)
    assert again.headers["x-breakeven-backend"] == "two/m"
    assert again.headers["x-breakeven-reason"] == "circuit"
    assert len(upstream.seen) == 1
    fallback.script(status(429, retry_after_ms="20000"))
    third = chat(client)
    assert third.status_code == 429
    assert 15 <= int(third.headers["retry-after"]) <= 20
    fourth = chat(client)
    assert fourth.status_code == 429
    assert fourth.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(fourth.headers["retry-after"]) <= 20
    assert len(fallback.seen) == 3
    assert pair.rows(4)[3].outcome is Outcome.REFUSED


def test_a_flapping_provider_is_left_alone(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """After some failures in a row the circuit opens: requests do not pay for the detour any more."""
    upstream.script(status(500))
    for _ in range(8):
        assert chat(client).status_code == 200
    assert len(upstream.seen) == 5


def test_a_stale_keep_alive_connection_is_tried_once_more(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """The server closed an idle connection while our request was on its way: repeated on a new one, and not told to anyone."""

    async def then_close(wire: Wire) -> None:
        await answers(wire)
        wire.keep = False

    upstream.script(then_close, answers)
    first = chat(client)
    second = chat(client)
    assert first.headers["x-breakeven-backend"] == second.headers["x-breakeven-backend"] == "one/m"
    assert [row.backend for row in pair.rows(2)] == ["one/m", "one/m"]


def test_a_first_reset_on_a_reused_connection_is_repeated(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer) -> None:
    """As above, with a reset that comes after the request was read."""
    upstream.script(answers, reset, answers)
    assert chat(client).status_code == 200
    assert chat(client).headers["x-breakeven-backend"] == "one/m"
    assert [seen.connection for seen in upstream.seen] == [1, 1, 2]
    assert [len(row.attempts) for row in pair.rows(2)] == [1, 1]


def test_nobody_listens(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Connection refused costs nothing and falls over."""
    body = two_providers(upstream, fallback)
    body["providers"]["one"]["base_url"] = "http://127.0.0.1:1/v1"
    gateway = start(body)
    with httpx.Client(base_url=gateway.url) as client:
        assert chat(client).headers["x-breakeven-backend"] == "two/m"
    first = gateway.row().attempts[0]
    assert (first.error, first.status, first.cost_nanousd, first.cost_state) == ("upstream_unreachable", None, 0, "known")


def test_the_total_deadline_ends_everything(start: Callable[..., LiveGateway], upstream: UpstreamServer) -> None:
    """A whole answer of the only candidate is waited for until the total deadline, and no longer."""
    upstream.script(silence)
    timeouts = {"connect_ms": 500, "first_token_ms": 100, "idle_ms": 100, "total_ms": 500}
    body = {
        "providers": {"one": provider(upstream)},
        "server": {"default_provider": "one"},
        "prices": [price("one", "m")],
        "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}], "timeouts": timeouts}},
    }
    gateway = start(body)
    began = time.monotonic()
    with httpx.Client(base_url=gateway.url) as client:
        answer = chat(client)
    assert answer.status_code == 504
    assert time.monotonic() - began > 0.4
    row = gateway.row()
    assert (row.outcome, row.attempts[0].error) == (Outcome.TIMEOUT, "upstream_timeout:total")
