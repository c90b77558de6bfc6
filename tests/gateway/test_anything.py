"""Anything at all, sent to the public routes of one gateway: never a 500, never a hang, every refusal in OpenAI's shape under a request id.

What is sent is made to be nearly right: valid bodies with fields replaced, dropped and added, so that it gets past the first check more often than not.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.conftest import price, provider, two_providers
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
MOST = int(os.environ.get("BREAKEVEN_EXAMPLES", "250"))
EXAMPLES = settings(max_examples=MOST, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars | st.sampled_from([[], {}, "", "auto", "json_object", 0, -1, 1e308, 2**63, "\u0000", "\ud800", "r"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10) | st.sampled_from(["type", "text", "function", "name"]), inner, max_size=4)
    ),
    max_leaves=12,
)
parts = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["text", "image_url", "input_audio", "refusal", "input_text"]) | values, "text": values, "image_url": values}
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | values},
        optional={"content": st.text(max_size=30) | st.lists(parts, max_size=3) | values, "tool_calls": values, "name": values, "tool_call_id": values},
    )
    | values,
    max_size=4,
)
bodies = st.fixed_dictionaries(
    {"model": st.sampled_from(["r", "r", "r", "one/m", "gpt-4o", ""]) | st.text(max_size=10) | values},
    optional={
        "messages": messages | values,
        "prompt": st.text(max_size=20) | values,
        "input": st.text(max_size=20) | messages | values,
        "stream": st.booleans() | values,
        "stream_options": st.fixed_dictionaries({}, optional={"include_usage": values}) | values,
        "n": st.integers(-2, 300) | values,
        "max_tokens": st.integers(-5, 2**40) | values,
        "max_output_tokens": values,
        "tools": st.lists(st.fixed_dictionaries({}, optional={"type": values, "function": values, "name": values}), max_size=2) | values,
        "tool_choice": values,
        "response_format": st.fixed_dictionaries({"type": st.sampled_from(["json_schema", "json_object", "text"])}, optional={"json_schema": values}) | values,
        "logprobs": values,
        "logit_bias": values,
        "service_tier": values,
        "parallel_tool_calls": values,
        "reasoning_effort": values,
        "prediction": values,
        "modalities": values,
        "previous_response_id": values,
        "instructions": values,
        "text": values,
        "metadata": values,
        "seed": values,
        "user": values,
    },
)
header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=30).map(str.strip)
headers = st.fixed_dictionaries(
    {},
    optional={
        "x-breakeven-priority": st.sampled_from(["high", "low"]) | header_text,
        "x-breakeven-pin": st.sampled_from(["one/m", "two/m", "three/m"]) | header_text,
        "x-breakeven-slo-ms": st.sampled_from(["100", "1e3", "-1", "nan"]) | header_text,
        "x-breakeven-tags": header_text,
        "x-breakeven-no-capture": header_text,
        "content-encoding": st.sampled_from(["identity", "gzip", "br"]) | header_text,
        "authorization": header_text,
        "accept-encoding": header_text,
        "origin": header_text,
        "range": header_text,
    },
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """One gateway for all that is sent, with everything on: capture, budgets, cross-origin calls."""
    with UpstreamServer() as one, UpstreamServer() as two:
        directory: Path = tmp_path_factory.mktemp("anything")
        body = two_providers(one, two, capture={"sample": 1.0}, budget={"usd_per_day": 1000})
        body["server"]["cors_origins"] = ["https://app.example.com"]
        body["providers"]["three"] = provider(one)
        body["prices"].append(price("three", "m"))
        with LiveGateway(directory, body) as live:
            yield live


@pytest.fixture(scope="module")
def anyone(gateway: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        yield client


def sound(answer: httpx.Response) -> None:
    """What every answer must be."""
    assert answer.status_code not in {500, 504}, answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        error = answer.json()["error"]
        assert isinstance(error["message"], str)
        assert error["message"]
        assert isinstance(error["type"], str)
        assert set(error) >= {"message", "type", "param", "code"}


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


@EXAMPLES
@given(path=st.sampled_from(PATHS), body=bodies | values)
def test_any_body(anyone: httpx.Client, path: str, body: Any) -> None:
    """Python's JSON writes NaN, infinities and lone surrogates too, which is just as well."""
    sound(anyone.post(path, content=encoded(body), headers={"content-type": "application/json"}))


@EXAMPLES
@given(path=st.sampled_from(PATHS), more=headers, stream=st.booleans())
def test_any_header(anyone: httpx.Client, path: str, more: dict[str, str], stream: bool) -> None:
    """On a body that is right."""
    body = {"model": "r", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "input": "hi", "stream": stream}
    raw = {name.encode(): value.encode("latin-1") for name, value in more.items()}
    sound(anyone.post(path, content=encoded(body), headers={b"content-type": b"application/json", **raw}))


@EXAMPLES
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"]),
    path=st.lists(
        st.sampled_from(
            [
                "v1",
                "models",
                "r",
                "one",
                "m",
                "chat",
                "completions",
                "responses",
                "files",
                "batches",
                "x",
                "..",
                ".",
                "",
                "%2e%2e",
                "%00",
                "%0d%0a",
                "%ff",
                "@3",
            ]
        )
        | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, blacklist_characters="#?%"), max_size=8),
        max_size=6,
    ),
    query=st.sampled_from(["", "?", "?limit=-1", "?limit=x&after=%00", "?order=up&limit=99999999999999999999", "?purpose[]=%ff"]),
    content=st.binary(max_size=40),
)
def test_any_path(anyone: httpx.Client, method: str, path: list[str], query: str, content: bytes) -> None:
    """And any method, with a body of whatever bytes."""
    sound(anyone.request(method, f"/v1/{'/'.join(path)}{query}", content=content, headers={"content-type": "application/json"}))


@EXAMPLES
@given(
    path=st.sampled_from(PATHS),
    raw=st.binary(max_size=200) | bodies.map(lambda body: encoded(body)[:-1]) | bodies.map(lambda body: encoded(body).replace(b":", b": \xff", 1)),
)
def test_any_bytes(anyone: httpx.Client, path: str, raw: bytes) -> None:
    """Cut, spoilt or made up."""
    sound(anyone.post(path, content=raw, headers={"content-type": "application/json"}))


def test_the_gateway_is_as_before(gateway: LiveGateway, anyone: httpx.Client) -> None:
    """After all that: nothing is under way, nothing held, every admitted request has its row, and the next one is answered."""
    assert anyone.post("/v1/chat/completions", json={"model": "r", "messages": [{"role": "user", "content": "hi"}]}).status_code == 200
    admission = gateway.app.gateway.admission
    deadline = time.monotonic() + 20
    while (admission.running or gateway.app.gateway.spool.pending) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (admission.running, admission.waiting, admission.bodies.total, gateway.app.gateway.spool.pending) == (0, 0, 0, 0)
    rows = gateway.rows()
    assert len(rows) > 50, "hardly anything got past the first check"
    assert {row.outcome for row in rows} <= {"ok", "client_error", "refused", "upstream_error"}
