"""Values beyond all bounds in a body, over a real socket: refused in OpenAI's words, and nobody is called."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gateway.ask_bounds import MOST_TOKENS, check
from router.errors import RequestError
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer

MESSAGES = [{"role": "user", "content": "hi"}]


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"n": 10_000}, "n", "integer_above_max_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": -3}, "n", "integer_below_min_value"),
        ({"n": "3"}, "n", "invalid_type"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"n": [1]}, "n", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 2**62}, "max_tokens", "integer_above_max_value"),
        ({"max_completion_tokens": 2**80}, "max_completion_tokens", "invalid_type"),
        ({"max_completion_tokens": {}}, "max_completion_tokens", "invalid_type"),
        ({"metadata": nested(140)}, None, "invalid_json"),
        ({"tools": [nested(140)]}, None, "invalid_json"),
        ({"messages": [{"role": "user", "content": [nested(200)]}]}, None, "invalid_json"),
    ],
)
def test_out_of_bounds(client: httpx.Client, pair: LiveGateway, upstream: UpstreamServer, more: dict[str, Any], param: str | None, code: str) -> None:
    """Each names its parameter, and leaves no row."""
    answer = client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES, **more})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"], error["type"]) == (400, param, code, "invalid_request_error")
    assert not upstream.seen
    assert pair.rows() == []


def test_within_bounds(client: httpx.Client, upstream: UpstreamServer) -> None:
    """What a model may take passes unaltered, deep and wide bodies included."""
    more = {
        "n": 128,
        "max_tokens": MOST_TOKENS,
        "max_completion_tokens": None,
        "metadata": nested(100),
        "logit_bias": {str(number): 1 for number in range(300)},
    }
    assert client.post("/v1/chat/completions", json={"model": "r", "messages": MESSAGES, "x": [[]] * 5000, **more}).status_code == 200
    assert upstream.seen[0].body["metadata"] == more["metadata"]


@pytest.mark.parametrize(
    "raw", [b"[" * 1000, b"[" * 100_000, b'{"model":"r","messages":' + b"[" * 500 + b"]" * 500 + b"}", b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_nesting_without_end(client: httpx.Client, raw: bytes) -> None:
    """400, quickly, whatever the depth."""
    answer = client.post("/v1/chat/completions", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "model", ["one/a\r\nset-cookie: x=1", "one/\x00", "one/\u2028", "\ud800", "one/\x1b[31m"], ids=["crlf", "nul", "separator", "surrogate", "escape"]
)
def test_names_that_no_header_may_hold(client: httpx.Client, upstream: UpstreamServer, model: str) -> None:
    """A model's name goes into headers and tables: one with control characters does not exist (a lone surrogate is no JSON)."""
    answer = client.post("/v1/chat/completions", content=json.dumps({"model": model, "messages": MESSAGES}), headers={"content-type": "application/json"})
    assert answer.status_code in {400, 404}
    assert "set-cookie" not in answer.headers
    assert not upstream.seen


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"r","messages":[{"role":"user","content":"\xff\xfe"}]}',
        b'{"model":"r","temperature":NaN}',
        b'{"model":"r","temperature":1e999}',
        b'{"model":"r","x":"\\ud800"}',
        b"null",
        b"3",
        b"",
    ],
)
def test_what_is_no_json(client: httpx.Client, raw: bytes) -> None:
    """Invalid UTF-8, NaN, infinities, lone surrogates, other than objects: 400 in OpenAI's shape."""
    answer = client.post("/v1/chat/completions", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_of_duplicate_keys_the_last_counts(client: httpx.Client, upstream: UpstreamServer) -> None:
    """One reading for the gateway and the provider: what is sent on has the key once."""
    raw = b'{"model":"none","model":"r","messages":[{"role":"user","content":"hi"}],"max_tokens":-1,"max_tokens":5}'
    assert client.post("/v1/chat/completions", content=raw, headers={"content-type": "application/json"}).status_code == 200
    assert upstream.seen[0].raw.count(b"max_tokens") == 1


def test_the_depth_is_looked_at_only_where_it_can_be() -> None:
    """A check that few brackets spare."""
    check(nested(200), b"{" * 10)
    with pytest.raises(RequestError):
        check(nested(200), b"{" * 400)
