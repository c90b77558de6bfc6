"""Checks with the official client's own types: every required key is there, every value has its type, a stream's events are in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
# Required by the published schema; the client's types have most of them optional.
KEYS = {
    *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "max_output_tokens", "model", "output", "usage", "user"),
    *("parallel_tool_calls", "previous_response_id", "reasoning", "store", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "metadata"),
    *("background", "completed_at", "max_tool_calls", "prompt_cache_key", "safety_identifier", "service_tier", "top_logprobs"),
}


def response(body: object) -> dict[str, Any]:
    """A `response` object, checked."""
    assert isinstance(body, dict)
    Response.model_validate(body)
    assert set(body) >= KEYS, KEYS - set(body)
    return body


def item(body: object) -> dict[str, Any]:
    """An item of a list, checked."""
    assert isinstance(body, dict)
    _ITEM.validate_python(body)
    return body


def events(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each checked; numbers without gaps, names that agree, whole items closed as they were opened."""
    found = []
    for block in stream.decode().strip().split("\n\n"):
        name, data = block.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        _EVENT.validate_python(event)
        if "response" in event:
            response(event["response"])
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def in_order(found: list[dict[str, Any]]) -> None:
    """A whole stream's events: each item and part is added, told and done, once; texts add up; the last event has it all."""
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    assert found[-1]["type"] in {"response.completed", "response.incomplete"}
    final = found[-1]["response"]
    assert len({event["response"]["id"] for event in found if "response" in event}) == 1
    added = [event for event in found if event["type"] == "response.output_item.added"]
    done = {event["output_index"]: event["item"] for event in found if event["type"] == "response.output_item.done"}
    assert [event["output_index"] for event in added] == list(range(len(final["output"])))
    assert [done[index] for index in sorted(done)] == final["output"]
    assert [event["item"]["id"] for event in added] == [each["id"] for each in final["output"]]
    for index, each in enumerate(final["output"]):
        _item_in_order([event for event in found if event.get("output_index") == index], each)


def _item_in_order(mine: list[dict[str, Any]], final: dict[str, Any]) -> None:
    assert mine[0]["type"] == "response.output_item.added"
    assert mine[-1]["type"] == "response.output_item.done"
    assert {event["item_id"] for event in mine if "item_id" in event} <= {final["id"]}
    if final["type"] == "function_call":
        assert _deltas(mine) == final["arguments"]
        assert mine[-2]["type"] == "response.function_call_arguments.done"
        assert mine[-2]["arguments"] == final["arguments"]
        return
    for number, part in enumerate(final["content"]):
        own = [event for event in mine if event.get("content_index") == number]
        text = part.get("text", part.get("refusal"))
        assert own[0]["type"] == "response.content_part.added"
        assert own[-1]["type"] == "response.content_part.done"
        assert own[-1]["part"] == part
        assert _deltas(own) == text
        assert own[-2].get("text", own[-2].get("refusal")) == text


def _deltas(found: Iterable[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in found if event["type"].endswith(".delta"))
