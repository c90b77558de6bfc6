"""The sandbox as OpenAI: the official SDK over a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from gateway.sandbox import Running, SandboxOptions, create_sandbox, running
from gateway.sandbox.tokens import count
from tests.gateway.sandbox.conftest import REFERENCES

ASK: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "ticket 3"}]}


def totals(sandbox: Running) -> dict[str, int]:
    """The provider's totals, once it has noticed the end of every request."""
    for _ in range(200):
        found: dict[str, int] = httpx.get(f"{sandbox.url}/sandbox/log").json()["totals"]
        if found["open"] == 0:
            return found
        time.sleep(0.02)
    raise AssertionError("a request never ended")


IMPATIENT = httpx.Timeout(10, read=0.4)


def test_an_answer_is_the_reference_and_says_that_it_is_sandbox(client: OpenAI) -> None:
    """Text, usage, finish reason, fingerprint and headers of a plain answer."""
    raw = client.chat.completions.with_raw_response.create(**ASK)
    answer = raw.parse()
    assert answer.choices[0].message.content == REFERENCES[3].answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.system_fingerprint == "sandbox"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == count(REFERENCES[3].answer)
    assert answer.usage.prompt_tokens == count("user") + count("ticket 3") + 6
    assert answer.usage.prompt_tokens_details is not None
    assert {"x-sandbox", "x-request-id", "openai-processing-ms", "x-ratelimit-remaining-tokens"} <= set(raw.headers)


def test_a_stream_has_role_tokens_finish_and_usage_on_request(client: OpenAI) -> None:
    """The chunks in OpenAI's order; without include_usage no chunk speaks of usage."""
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == REFERENCES[3].answer
    assert len(chunks) == count(REFERENCES[3].answer) + 3
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all("usage" not in c.model_fields_set for c in client.chat.completions.create(**ASK, stream=True))


def test_the_bytes_of_a_stream_end_with_done(sandbox: Running) -> None:
    """Server-sent events, one blank line between two, [DONE] last."""
    text = httpx.post(f"{sandbox.base_url}/chat/completions", json=ASK | {"stream": True}).text
    assert all(line.startswith("data: ") for line in text.split("\n\n")[:-1])
    assert text.endswith("data: [DONE]\n\n")


def test_several_choices_and_a_token_limit(client: OpenAI) -> None:
    """n choices, each cut; usage counts them all; streams interleave them."""
    answer = client.chat.completions.create(**ASK, n=2, max_tokens=5)
    assert [c.finish_reason for c in answer.choices] == ["length", "length"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 10
    indexes = [c.choices[0].index for c in client.chat.completions.create(**ASK, n=2, max_tokens=2, stream=True)]
    assert indexes == [0, 1] * 4


def test_tool_calls_whole_and_streamed(client: OpenAI) -> None:
    """A demanded function is called with arguments that fit its schema."""
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    tools: Any = [{"type": "function", "function": {"name": "look", "parameters": schema}}]
    answer = client.chat.completions.create(**ASK, tools=tools, tool_choice="required")
    calls: Any = answer.choices[0].message.tool_calls
    assert [answer.choices[0].finish_reason, calls[0].function.name, json.loads(calls[0].function.arguments)] == ["tool_calls", "look", {"id": 0}]
    deltas: Any = [c.choices[0].delta.tool_calls for c in client.chat.completions.create(**ASK, tools=tools, tool_choice="required", stream=True)]
    assert "".join(d[0].function.arguments for d in deltas if d) == '{"id":0}'
    assert deltas[0][0].function.name == "look"


def test_text_completions(client: OpenAI) -> None:
    """/v1/completions with several prompts, whole and streamed; sixteen tokens unless told otherwise."""
    answer = client.completions.create(model="gpt-4o-mini", prompt=["a", "b"], n=2)
    assert [len(answer.choices), answer.usage and answer.usage.completion_tokens] == [4, 64]
    streamed = "".join(c.choices[0].text for c in client.completions.create(model="gpt-4o-mini", prompt="a", stream=True))
    assert streamed == answer.choices[0].text


def test_models_embeddings_and_moderations(client: OpenAI, sandbox: Running) -> None:
    """The other endpoints answer deterministically in OpenAI's shapes."""
    assert [m.id for m in client.models.list()] == list(sandbox.app.options.models)
    assert client.models.retrieve("gpt-4o").owned_by == "sandbox"

    def near(a: str, b: str) -> float:
        made = client.embeddings.create(model="text-embedding-3-small", input=[a, b], dimensions=256).data
        return sum(x * y for x, y in zip(made[0].embedding, made[1].embedding, strict=True))

    assert near("my order is late", "my order is late") == pytest.approx(1, abs=1e-5)
    assert near("my order is late", "where is my order") > near("my order is late", "zebra crossing") + 0.3
    assert len(client.embeddings.create(model="text-embedding-3-small", input=[1, 2, 3], encoding_format="float").data) == 1
    assert [client.moderations.create(input=text).results[0].flagged for text in ("fine", "a sandbox-flag here")] == [False, True]


REFUSED: list[tuple[str, str, Any, int, str | None]] = [
    ("POST", "/v1/chat/completions", {"model": "nope", "messages": []}, 404, "model_not_found"),
    ("POST", "/v1/chat/completions", [1], 400, None),
    ("POST", "/v1/chat/completions", {"model": "gpt-4o"}, 400, "missing_required_parameter"),
    ("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": []}, 400, "empty_array"),
    ("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": ["x"]}, 400, "missing_required_parameter"),
    ("POST", "/v1/chat/completions", ASK | {"n": 0}, 400, "invalid_value"),
    ("POST", "/v1/chat/completions", ASK | {"stream_options": {}}, 400, None),
    ("POST", "/v1/chat/completions", ASK | {"max_tokens": 200_000}, 400, "context_length_exceeded"),
    ("POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": None}, 400, None),
    ("POST", "/v1/images", {}, 404, None),
    ("GET", "/v1/files", None, 404, None),
    ("GET", "/v1/models/nope", None, 404, "model_not_found"),
    ("PUT", "/sandbox/log", None, 404, None),
    ("POST", "/sandbox/faults", {"fault": "nope"}, 400, None),
    ("POST", "/sandbox/faults", {"fault": "cut", "when": 1}, 400, None),
    ("POST", "/sandbox/faults", [], 400, None),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSED)
def test_wrong_requests_are_refused_in_openais_shape(sandbox: Running, method: str, path: str, body: Any, status: int, code: str | None) -> None:
    """Status, the four fields of `error`, and the sandbox mark."""
    answer = httpx.request(method, sandbox.url + path, json=body)
    error = answer.json()["error"]
    assert [answer.status_code, error["code"], answer.headers["x-sandbox"]] == [status, code, "1"]
    assert {"message", "type", "param"} <= set(error)


def test_text_that_is_no_json_is_refused(sandbox: Running) -> None:
    """A body that cannot be parsed is a 400, not a crash."""
    assert httpx.post(f"{sandbox.base_url}/chat/completions", content=b"{").status_code == 400


def test_a_wrong_or_missing_key_is_401() -> None:
    """With a key set, the SDK gets its own exception class; the key is not shown whole."""
    with running(SandboxOptions(api_key="sk-right-0123456789")) as made:
        with OpenAI(base_url=made.base_url, api_key="sk-wrong-0123456789", max_retries=0) as wrong, pytest.raises(openai.AuthenticationError) as caught:
            wrong.models.list()
        assert caught.value.code == "invalid_api_key"
        assert "sk-wrong-0123456789" not in str(caught.value)
        assert httpx.get(f"{made.base_url}/models").status_code == 401
        assert httpx.get(f"{made.base_url}/models", headers={"authorization": "Bearer sk-right-0123456789"}).status_code == 200


def test_limits_are_429_with_retry_after() -> None:
    """One request a minute: the second is refused and told when to come back."""
    with running(SandboxOptions(requests_per_minute=1)) as made:
        answers = [httpx.post(f"{made.base_url}/chat/completions", json=ASK) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 429]
    assert 0 < int(answers[1].headers["retry-after"]) <= 60
    assert answers[1].headers["x-ratelimit-remaining-requests"] == "0"


def test_latency_is_the_stated_one() -> None:
    """The first token after ttft, the rest at the pace, whole answers after both."""
    with running(SandboxOptions(ttft_ms=60, token_ms=4)) as made, OpenAI(base_url=made.base_url, api_key="x") as fast:
        fast.models.list()
        began = time.perf_counter()
        stream = fast.chat.completions.create(**ASK, max_tokens=10, stream=True)
        next(iter(stream))
        first = time.perf_counter() - began
        list(stream)
        whole = time.perf_counter() - began
        assert 0.06 <= first < 0.1 <= whole + 0.01
        began = time.perf_counter()
        fast.chat.completions.create(**ASK, max_tokens=10)
        assert time.perf_counter() - began >= 0.095


STATUS = {
    "rate_limit": 429,
    "rate_limit_retry_after": 429,
    "quota": 429,
    "server_error": 500,
    "unavailable": 503,
    "html_502": 502,
    "context_length": 400,
    "content_filter": 400,
    "prefill_reject": 400,
    "bad_key": 401,
    "flapping": 503,
}


@pytest.mark.parametrize(("fault", "status"), STATUS.items())
def test_error_faults(sandbox: Running, fault: str, status: int) -> None:
    """Faults that are an error answer have their status; only the one with Retry-After has it."""
    answer = httpx.post(f"{sandbox.base_url}/chat/completions", json=ASK, headers={"x-sandbox-fault": fault})
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (fault == "rate_limit_retry_after")


@pytest.mark.parametrize("streamed", [False, True])
def test_connection_faults(client: OpenAI, sandbox: Running, streamed: bool) -> None:
    """Reset, silence, cut and stall end in what a real network shows; the provider bills what it had generated."""
    seen = {}
    for fault in ("reset", "silence;ms=30", "cut;after=2", "stall;ms=30"):
        with (
            pytest.raises(httpx.TransportError) as caught,
            httpx.stream("POST", f"{sandbox.base_url}/chat/completions", json=ASK | {"stream": streamed}, headers={"x-sandbox-fault": fault}) as answer,
        ):
            answer.read()
        seen[fault] = str(caught.value)
    assert "reset" in seen["reset"].lower()
    assert "without sending a response" in seen["silence;ms=30"]
    assert all("incomplete" in seen[fault] or "peer closed" in seen[fault] for fault in ("cut;after=2", "stall;ms=30"))
    tokens = 2 + 3 if streamed else 2 * count(REFERENCES[3].answer)
    assert {k: v for k, v in totals(sandbox).items() if v} == {"requests": 4, "broken": 4, "prompt_tokens": 2 * 10, "completion_tokens": tokens}


def test_a_stream_cut_after_its_last_token_is_still_cut(client: OpenAI, sandbox: Running) -> None:
    """`after` beyond the answer's length cuts before the finish reason is complete."""
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(**ASK, stream=True, extra_headers={"x-sandbox-fault": "cut;after=999"}))
    assert totals(sandbox)["broken"] == 1


def test_content_faults(client: OpenAI, sandbox: Running) -> None:
    """Malformed chunk or body, missing [DONE], missing usage, a content filter's ending, a slow start."""

    def body(fault: str, **more: Any) -> str:
        with httpx.stream("POST", f"{sandbox.base_url}/chat/completions", json=ASK | more, headers={"x-sandbox-fault": fault}) as answer:
            return "".join(_text_until_broken(answer))

    broken = body("malformed_chunk;after=1", stream=True).split("\n\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[2].removeprefix("data: "))
    with pytest.raises(json.JSONDecodeError):
        json.loads(body("malformed_chunk"))
    missing = body("missing_done", stream=True, stream_options={"include_usage": True})
    assert "[DONE]" not in missing
    assert '"usage":{' in missing
    assert "usage" not in json.loads(body("no_usage"))
    assert '"usage":{' not in body("no_usage", stream=True, stream_options={"include_usage": True})
    assert json.loads(body("content_filter_finish;after=1"))["choices"][0]["finish_reason"] == "content_filter"
    began = time.perf_counter()
    assert "[DONE]" in body("slow_first_token;ms=80", stream=True)
    assert time.perf_counter() - began >= 0.08
    assert httpx.post(f"{sandbox.base_url}/chat/completions", json=ASK, headers={"x-sandbox-fault": "typo"}).status_code == 400


def _text_until_broken(answer: httpx.Response) -> Any:
    try:
        yield from answer.iter_text()
    except httpx.RemoteProtocolError:
        return


def test_faults_are_armed_for_the_next_requests(client: OpenAI, sandbox: Running) -> None:
    """By POST, listed by GET, forgotten by DELETE."""
    armed = httpx.post(f"{sandbox.url}/sandbox/faults", json={"fault": "server_error", "count": 2, "model": "gpt-4o-mini"})
    assert armed.status_code == 201
    assert armed.json()["data"][0]["left"] == 2
    for expected in (500, 500, 200):
        assert httpx.post(f"{sandbox.base_url}/chat/completions", json=ASK).status_code == expected
    httpx.post(f"{sandbox.url}/sandbox/faults", json={"fault": "stall", "for_s": 60, "share": 0.5, "ms": 10})
    assert httpx.get(f"{sandbox.url}/sandbox/faults").json()["data"][0]["left"] is None
    assert httpx.delete(f"{sandbox.url}/sandbox/faults").json()["data"] == []
    assert client.chat.completions.create(**ASK).choices


def test_a_client_that_goes_away_is_logged_as_cancelled_and_billed() -> None:
    """Streamed or not, the provider notices within moments and bills what it had generated by then."""
    with running(SandboxOptions(ttft_ms=10, token_ms=100)) as made:
        with httpx.stream("POST", f"{made.base_url}/chat/completions", json=ASK | {"stream": True}) as answer:
            next(line for line in answer.iter_lines() if '"content":"' in line and '"content":""' not in line)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{made.base_url}/chat/completions", json=ASK, timeout=IMPATIENT)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{made.base_url}/chat/completions", json=ASK, timeout=IMPATIENT, headers={"x-sandbox-fault": "silence"})
        found = totals(made)
        entries = httpx.get(f"{made.url}/sandbox/log").json()["data"]
    assert found["cancelled"] == 3
    assert [e["status"] for e in entries] == [200, None, None]
    assert 1 <= entries[0]["completion_tokens"] <= 4
    assert 1 <= entries[1]["completion_tokens"] <= 7
    assert entries[2]["completion_tokens"] == 0


def test_a_stream_nobody_reads_ends_when_the_client_closes(sandbox: Running, client: OpenAI) -> None:
    """A client that closes before the headers came is cancelled too."""
    gone = threading.Event()

    def go() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{sandbox.base_url}/chat/completions", json=ASK, timeout=IMPATIENT, headers={"x-sandbox-fault": "slow_first_token"})
        gone.set()

    threading.Thread(target=go).start()
    assert gone.wait(5)
    assert totals(sandbox)["cancelled"] == 1


def test_long_prompts_are_cached(client: OpenAI, sandbox: Running) -> None:
    """The second time, a prompt of more than 1,024 tokens is mostly cached, and the log agrees with the answer."""
    ask: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "word " * 1500}]}
    answers = [client.chat.completions.create(**ask) for _ in range(2)]
    cached = [a.usage.prompt_tokens_details.cached_tokens for a in answers if a.usage and a.usage.prompt_tokens_details]
    assert cached[0] == 0
    assert cached[1] is not None
    assert cached[1] >= 1024
    assert totals(sandbox)["cached_tokens"] == cached[1]


def test_the_log_agrees_with_what_clients_were_told(client: OpenAI, sandbox: Running) -> None:
    """Σ usage of the answers = totals of the log, exactly; bodies are kept; DELETE starts anew."""
    answers = [client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": f"ticket {n}"}]) for n in range(5)]
    found = totals(sandbox)
    assert found["prompt_tokens"] == sum(a.usage.prompt_tokens for a in answers if a.usage)
    assert found["completion_tokens"] == sum(a.usage.completion_tokens for a in answers if a.usage)
    last = httpx.get(f"{sandbox.url}/sandbox/log?limit=1").json()["data"][0]
    assert [last["body"]["messages"][0]["content"], last["reported"], last["outcome"]] == ["ticket 4", True, "completed"]
    assert httpx.delete(f"{sandbox.url}/sandbox/log").json() == {"cleared": True}
    assert totals(sandbox)["requests"] == 0


async def test_only_http_is_spoken_and_lifespans_are_answered() -> None:
    """Other servers may send lifespan events; websockets are refused with a sentence; faults need uvicorn's transport."""
    app = create_sandbox()
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(events)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(RuntimeError, match="HTTP only"):
        await app({"type": "websocket"}, receive, send)


async def test_faults_on_the_connection_need_a_server_that_shows_it() -> None:
    """Behind a server without a transport the sandbox says what to do, and a client gone before its body is nothing."""
    app = create_sandbox()
    body = iter([{"type": "http.request", "body": json.dumps(ASK).encode(), "more_body": False}])
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": [(b"x-sandbox-fault", b"reset")]}
    forever = threading.Event()

    async def receive() -> Any:
        found = next(body, None)
        if found is None:
            await asyncio.Event().wait()
        return found

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        forever.set()

    with pytest.raises(RuntimeError, match="uvicorn"):
        await app(dict(scope), receive, send)
    await app(dict(scope), gone, send)
    assert not forever.is_set()


async def test_a_body_too_large_is_refused() -> None:
    """64 MiB is the limit; the answer is an error, not a full memory."""
    app = create_sandbox()
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": []}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * (33 * 1024 * 1024), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert b"64 MiB" in sent[1]["body"]
