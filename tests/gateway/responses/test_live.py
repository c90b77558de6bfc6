"""`/v1/responses` over real sockets, asked by the official client: what it gets, what the provider saw, and the row that was written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import OpenAI
from pydantic import BaseModel

from gateway.app import Options
from gateway.store import captures
from router.types import Outcome, Usage
from serving import replica_table
from serving.database import bump, reading, writing
from serving.views import ReplicaView
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.responses import strict
from tests.gateway.responses.conftest import mixed
from tests.gateway.responses.native_answers import EVENTS, FAILED, RESPONSE, natively, numbered, stream
from tests.gateway.upstream_server import DONE, ROLE, STOP, USAGE, UpstreamServer, Wire, completion, event, words

TOOL: dict[str, Any] = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}, "strict": False}


def post(gateway: LiveGateway, **body: Any) -> httpx.Response:
    headers = body.pop("headers", None)
    return httpx.post(f"{gateway.url}/v1/responses", json={"model": "r", "input": "Hi", **body}, headers=headers, timeout=30)


def read_in_two(gateway: LiveGateway, server: UpstreamServer, model: str, first: bytes, then: bytes) -> tuple[bytes, bytes]:
    """A stream whose second half the provider sends once the client has a delta of the first: what the client had until then, and after."""
    go_on, loops = asyncio.Event(), []

    async def held(wire: Wire) -> None:
        loops.append(asyncio.get_running_loop())
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(first)
        async with asyncio.timeout(20):
            await go_on.wait()
        await wire.chunk(then)
        await wire.end()

    server.script(held)
    before = after = b""
    with httpx.stream("POST", f"{gateway.url}/v1/responses", json={"model": model, "input": "Hi", "stream": True}, timeout=30) as answer:
        for piece in answer.iter_bytes():
            if go_on.is_set():
                after += piece
            else:
                before += piece
                if b'.delta"' in before:
                    loops[0].call_soon_threadsafe(go_on.set)
    return before, after


def test_a_translated_answer(gateway: LiveGateway, upstream: UpstreamServer, sdk: OpenAI) -> None:
    """The chat provider is asked in its words; the client gets a whole `response`; headers and the one row are those of any routed answer."""
    raw = sdk.responses.with_raw_response.create(model="r", input="Hi", instructions="Be brief", max_output_tokens=50, metadata={"a": "b"})
    body = strict.response(orjson.loads(raw.content))
    assert raw.parse().output_text == "Hello there"
    assert (body["instructions"], body["max_output_tokens"], body["metadata"], body["model"]) == ("Be brief", 50, {"a": "b"}, "m")
    seen = upstream.seen[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}], "max_tokens": 50, "model": "m"}
    assert raw.headers["x-breakeven-backend"] == "chatty/m"
    assert raw.headers["x-breakeven-cost-usd"] == "0.000015"
    row = gateway.row()
    assert row.id == raw.headers["x-request-id"]
    assert (row.endpoint, row.route, row.backend, row.status, row.outcome, row.stream) == ("/v1/responses", "r", "chatty/m", 200, Outcome.OK, False)
    assert (row.usage, row.usage_state, row.cost_nanousd) == (Usage(9, 0, 3, 0), "provider", 15_000)
    assert 'gen_ai_operation_name="responses"' in httpx.get(f"{gateway.url}/metrics").text


def test_a_translated_stream(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """Every event in its order; usage asked for; one row with its first token."""
    answer = post(gateway, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = strict.events(answer.content)
    strict.in_order(found)
    assert found[-1]["response"]["usage"]["total_tokens"] == 12
    assert upstream.seen[0].body == {"messages": [{"role": "user", "content": "Hi"}], "model": "m", "stream": True, "stream_options": {"include_usage": True}}
    row = gateway.row()
    assert (row.stream, row.outcome, row.usage, row.cost_nanousd) == (True, Outcome.OK, Usage(9, 0, 3, 0), 15_000)
    assert row.ttft_ms is not None


def test_events_are_sent_as_they_come(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """The first delta is with the client before the upstream makes the next."""
    seen = read_in_two(gateway, upstream, "r", ROLE + words("Hello")[0], words(" there")[0] + STOP + DONE)
    assert b'"delta":" there"' not in seen[0]
    strict.in_order(strict.events(b"".join(seen)))


def test_a_backend_that_does_not_stream(gateway: LiveGateway, upstream: UpstreamServer, sdk: OpenAI) -> None:
    """It was asked to and sends a whole answer: the client gets the events all the same."""

    async def whole(wire: Wire) -> None:
        await wire.json(completion())

    upstream.script(whole)
    answer = post(gateway, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    strict.in_order(strict.events(answer.content))
    assert list(sdk.responses.create(model="r", input="Hi", stream=True))[-1].type == "response.completed"
    assert [row.outcome for row in gateway.rows(2)] == [Outcome.OK] * 2


def test_the_clients_stream_helper(sdk: OpenAI, gateway: LiveGateway) -> None:
    """`responses.stream` puts the events together to the same answer."""
    with sdk.responses.stream(model="r", input="Hi") as answering:
        texts = [each.snapshot for each in answering if each.type == "response.output_text.delta"]
        final = answering.get_final_response()
    assert texts == ["Hello", "Hello there"]
    assert (final.output_text, final.status) == ("Hello there", "completed")
    assert gateway.row().outcome is Outcome.OK


class Ticket(BaseModel):
    """What an answer is parsed into."""

    intent: str
    order: int


def test_parsing_into_a_type(sdk: OpenAI, upstream: UpstreamServer) -> None:
    """Structured output: the schema goes to the backend in chat's shape, the answer comes back as an object, streamed too."""

    async def structured(wire: Wire) -> None:
        text = '{"intent":"refund","order":7}'
        if wire.seen.body.get("stream"):
            await wire.events(ROLE, *words(text[:9], text[9:]), STOP, USAGE, DONE)
        else:
            await wire.json(completion(text))

    upstream.script(structured)
    assert sdk.responses.parse(model="r", input="Refund order 7", text_format=Ticket).output_parsed == Ticket(intent="refund", order=7)
    asked = upstream.seen[0].body["response_format"]
    assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == ("json_schema", "Ticket", True)
    assert set(asked["json_schema"]["schema"]["required"]) == {"intent", "order"}
    with sdk.responses.stream(model="r", input="Refund order 7", text_format=Ticket) as answering:
        assert answering.get_final_response().output_parsed == Ticket(intent="refund", order=7)


@pytest.mark.parametrize("stored", [True, False])
def test_a_tool_and_its_result(gateway: LiveGateway, sdk: OpenAI, upstream: UpstreamServer, stored: bool) -> None:
    """The round trip, by `previous_response_id` and by sending the output back as input: the backend sees the same conversation."""
    calls = [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}]

    async def calling(wire: Wire) -> None:
        if wire.seen.body["messages"][-1]["role"] == "tool":
            await wire.json(completion("It rains."))
        else:
            message = {"role": "assistant", "content": None, "tool_calls": calls}
            await wire.json(completion(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}]))

    upstream.script(calling)
    question: list[Any] = [{"role": "user", "content": "Weather in Ulm?"}]
    first = sdk.responses.create(model="r", input=question, tools=[TOOL], store=stored)  # type: ignore[list-item]
    call = first.output[0]
    assert call.type == "function_call"
    assert (call.name, call.arguments, call.call_id) == ("weather", '{"city":"Ulm"}', "call_1")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    if stored:
        second = sdk.responses.create(model="r", input=[result], tools=[TOOL], previous_response_id=first.id)  # type: ignore[list-item]
    else:
        second = sdk.responses.create(model="r", input=[*question, *first.output, result], tools=[TOOL])  # type: ignore[list-item]
    assert second.output_text == "It rains."
    assert second.previous_response_id == (first.id if stored else None)
    assert upstream.seen[-1].body["messages"] == [
        {"role": "user", "content": "Weather in Ulm?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    assert len(gateway.rows(2)) == 2


def test_a_native_provider_is_asked_as_it_is(gateway: LiveGateway, sdk: OpenAI, fallback: UpstreamServer) -> None:
    """The provider's own endpoint, the client's own body; bytes unaltered; usage with its cached and reasoning tokens, priced by tier."""
    fallback.script(natively)
    raw = sdk.responses.with_raw_response.create(model="n", input="Hi", extra_body={"future": {"x": 1}}, tools=[{"type": "web_search"}])
    assert raw.content == orjson.dumps(RESPONSE)
    seen = fallback.seen[0]
    assert (seen.path, seen.headers["authorization"]) == ("/v1/responses", "Bearer sk-upstream")
    assert seen.body == {"model": "cheap", "input": "Hi", "future": {"x": 1}, "tools": [{"type": "web_search"}]}
    row = gateway.row()
    assert (row.backend, row.usage, row.usage_state, row.outcome) == ("native/cheap", Usage(20, 5, 7, 2), "provider", Outcome.OK)


def test_a_native_stream(gateway: LiveGateway, sdk: OpenAI, fallback: UpstreamServer) -> None:
    """Bytes unaltered, nothing asked for that the client did not; complete without `[DONE]`."""
    fallback.script(natively)
    answer = post(gateway, model="n", stream=True)
    assert answer.content == stream()
    assert fallback.seen[0].body == {"model": "cheap", "input": "Hi", "stream": True}
    row = gateway.row()
    assert (row.outcome, row.usage, row.stream) == (Outcome.OK, Usage(20, 5, 7, 2), True)
    assert row.attempts[0].ttft_ms is not None
    with sdk.responses.stream(model="n", input="Hi") as answering:
        assert answering.get_final_response().output_text == "Hello"


def test_what_chat_cannot_say_goes_to_the_native_one(gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Built-in tools, background, templates and foreign conversations: the dearer native candidate answers, and the id of its conversation is sent as it is."""
    fallback.script(natively)
    for asked in ({"tools": [{"type": "web_search"}]}, {"background": True}, {"prompt": {"id": "p"}}, {"previous_response_id": "resp_0a1b"}):
        assert post(gateway, **asked).headers["x-breakeven-backend"] == "native/m"
        assert fallback.seen[-1].body == {"model": "m", "input": "Hi", **asked}
    assert upstream.seen == []
    assert {row.backend for row in gateway.rows(4)} == {"native/m"}


def test_work_in_the_background_has_no_cost_yet(gateway: LiveGateway, fallback: UpstreamServer) -> None:
    """What it will use is unknown when its answer has come: unknown in the books, never an estimate of nothing."""

    async def queued(wire: Wire) -> None:
        await wire.json({**RESPONSE, "status": "queued", "output": [], "usage": None})

    fallback.script(queued)
    assert post(gateway, background=True).json()["status"] == "queued"
    row = gateway.row()
    assert (row.outcome, row.usage_state, row.cost_nanousd, row.cost_state) == (Outcome.OK, "unknown", None, "unknown")


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools", "use tools of type `function` only"),
        ({"background": True}, "background", "leave `background` out"),
        ({"conversation": "conv_1"}, "conversation", "send the turns as `input`"),
        ({"prompt": {"id": "p"}}, "prompt", "write the text into `instructions` and `input`"),
        ({"previous_response_id": "resp_0a1b"}, "previous_response_id", "send the earlier turns as `input`"),
    ],
)
def test_without_a_native_one_the_client_is_told_what_to_change(
    gateway: LiveGateway, upstream: UpstreamServer, sdk: OpenAI, asked: dict[str, Any], param: str, words: str
) -> None:
    """400 in OpenAI's shape, with the parameter; nobody was called; the row says so."""
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="only", input="Hi", **asked)
    assert (refused.value.code, refused.value.param, refused.value.type) == ("unsupported_parameter", param, "invalid_request_error")
    assert words in refused.value.message
    assert "kind openai or azure" in refused.value.message
    assert upstream.seen == []
    assert gateway.row().outcome is Outcome.CLIENT_ERROR


def test_failover_between_the_two_dialects(gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A chat provider that fails before its first token is replaced by a native one, and the other way round; each failure is an attempt."""

    async def broken(wire: Wire) -> None:
        if wire.seen.body.get("stream"):
            await wire.events(ROLE)
        else:
            await wire.json({"error": {"message": "down"}}, 503)

    upstream.script(broken)
    fallback.script(natively)
    assert post(gateway, stream=True).content == stream()
    assert post(gateway).content == orjson.dumps(RESPONSE)

    async def failing(wire: Wire) -> None:
        if wire.seen.body.get("stream"):
            await wire.events(*numbered([*EVENTS[:2], {"type": "response.failed", "response": FAILED}]))
        else:
            await wire.json(FAILED)

    async def well(wire: Wire) -> None:
        await (wire.events(ROLE, *words("Well"), STOP, DONE) if wire.seen.body.get("stream") else wire.json(completion("Well")))

    upstream.script(well)
    fallback.script(failing)
    strict.in_order(strict.events(post(gateway, model="n", stream=True).content))
    assert post(gateway, model="n").json()["output"][0]["content"][0]["text"] == "Well"
    rows = gateway.rows(4)
    assert all(row.outcome is Outcome.OK and row.reason == "failover" and len(row.attempts) == 2 for row in rows)


def test_a_native_failure_that_is_the_requests_is_the_answer(gateway: LiveGateway, upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """A judgement about the content never falls over."""
    refused = {**FAILED, "error": {"code": "invalid_prompt", "message": "no"}}

    async def judging(wire: Wire) -> None:
        if wire.seen.body.get("stream"):
            await wire.events(*numbered([*EVENTS[:2], {"type": "response.failed", "response": refused}]))
        else:
            await wire.json(refused)

    fallback.script(judging)
    assert post(gateway, model="n").json() == refused
    assert b"response.failed" in post(gateway, model="n", stream=True).content
    assert upstream.seen == []
    assert [row.outcome for row in gateway.rows(2)] == [Outcome.OK, Outcome.OK]


@pytest.mark.parametrize("native", [False, True])
def test_a_stream_that_breaks(gateway: LiveGateway, sdk: OpenAI, upstream: UpstreamServer, fallback: UpstreamServer, native: bool) -> None:
    """After the first byte: an error event with the code `stream_interrupted`, never `response.completed`, and an `upstream_error` row."""

    async def cut(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(b"".join(numbered(EVENTS)[:5]) if native else ROLE + words("Hello")[0])
        wire.keep = False

    (fallback if native else upstream).script(cut)
    found = strict.events(post(gateway, model="n" if native else "r", stream=True).content)
    assert found[-1]["type"] == "error"
    assert found[-1]["code"] == "stream_interrupted"
    assert "incomplete" in found[-1]["message"]
    assert not any(each["type"] == "response.completed" for each in found)
    assert gateway.row().outcome is Outcome.UPSTREAM_ERROR
    with pytest.raises(openai.APIError) as raised:
        list(sdk.responses.create(model="n" if native else "r", input="Hi", stream=True))
    assert raised.value.code == "stream_interrupted"


def test_a_native_failure_after_the_first_byte_is_passed_on(gateway: LiveGateway, fallback: UpstreamServer) -> None:
    """`response.failed` is a last event by itself: nothing is added, and the row is no success."""
    told = numbered([*EVENTS[:5], {"type": "response.failed", "response": FAILED}])

    assert b"".join(read_in_two(gateway, fallback, "n", b"".join(told[:5]), told[5])) == b"".join(told)
    assert gateway.row().outcome is Outcome.UPSTREAM_ERROR


def test_silence_in_a_stream(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """The idle timeout ends it like any other break."""

    async def stalling(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(ROLE + words("Hello")[0])
        await wire.until_closed(20)

    upstream.script(stalling)
    found = strict.events(post(gateway, model="hasty", stream=True).content)
    assert (found[-1]["type"], found[-1]["code"]) == ("error", "stream_interrupted")
    assert upstream.seen[0].closed.wait(20)
    assert gateway.row().outcome is Outcome.UPSTREAM_ERROR


def test_a_client_that_leaves_closes_the_upstream(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """As with chat: nobody generates for nobody."""

    async def endless(wire: Wire) -> None:
        await wire.head(200, {"content-type": "text/event-stream"})
        await wire.chunk(ROLE + words("Hello")[0])
        await wire.until_closed(20)

    upstream.script(endless)
    with httpx.stream("POST", f"{gateway.url}/v1/responses", json={"model": "r", "input": "Hi", "stream": True}, timeout=30) as answer:
        next(answer.iter_bytes())
    assert upstream.seen[0].closed.wait(20)
    assert gateway.row().outcome is Outcome.CLIENT_GONE


def test_keys_scopes_and_limits_hold(gateway: LiveGateway, client_of: Callable[..., OpenAI]) -> None:
    """As on any routed endpoint."""
    key = gateway.key(routes=("only",), rpm=1)
    with pytest.raises(openai.NotFoundError):
        client_of(gateway, key).responses.create(model="r", input="Hi")
    with pytest.raises(openai.AuthenticationError):
        client_of(gateway, "sk-wrong").responses.create(model="only", input="Hi")
    assert client_of(gateway, key).responses.create(model="only", input="Hi").output_text == "Hello there"
    with pytest.raises(openai.RateLimitError):
        client_of(gateway, key).responses.create(model="only", input="Hi")


def test_captures_hold_the_conversation(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """In chat's words, whoever answered, redacted; not where chat has no words for it, nor where the client says no."""
    gateway = start(mixed(upstream, fallback, capture={"sample": 1.0, "redact": ["email"]}), Options(environ={}))
    fallback.script(natively)
    post(gateway, input="I am a@b.de", instructions="s")
    post(gateway, input="streamed", stream=True)
    post(gateway, model="n", input="native", stream=True)
    post(gateway, model="n", input="native, whole")
    post(gateway, tools=[{"type": "web_search"}])
    post(gateway, headers={"x-breakeven-no-capture": "1"})
    gateway.rows(6)
    with reading(gateway.database) as conn:
        kept = [*captures.iterate(conn, "r"), *captures.iterate(conn, "n")]
    assert [(each.request["messages"][-1]["content"], each.response, each.finish) for each in kept] == [
        ("I am [email]", "Hello there", "stop"),
        ("streamed", "Hello there", "stop"),
        ("native", "Hello", "tool_calls"),
        ("native, whole", "Hello", "tool_calls"),
    ]
    assert kept[3].tool_calls[0]["function"] == {"name": "time", "arguments": '{"a":1}'}


def test_an_engine_is_asked_in_chats_words(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> None:
    """Whatever endpoints a vLLM server has itself; the answer carries the engine's public name, and its work costs no dollars."""
    body = mixed(upstream, fallback)
    body["engines"] = {"local": {"urls": [upstream.url]}}
    body["routes"]["both"] = {"candidates": [{"engine": "local"}, *body["routes"]["r"]["candidates"]]}
    gateway = start(body)
    with writing(gateway.database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, upstream.url, "ready", True, 0, "", model="/models/base", max_model_len=4096), time.time())
        bump(conn)
    gateway.run(gateway.app.gateway.fleet.refresh(force=True))
    assert post(gateway, model="local").json()["model"] == "local"
    found = strict.events(post(gateway, model="local", stream=True).content)
    strict.in_order(found)
    assert upstream.seen[0].path == "/v1/chat/completions"
    assert upstream.seen[0].body["model"] == "/models/base"
    # an effort to reason is nothing a base takes: a hosted candidate answers
    assert post(gateway, model="both", reasoning={"effort": "low"}).headers["x-breakeven-backend"] == "chatty/m"
    assert [(row.backend, row.cost_nanousd) for row in gateway.rows(3)][:2] == [("local", 0)] * 2


def test_chat_errors_reach_the_client(gateway: LiveGateway, sdk: OpenAI, upstream: UpstreamServer) -> None:
    """What the chat provider refuses in the request is the client's to hear."""

    async def refusing(wire: Wire) -> None:
        await wire.json({"error": {"message": "bad temperature", "type": "invalid_request_error", "param": "temperature", "code": None}}, 400)

    upstream.script(refusing)
    with pytest.raises(openai.BadRequestError, match="bad temperature"):
        sdk.responses.create(model="r", input="Hi", temperature=9)
    assert gateway.row().outcome is Outcome.CLIENT_ERROR


def test_odd_chat_streams(gateway: LiveGateway, upstream: UpstreamServer) -> None:
    """Comments, a missing `[DONE]`, tool calls in pieces: whole events come out."""

    async def odd(wire: Wire) -> None:
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "weather", "arguments": ""}}
        more = {"index": 0, "function": {"arguments": "{}"}}
        await wire.events(b": hi\n\n", ROLE, event({"tool_calls": [call]}), event({"tool_calls": [more]}), event({}, "tool_calls"))

    upstream.script(odd)
    answer = post(gateway, stream=True)
    found = strict.events(answer.content.replace(b": hi\n\n", b""))
    strict.in_order(found)
    assert found[-1]["response"]["output"][0]["name"] == "weather"
