"""The sandbox's Responses API, by the official client, and the gateway in front of it: natively and in chat's words, the same answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import OpenAI
from pydantic import BaseModel

from gateway.sandbox import Running, SandboxOptions, running
from gateway.sandbox.tokens import count
from router.types import Outcome
from tests.gateway.conftest import TIMEOUTS, price
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.responses import strict
from tests.gateway.sandbox.conftest import REFERENCES

MODEL = "gpt-4o-mini"
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "look_up",
    "strict": True,
    "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"], "additionalProperties": False},
}


class Ticket(BaseModel):
    """What an answer is parsed into."""

    intent: str
    urgent: bool


def gateway_of(start: Callable[..., LiveGateway], sandbox: Running, kind: str) -> LiveGateway:
    """A gateway whose only provider is the sandbox, as one that has the API or as one that has chat."""
    return start(
        {
            "server": {"default_provider": "sandbox"},
            "providers": {"sandbox": {"kind": kind, "base_url": sandbox.base_url, "api_key": "any", "sandbox": True}},
            "prices": [price("sandbox", MODEL)],
            "routes": {"r": {"candidates": [{"provider": "sandbox", "model": MODEL}], "timeouts": TIMEOUTS}},
        }
    )


def test_an_answer(client: OpenAI) -> None:
    """A whole `response` with the reference's text and exact usage."""
    raw = client.responses.with_raw_response.create(model=MODEL, input="ticket 3")
    body = strict.response(orjson.loads(raw.content))
    assert raw.parse().output_text == REFERENCES[3].answer
    assert body["usage"]["output_tokens"] == count(REFERENCES[3].answer)
    assert body["usage"]["input_tokens"] == count("user") + count("ticket 3") + 6
    assert raw.headers["x-sandbox"] == "1"


def test_a_stream(sandbox: Running) -> None:
    """Every event in its order."""
    answer = httpx.post(f"{sandbox.base_url}/responses", json={"model": MODEL, "input": "ticket 3", "stream": True})
    found = strict.events(answer.content)
    strict.in_order(found)
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == REFERENCES[3].answer


def test_conversations_and_stored_answers(client: OpenAI) -> None:
    """They go on, can be fetched and deleted; `store: false` and unknown ids cannot."""
    first = client.responses.create(model=MODEL, input="ticket 3")
    second = client.responses.create(model=MODEL, input="ticket 4", previous_response_id=first.id)
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.total_tokens
    assert client.responses.retrieve(second.id).output_text == REFERENCES[4].answer
    client.responses.delete(second.id)
    unkept = client.responses.create(model=MODEL, input="x", store=False)
    for gone in (second.id, unkept.id):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(gone)
        with pytest.raises(openai.BadRequestError, match="Previous response with id"):
            client.responses.create(model=MODEL, input="x", previous_response_id=gone)


def test_wrong_requests(client: OpenAI) -> None:
    """400 in OpenAI's shape, with the parameter."""
    asked: dict[str, Any]
    for asked, param in (({"input": 5}, "input"), ({"input": "x", "max_output_tokens": 0}, "max_tokens"), ({}, "input")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=MODEL, **asked)
        assert refused.value.param == param


@pytest.mark.parametrize("kind", ["openai", "compatible"])
def test_through_the_gateway(start: Callable[..., LiveGateway], sandbox: Running, kind: str) -> None:
    """Text, stream, tools, structured output and a conversation that goes on: natively or translated, the client cannot tell."""
    gateway = gateway_of(start, sandbox, kind)
    sandbox.app.log.clear()
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        raw = client.responses.with_raw_response.create(model="r", input="ticket 3")
        strict.response(orjson.loads(raw.content))
        first = raw.parse()
        assert first.output_text == REFERENCES[3].answer
        with client.responses.stream(model="r", input="ticket 4", previous_response_id=first.id) as answering:
            assert answering.get_final_response().output_text == REFERENCES[4].answer
        parsed = client.responses.parse(model="r", input="Sort this", text_format=Ticket).output_parsed
        assert isinstance(parsed, Ticket)
        called = client.responses.create(model="r", input="Find it", tools=[TOOL], tool_choice="required")  # type: ignore[list-item]
        call = called.output[0]
        assert call.type == "function_call"
        assert call.name == "look_up"
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "found"}
        last = client.responses.create(model="r", input=[output], previous_response_id=called.id, tools=[TOOL])  # type: ignore[list-item]
        assert last.output_text
    rows = gateway.rows(5)
    assert all(row.outcome is Outcome.OK and row.cost_state == "known" and row.sandbox for row in rows)
    seen = sandbox.app.log.as_dict(None)
    assert {entry["endpoint"] for entry in seen["data"]} == {"/v1/responses" if kind == "openai" else "/v1/chat/completions"}
    assert sum(row.usage.output for row in rows) == seen["totals"]["completion_tokens"]
    assert sum(row.usage.input for row in rows) == seen["totals"]["prompt_tokens"]


@pytest.mark.parametrize("kind", ["openai", "compatible"])
@pytest.mark.parametrize("fault", ["cut", "malformed_chunk", "missing_done", "no_usage", "content_filter_finish"])
def test_faults_in_a_stream(start: Callable[..., LiveGateway], kind: str, fault: str) -> None:
    """What goes wrong in the middle is an error event and no success, where the answer is not whole; where it is, it is an answer."""
    with running(SandboxOptions(token_ms=20, jitter=0.0)) as slow:
        gateway = gateway_of(start, slow, kind)
        httpx.post(f"{slow.url}/sandbox/faults", json={"fault": fault, "after": 3}).raise_for_status()
        answer = httpx.post(f"{gateway.url}/v1/responses", json={"model": "r", "input": "Hello", "stream": True}, timeout=30)
        found = strict.events(answer.content)
        row = gateway.row()
    broken = fault in {"cut", "malformed_chunk"} or (fault == "missing_done" and kind == "openai")
    if broken:
        assert (found[-1]["type"], found[-1]["code"], row.outcome) == ("error", "stream_interrupted", Outcome.UPSTREAM_ERROR)
    else:
        strict.in_order(found)
        assert row.outcome is Outcome.OK
        assert row.usage_state == ("estimated" if fault == "no_usage" else "provider")
        assert found[-1]["type"] == ("response.incomplete" if fault == "content_filter_finish" else "response.completed")


@pytest.mark.parametrize("fault", ["cut", "malformed_chunk"])
def test_half_an_answer(sandbox: Running, client: OpenAI, fault: str) -> None:
    """Half a body, half a JSON."""
    with pytest.raises((openai.APIConnectionError, orjson.JSONDecodeError, ValueError)):
        client.responses.create(model=MODEL, input="x", extra_headers={"x-sandbox-fault": fault})
    assert sandbox.app.log.as_dict(None)["totals"]["requests"] == 1


def test_an_answer_without_usage(client: OpenAI) -> None:
    """It is null, not zero."""
    assert client.responses.create(model=MODEL, input="x", extra_headers={"x-sandbox-fault": "no_usage"}).usage is None
