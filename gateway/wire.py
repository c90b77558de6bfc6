"""A client's request body: one parse, what routing may know of it, and the bytes for an upstream. Pure. Only what we route by is checked; the rest passes.

Not here: request headers (wishes.py), answers (sse.py, usage.py), HTTP (endpoints.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import orjson

from gateway.complaint import a, missing, wrong_type
from gateway.responses import request as responses
from router.capability import needs
from router.errors import RequestError
from router.quick import quick
from router.types import Features

Endpoint = Literal["chat", "completions", "embeddings", "responses"]
PATHS: dict[Endpoint, str] = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings", "responses": "/responses"}

# Parts of a message that are not text are sized by what they are usually billed as, at four bytes a token; their encoded size says nothing.
_PART_BYTES = 3000
# Endpoints whose requests are a conversation of messages, or can be told as one.
_TALKS: frozenset[Endpoint] = frozenset({"chat", "responses"})
_INPUTS: dict[Endpoint, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What is kept of a Responses request besides its answer. `sent` is the body as the client sent it, `root` the id its conversation began with."""

    sent: dict[str, Any]
    previous_id: str | None = None
    root: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it was sent. `body` is shared and never changed; `wants_usage`: the client itself asked for usage in its stream.

    Of `/v1/responses`: `body` has the earlier turns of a conversation of ours in its `input`, `chat` is the same in chat's words.
    """

    endpoint: Endpoint
    body: dict[str, Any]
    model: str
    stream: bool
    wants_usage: bool
    chat: dict[str, Any] | None = None
    turn: Turn | None = None

    @property
    def hides_usage(self) -> bool:
        """Whether usage must be taken out of the stream again."""
        return self.stream and not self.wants_usage

    @property
    def conversation(self) -> dict[str, Any]:
        """The body with `messages`, where the request has them."""
        return self.body if self.chat is None else self.chat


def parse(raw: bytes, endpoint: Endpoint) -> Ask:
    """Read a request body. Raises RequestError, in OpenAI's words, for what cannot be routed."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"We could not parse the JSON body of your request: {error}. The API expects a JSON payload encoded as UTF-8.") from None
    if not isinstance(body, dict):
        raise RequestError(f"Invalid body: expected a JSON object, but got {a(body)} instead.", code="invalid_type")
    model = body.get("model")
    if model is None:
        raise RequestError("you must provide a model parameter", param="model", code="missing_required_parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise wrong_type("stream", "a boolean", stream)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise wrong_type("stream_options", "an object", options)
    if endpoint == "responses":
        responses.check(body)
        return Ask(endpoint, body, model, bool(stream), True, responses.to_chat(body), Turn(body))
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
        prompt_bytes=prompt_bytes(ask),
        max_tokens=_max_tokens(ask.conversation),
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
        raise missing(name)
    if endpoint != "chat":
        if not isinstance(value, str | list):
            raise wrong_type(name, "a string or an array", value)
        return
    if not isinstance(value, list):
        raise wrong_type(name, "an array of objects", value)
    if not value:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        raise RequestError(message, param=name, code="empty_array")
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{index}]", "an object", message)


def _max_tokens(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def prompt_bytes(ask: Ask) -> int:
    """The size of a request's text, what is not text sized by what it is usually billed as."""
    body = ask.conversation
    if ask.endpoint not in _TALKS:
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
    body = ask.conversation
    begin = body["messages"][:2] if ask.endpoint in _TALKS else body[_INPUTS[ask.endpoint]]
    return int.from_bytes(blake2b(orjson.dumps(begin), digest_size=8).digest(), "big")
