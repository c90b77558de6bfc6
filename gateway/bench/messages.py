"""The bytes of the benchmark: the requests clients send and the answers the upstream gives. Nothing here opens a socket.

Every event of a stream carries the instant the upstream sent it (CLOCK_MONOTONIC, the same for all processes of a machine), so that a client can tell how late
it is.
"""

from __future__ import annotations

import json
import re

CHUNKS = 50
PACE_S = 0.02
MODEL = "gpt-4o-mini"
PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 9, "completion_tokens": CHUNKS, "total_tokens": 9 + CHUNKS}
DONE = b"data: [DONE]\n\n"
_PACED = "paced"
# The text of an event is the microsecond it was sent at; other gateways write their JSON with a space.
STAMP = re.compile(rb'"content": ?"(\d+) "')


def request(address: tuple[str, int], model: str, key: str, stream: str = "") -> bytes:
    """A whole HTTP request for a small chat. `stream`: empty for a plain answer, `instant` or `paced` for fifty events."""
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "Where is order 482913?"}], "max_tokens": 64}
    if stream:
        body |= {"stream": True, "user": stream}
    data = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: {address[0]}:{address[1]}\r\ncontent-type: application/json\r\naccept: */*\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def answer() -> bytes:
    """A whole HTTP response: a small chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "It left the warehouse this morning."}, "finish_reason": "stop"}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": USAGE}
    data = json.dumps(body, separators=(",", ":")).encode()
    return f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


def pace_of(body: bytes) -> float | None:
    """Seconds between the events that a request's body asks for; 0.0: none; None: no stream at all."""
    if b'"stream"' not in body:
        return None
    asked = json.loads(body)
    if not asked.get("stream"):
        return None
    return PACE_S if asked.get("user") == _PACED else 0.0


def stream_head() -> bytes:
    """The head of a streamed response, with the event that names the role."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + framed(_event({"role": "assistant", "content": ""}, None))


def stamped(micros: int) -> bytes:
    """One event of a stream, sent at `micros`, as an HTTP chunk."""
    return framed(_BEFORE + b"%d" % micros + _AFTER)


def stream_end() -> bytes:
    """The events that end a stream (finish reason, usage, [DONE]) and the last HTTP chunk."""
    usage = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [], "usage": USAGE}
    last = b"data: " + json.dumps(usage, separators=(",", ":")).encode() + b"\n\n"
    return framed(_event({}, "stop") + last + DONE) + b"0\r\n\r\n"


def framed(data: bytes) -> bytes:
    """`data` as one chunk of HTTP's chunked coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


_BEFORE, _AFTER = _event({"content": "| "}, None).split(b"|")
