"""Every kind of answer against OpenAI's published schema: what the gateway makes itself, and what comes through it from a provider."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from gateway.sandbox import Running, running
from gateway.sandbox.options import MODELS
from tests.gateway.batches.conftest import World as Batching
from tests.gateway.batches.conftest import jsonl, line
from tests.gateway.conftest import TIMEOUTS, price
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.published import Published
from tests.gateway.published import published as read_published

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is order 12?"}]
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"order": {"type": "string"}}}}}
TOOLS = [{"type": "function", **TOOL["function"], "strict": False}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}
CHATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "n": {"n": 2},
    "length": {"max_completion_tokens": 1},
    "tools": {"tools": [TOOL], "tool_choice": "required"},
    "schema": {"response_format": FORMAT},
    "usage": {"stream_options": {"include_usage": True}},
}


@pytest.fixture(scope="module")
def published() -> Published:
    """OpenAI's document."""
    return read_published()


@pytest.fixture(scope="module")
def provider() -> Iterator[Running]:
    """A provider that answers everything."""
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Running) -> Iterator[LiveGateway]:
    """`whole` is a provider with all of OpenAI's endpoints, `chatty` the same one known for chat alone: its `/v1/responses` are made here."""
    both = {"base_url": provider.base_url, "api_key": "any"}
    body = {
        "server": {"default_provider": "whole"},
        "providers": {"whole": {"kind": "openai", "models": list(MODELS), **both}, "chatty": {"kind": "compatible", "models": [], **both}},
        "prices": [price("whole", "gpt-4o-mini"), price("chatty", "gpt-4o-mini")],
        "routes": {
            name: {"candidates": [{"provider": who, "model": "gpt-4o-mini"}], "timeouts": TIMEOUTS} for name, who in (("r", "whole"), ("translated", "chatty"))
        },
    }
    with LiveGateway(tmp_path_factory.mktemp("schema"), body) as live:
        yield live


@pytest.fixture(scope="module")
def ask(gateway: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        yield client


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The bodies of a stream's events."""
    assert answer.status_code == 200, answer.text
    data = [part[6:] for block in answer.text.strip().split("\n\n") for part in block.split("\n") if part.startswith("data: ")]
    return [json.loads(each) for each in data if each != "[DONE]"]


@pytest.mark.parametrize("kind", CHATS)
def test_chat(ask: httpx.Client, published: Published, kind: str) -> None:
    """Whole and as chunks."""
    body = {"model": "r", "messages": MESSAGES, **{name: value for name, value in CHATS[kind].items() if name != "stream_options"}}
    published.answer("post", "/chat/completions", ask.post("/v1/chat/completions", json=body).json())
    chunks = events(ask.post("/v1/chat/completions", json={**body, **CHATS[kind], "stream": True}))
    assert len(chunks) > 2
    for chunk in chunks:
        published.answer("post", "/chat/completions", chunk, "text/event-stream")


def test_completions(ask: httpx.Client, published: Published) -> None:
    """The legacy endpoint; its chunks have the shape of its answers."""
    body = {"model": "r", "prompt": "Once upon a time"}
    published.answer("post", "/completions", ask.post("/v1/completions", json=body).json())
    for chunk in events(ask.post("/v1/completions", json={**body, "stream": True})):
        # a chunk that is not the last has no finish_reason yet, which the document, written for whole answers, does not know
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        published.answer("post", "/completions", chunk)


@pytest.mark.parametrize("coding", ["float", "base64"])
def test_embeddings(ask: httpx.Client, published: Published, coding: str) -> None:
    """Of several texts."""
    body = {"model": "whole/text-embedding-3-small", "input": ["a", "b"], "encoding_format": coding}
    answer = ask.post("/v1/embeddings", json=body).json()
    if coding == "base64":  # the document describes vectors only
        assert all(isinstance(each["embedding"], str) for each in answer["data"])
        answer = {**answer, "data": [{**each, "embedding": [0.5]} for each in answer["data"]]}
    published.answer("post", "/embeddings", answer)


@pytest.mark.parametrize("model", ["r", "translated"])
@pytest.mark.parametrize("more", [{}, {"tools": TOOLS, "tool_choice": "required"}, {"max_output_tokens": 16}], ids=["plain", "tools", "length"])
def test_responses(ask: httpx.Client, published: Published, model: str, more: dict[str, Any]) -> None:
    """Native and made from chat: the answer, its events, the same answer asked for again, and what it was asked."""
    body = {"model": model, "input": "Where is order 12?", "instructions": "Be brief.", **more}
    answer = ask.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    published.answer("post", "/responses", answer.json())
    found = events(ask.post("/v1/responses", json={**body, "stream": True}))
    assert found[-1]["type"] in {"response.completed", "response.incomplete"}
    for event in found:
        published.answer("post", "/responses", event, "text/event-stream")


def test_a_kept_response(ask: httpx.Client, gateway: LiveGateway, published: Published) -> None:
    """What is kept here can be looked at, listed and deleted."""
    made = ask.post("/v1/responses", json={"model": "translated", "input": "Where is order 12?"}).json()
    deadline = time.monotonic() + 20
    while (found := ask.get(f"/v1/responses/{made['id']}")).status_code == 404:
        gateway.rows()
        assert time.monotonic() < deadline, found.text
    published.answer("get", "/responses/{response_id}", found.json())
    published.answer("get", "/responses/{response_id}/input_items", ask.get(f"/v1/responses/{made['id']}/input_items").json())


def test_what_providers_are_sent(ask: httpx.Client, provider: Running, published: Published) -> None:
    """The chats that are made from `/v1/responses` are requests of the published API."""
    provider.app.log.clear()
    content = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"}]
    body = {"model": "translated", "input": [{"role": "user", "content": content}], "tools": TOOLS, "temperature": 0.5, "max_output_tokens": 32}
    for stream in (False, True):
        assert ask.post("/v1/responses", json={**body, "stream": stream}).status_code == 200
    sent = [entry["body"] for entry in provider.app.log.as_dict()["data"]]
    assert len(sent) == 2
    for each in sent:
        published.request("/chat/completions", each)


def test_models(ask: httpx.Client, published: Published) -> None:
    """The list, and one of them."""
    listed = ask.get("/v1/models").json()
    published.answer("get", "/models", listed)
    assert len(listed["data"]) > 2
    for each in listed["data"]:
        published.answer("get", "/models/{model}", ask.get(f"/v1/models/{each['id']}").json())


def test_files_and_uploads(ask: httpx.Client, published: Published) -> None:
    """Made, shown, listed, deleted; an upload in parts, completed and cancelled."""
    made = ask.post("/v1/files", files={"file": ("in.jsonl", b'{"messages": []}\n')}, data={"purpose": "batch"}).json()
    published.answer("post", "/files", made)
    published.answer("get", "/files/{file_id}", ask.get(f"/v1/files/{made['id']}").json())
    published.answer("get", "/files", ask.get("/v1/files", params={"purpose": "batch"}).json())
    published.answer("delete", "/files/{file_id}", ask.delete(f"/v1/files/{made['id']}").json())
    begun = [ask.post("/v1/uploads", json={"filename": "a.jsonl", "purpose": "batch", "bytes": 3, "mime_type": "application/jsonl"}).json() for _ in range(2)]
    for each in begun:
        published.answer("post", "/uploads", each)
    part = ask.post(f"/v1/uploads/{begun[0]['id']}/parts", files={"data": ("p", b"{}\n")}).json()
    published.answer("post", "/uploads/{upload_id}/parts", part)
    published.answer("post", "/uploads/{upload_id}/complete", ask.post(f"/v1/uploads/{begun[0]['id']}/complete", json={"part_ids": [part["id"]]}).json())
    published.answer("post", "/uploads/{upload_id}/cancel", ask.post(f"/v1/uploads/{begun[1]['id']}/cancel").json())


def test_batches(gateway: LiveGateway, ask: httpx.Client, provider: Running, published: Published) -> None:
    """From its beginning to its end, cancelled, failed, and in a list; what its lines say is an answer each."""
    world = Batching(gateway, provider)  # type: ignore[arg-type]
    try:
        world.begin()
        states = set[str]()
        for content in (jsonl(line(1)), b"not json\n", jsonl(*map(line, range(200)))):
            file = ask.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"}).json()
            body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": {"a": "b"}}
            made = ask.post("/v1/batches", json=body).json()
            published.answer("post", "/batches", made)
            if content.count(b"\n") > 100:
                published.answer("post", "/batches/{batch_id}/cancel", ask.post(f"/v1/batches/{made['id']}/cancel").json())
            deadline = time.monotonic() + 60
            while (found := ask.get(f"/v1/batches/{made['id']}").json())["status"] not in {"completed", "failed", "cancelled"}:
                published.answer("get", "/batches/{batch_id}", found)
                assert time.monotonic() < deadline, found
                time.sleep(0.02)
            published.answer("get", "/batches/{batch_id}", found)
            states.add(found["status"])
            if found["status"] == "completed":
                for entry in ask.get(f"/v1/files/{found['output_file_id']}/content").text.splitlines():
                    published.answer("post", "/chat/completions", json.loads(entry)["response"]["body"])
        assert states == {"completed", "failed", "cancelled"}
        published.answer("get", "/batches", ask.get("/v1/batches").json())
    finally:
        world.close()


def test_moderations_pass_through(ask: httpx.Client, published: Published) -> None:
    """What only goes through comes out as it went in."""
    published.answer("post", "/moderations", ask.post("/v1/moderations", json={"model": "omni-moderation-latest", "input": "hello"}).json())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", b"{"),
        ("POST", "/v1/chat/completions", b'{"model": "r"}'),
        ("POST", "/v1/chat/completions", b'{"model": "nobody", "messages": []}'),
        ("POST", "/v1/chat/completions", b'{"model": "r", "messages": [], "n": 10000}'),
        ("POST", "/v1/embeddings", b'{"model": 3}'),
        ("POST", "/v1/responses", b'{"model": "translated", "input": 3}'),
        ("GET", "/v1/models/nobody", b""),
        ("GET", "/v1/files/file-bk-none", b""),
        ("GET", "/v1/batches/batch_bk-none", b""),
        ("POST", "/v1/batches", b"{}"),
        ("POST", "/v1/files", b"x"),
        ("DELETE", "/v1/chat/completions", b""),
        ("GET", "/nowhere", b""),
    ],
)
def test_errors(ask: httpx.Client, published: Published, method: str, path: str, body: bytes) -> None:
    """One shape for all of them."""
    answer = ask.request(method, path, content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    published.schema("ErrorResponse", answer.json())


def test_the_checks_can_fail(published: Published) -> None:
    """A missing field, a wrong type and a wrong word are found."""
    whole = {"id": "x", "object": "list", "data": [], "model": "m"}
    for name, body in (
        ("CreateEmbeddingResponse", whole),
        ("ErrorResponse", {"error": {"message": 3, "type": "x", "param": None, "code": None}}),
        ("Model", {"id": "x", "object": "modell", "created": 1, "owned_by": "y"}),
    ):
        with pytest.raises(AssertionError):
            published.schema(name, body)
    Draft202012Validator.check_schema(published.document["components"]["schemas"]["CreateChatCompletionResponse"])
