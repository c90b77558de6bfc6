"""A client's request body: one parse, what routing may know of it, and the bytes for an upstream. Pure. Only what we route by is checked; the rest passes.

Not here: request headers (wishes.py), answers (sse.py, usage.py), HTTP (endpoints.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import orjson

from router.capability import needs
from router.errors import RequestError
from router.types import Features

Endpoint = Literal["chat", "completions", "embeddings"]
PATHS: dict[Endpoint, str] = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}

# Parts of a message that are not text are sized by what they are usually billed as, at four bytes a token; their encoded size says nothing.
_PART_BYTES = 3000
_INPUTS: dict[Endpoint, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it was sent. `body` is shared and never changed; `wants_usage`: the client itself asked for usage in its stream."""

    endpoint: Endpoint
    body: dict[str, Any]
    model: str
    stream: bool
    wants_usage: bool

    @property
    def hides_usage(self) -> bool:
        """Whether usage must be taken out of the stream again."""
        return self.stream and not self.wants_usage


def parse(raw: bytes, endpoint: Endpoint) -> Ask:
    """Read a request body. Raises RequestError, in OpenAI's words, for what cannot be routed."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"We could not parse the JSON body of your request: {error}. The API expects a JSON payload encoded as UTF-8.") from None
    if not isinstance(body, dict):
        raise RequestError(f"Invalid body: expected a JSON object, but got {_a(body)} instead.", code="invalid_type")
    model = body.get("model")
    if model is None:
        raise RequestError("you must provide a model parameter", param="model", code="missing_required_parameter")
    if not isinstance(model, str):
        raise _wrong_type("model", "a string", model)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong_type("stream", "a boolean", stream)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong_type("stream_options", "an object", options)
    _check_input(body, endpoint)
    return Ask(endpoint, body, model, bool(stream) and endpoint != "embeddings", bool(options and options.get("include_usage")))


def upstream_body(ask: Ask, model: str) -> bytes:
    """The bytes to send: the client's body with our `model`, and usage asked for in streams."""
    body = {**ask.body, "model": model}
    if ask.stream and not ask.wants_usage:
        body["stream_options"] = {**(ask.body.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(body)


def features(ask: Ask, slo_total_ms: float | None = None) -> Features:
    """Sizes and needs, never text."""
    body = ask.body
    n = body.get("n")
    return Features(
        prompt_bytes=_prompt_bytes(ask),
        max_tokens=_max_tokens(body),
        n=n if isinstance(n, int) and not isinstance(n, bool) and n > 0 else 1,
        stream=ask.stream,
        needs=needs(body, ask.endpoint),
        conversation=_conversation(ask),
        slo_total_ms=slo_total_ms,
    )


def _check_input(body: dict[str, Any], endpoint: Endpoint) -> None:
    name = _INPUTS[endpoint]
    value = body.get(name)
    if value is None:
        raise RequestError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    if endpoint != "chat":
        if not isinstance(value, str | list):
            raise _wrong_type(name, "a string or an array", value)
        return
    if not isinstance(value, list):
        raise _wrong_type(name, "an array of objects", value)
    if not value:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        raise RequestError(message, param=name, code="empty_array")
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise _wrong_type(f"messages[{index}]", "an object", message)


def _wrong_type(param: str, expected: str, got: object) -> RequestError:
    return RequestError(f"Invalid type for '{param}': expected {expected}, but got {_a(got)} instead.", param=param, code="invalid_type")


def _a(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a decimal"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _max_tokens(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _prompt_bytes(ask: Ask) -> int:
    body = ask.body
    if ask.endpoint != "chat":
        return _input_bytes(body[_INPUTS[ask.endpoint]])
    total = 0
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            total += _text_bytes(content)
        elif isinstance(content, list):
            total += sum(map(_part_bytes, content))
        if "tool_calls" in message:
            total += len(orjson.dumps(message["tool_calls"]))
    for name in ("tools", "functions", "response_format"):
        if body.get(name):
            total += len(orjson.dumps(body[name]))
    return total


def _part_bytes(part: object) -> int:
    text = part.get("text") if isinstance(part, dict) else None
    return _text_bytes(text) if isinstance(text, str) else _PART_BYTES


def _input_bytes(value: object) -> int:
    if isinstance(value, str):
        return _text_bytes(value)
    if isinstance(value, list):
        return sum(map(_input_bytes, value))
    return 4  # one token id


def _conversation(ask: Ask) -> int:
    """The same for every turn of a conversation: its system text and first user message do not change."""
    begin = ask.body["messages"][:2] if ask.endpoint == "chat" else ask.body[_INPUTS[ask.endpoint]]
    return int.from_bytes(blake2b(orjson.dumps(begin), digest_size=8).digest(), "big")
