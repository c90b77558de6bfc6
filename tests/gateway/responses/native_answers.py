"""What a provider with the Responses API sends: one answer with a text and a function call, whole and as events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from tests.gateway.upstream_server import Wire

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 27,
}
PART = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [PART]}
CALL = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "time", "arguments": '{"a":1}'}
RESPONSE: dict[str, Any] = {
    "id": "resp_0a1b",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "completed_at": 2,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "gpt-5",
    "output": [MESSAGE, CALL],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "flex",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": USAGE,
    "user": None,
    "metadata": {},
    "background": False,
}
OPEN = {**RESPONSE, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
FAILED = {**RESPONSE, "status": "failed", "completed_at": None, "error": {"code": "server_error", "message": "it broke"}, "usage": None}
_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": OPEN},
    {"type": "response.in_progress", "response": OPEN},
    {"type": "response.output_item.added", "output_index": 0, "item": {**MESSAGE, "status": "in_progress", "content": []}},
    {"type": "response.content_part.added", **_PLACE, "part": {**PART, "text": ""}},
    {"type": "response.output_text.delta", **_PLACE, "delta": "Hello", "logprobs": [], "obfuscation": "xyz"},
    {"type": "response.output_text.done", **_PLACE, "text": "Hello", "logprobs": []},
    {"type": "response.content_part.done", **_PLACE, "part": PART},
    {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
    {"type": "response.output_item.added", "output_index": 1, "item": {**CALL, "status": "in_progress", "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 1, "delta": '{"a":1}'},
    {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 1, "name": "time", "arguments": '{"a":1}'},
    {"type": "response.output_item.done", "output_index": 1, "item": CALL},
    {"type": "response.completed", "response": RESPONSE},
]


def numbered(events: Sequence[dict[str, Any]]) -> list[bytes]:
    """Events as they are sent."""
    return [
        f"event: {event['type']}\n".encode() + b"data: " + orjson.dumps({"sequence_number": number, **event}) + b"\n\n" for number, event in enumerate(events)
    ]


def stream() -> bytes:
    """The whole stream."""
    return b"".join(numbered(EVENTS))


async def natively(wire: Wire) -> None:
    """A provider that answers well."""
    if wire.seen.body.get("stream"):
        await wire.events(*numbered(EVENTS))
    else:
        await wire.json(RESPONSE)
