"""Reading the answers of backends that have the Responses API."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.responses.native import NativeMeter, failed, finish_of, read_output
from gateway.transcript import Transcript
from router.types import Usage
from tests.gateway.responses.native_answers import EVENTS, FAILED, RESPONSE, numbered, stream


def fed(data: bytes, **options: Any) -> tuple[bytes, NativeMeter]:
    """All of a stream at once."""
    meter = NativeMeter(**options)
    out = meter.feed(data)
    return out + meter.end(), meter


def test_a_stream_passes_unaltered_and_is_read() -> None:
    """Bytes are the same; first token, usage, tier, transcript and completeness are known; there is no `[DONE]`."""
    out, meter = fed(stream(), keep_text=True)
    assert out == stream()
    assert (meter.complete, meter.done, meter.started, meter.error) == (True, True, True, None)
    assert (meter.usage, meter.service_tier, meter.finish_reason) == (Usage(input=20, cached=5, output=7, reasoning=2), "flex", "tool_calls")
    assert meter.output_bytes == len("Hello") + len('{"a":1}')
    assert meter.transcript is not None
    assert meter.transcript.text == "Hello"
    assert meter.transcript.tool_calls == [{"id": "call_1", "type": "function", "function": {"name": "time", "arguments": '{"a":1}'}}]


def test_the_first_token_is_the_first_delta() -> None:
    """What only opens an answer is not a token; anything else is, built-in tools included."""
    meter = NativeMeter()
    for event in numbered(EVENTS)[:4]:
        meter.feed(event)
        assert not meter.started
    meter.feed(numbered(EVENTS)[4])
    assert meter.started
    searching = NativeMeter()
    searching.feed(numbered([{"type": "response.web_search_call.in_progress", "output_index": 0, "item_id": "ws"}])[0])
    assert searching.started


@settings(deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1))
def test_any_split_gives_the_same(sizes: list[int]) -> None:
    """How bytes were split into reads makes no difference."""
    meter, out, position, data = NativeMeter(keep_text=True), b"", 0, stream()
    for size in itertools.cycle(sizes):
        if position >= len(data):
            break
        out += meter.feed(data[position : position + size])
        position += size
    assert out + meter.end() == data
    assert (meter.usage, meter.complete, meter.output_bytes) == (Usage(20, 5, 7, 2), True, 12)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["function_call", "output_text", "server_error", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["item", "type", "content", "text", "output", "error", "code", "usage", "arguments", "call_id"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.sampled_from(["response.completed", "response.failed", "response.output_item.done", "response.output_text.delta", "error"]),
    st.dictionaries(st.sampled_from(["response", "item", "delta", "output_index", "sequence_number", "message", "code"]), JSON),
)
def test_no_event_breaks_it(kind: str, fields: dict[str, Any]) -> None:
    """Whatever a provider sends in its events or as a whole answer: no exception."""
    out, meter = fed(numbered([{"type": kind, **fields}])[0], keep_text=True)
    assert out or meter.error is not None
    whole: dict[str, Any] = fields.get("response") if isinstance(fields.get("response"), dict) else {}
    assert read_output(whole, Transcript()) >= 0
    assert finish_of(whole) is None or isinstance(finish_of(whole), str)
    assert failed(whole) in {True, False}


def test_a_stream_that_ends_early_is_not_complete() -> None:
    """The error event goes on counting."""
    out, meter = fed(b"".join(numbered(EVENTS)[:5]))
    assert out == b"".join(numbered(EVENTS)[:5])
    assert (meter.complete, meter.done) == (False, False)
    last = orjson.loads(meter.broken("cut").split(b"data: ")[1])
    said = {"code": "stream_interrupted", "message": "cut", "param": None}
    assert last == {"type": "error", "sequence_number": 5, **said, "error": {"type": "server_error", **said}}


def test_errors_inside_a_stream() -> None:
    """An error event is replaced by ours; a `response.failed` that is the provider's fault ends the stream as it is; one about the request is an answer."""
    begun = b"".join(numbered(EVENTS)[:5])
    out, meter = fed(begun + numbered([{"type": "error", "code": "server_error", "message": "oh", "param": None}])[0])
    assert (out, meter.error, meter.complete) == (begun, "oh", False)
    assert b"stream_interrupted" in meter.broken("x")
    gone = numbered([{"type": "response.failed", "response": FAILED}])[0]
    out, meter = fed(begun + gone)
    assert (out, meter.error, meter.complete) == (begun + gone, "it broke", False)
    assert meter.broken("x") == b""
    refused = numbered([{"type": "response.failed", "response": {**FAILED, "error": {"code": "invalid_prompt", "message": "no"}}}])[0]
    out, meter = fed(begun + refused)
    assert (out, meter.error, meter.complete, meter.finish_reason) == (begun + refused, None, True, "invalid_prompt")


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        ({"status": "completed", "output": []}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "queued"}, None),
        (RESPONSE, "tool_calls"),
        (FAILED, "server_error"),
    ],
)
def test_why_it_ended(answer: dict[str, Any], finish: str | None) -> None:
    """In chat's words, as the ledger and captures have them."""
    assert finish_of(answer) == finish


def test_whole_answers() -> None:
    """Text and calls are found; who failed is told from the code."""
    said = Transcript()
    assert read_output(RESPONSE, said) == 12
    assert (said.text, said.tool_calls[0]["function"]["name"]) == ("Hello", "time")
    assert read_output({"output": [5, {"content": [7, {"text": 1}]}]}, Transcript()) == 0
    assert failed(FAILED)
    assert failed({"error": "text"})
    assert not failed({"error": {"code": "invalid_image"}})
