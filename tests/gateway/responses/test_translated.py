"""From a chat answer to a Responses answer: events, objects, and that no splitting of bytes matters."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.responses.answer import unfinished
from gateway.responses.composer import Composer
from gateway.responses.translated import TranslatedMeter, whole
from gateway.transcript import Rename
from tests.gateway.responses import strict
from tests.gateway.upstream_server import DONE, ROLE, STOP, USAGE, completion, event, usage, words


def composer(**body: Any) -> Composer:
    """One whose ids count from 1."""
    numbers = itertools.count(1)
    return Composer(unfinished({"model": "r", "input": "Hi", **body}, "resp_1", 100), lambda prefix: f"{prefix}_{next(numbers)}", lambda: 101.9)


def streamed(*chunks: bytes, rename: Rename | None = None, keep_text: bool = False, **body: Any) -> tuple[bytes, TranslatedMeter, list[dict[str, Any]]]:
    """What comes out of a stream that is read in one piece, its meter, and what was kept."""
    kept: list[dict[str, Any]] = []
    meter = TranslatedMeter(composer(**body), kept.append, rename=rename, keep_text=keep_text)
    out = meter.feed(b"".join(chunks))
    return out + meter.end(), meter, kept


def made(answer: dict[str, Any], rename: Rename | None = None, **body: Any) -> dict[str, Any]:
    """The `response` of a whole chat answer."""
    composing = composer(**body)
    whole(composing, answer, rename)
    return composing.response


def call(index: int | None, name: str | None = None, arguments: str | None = None, ident: str | None = None) -> bytes:
    """A chunk with a piece of a tool call."""
    piece: dict[str, Any] = {"function": {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}}
    piece |= {} if index is None else {"index": index}
    piece |= {} if ident is None else {"id": ident, "type": "function"}
    return event({"tool_calls": [piece]})


HELLO = (ROLE, *words("Hello", " there"), STOP, USAGE, DONE)
CALLS = (
    ROLE,
    *words("Let me see."),
    call(0, "weather", "", "call_a"),
    call(0, arguments='{"city":'),
    call(0, arguments='"Ulm"}'),
    call(1, "time", "{}", "call_b"),
    event({}, "tool_calls"),
    USAGE,
    DONE,
)


def test_a_text_stream() -> None:
    """The exact events, in their order, and the meter's view of it."""
    out, meter, kept = streamed(*HELLO)
    found = strict.events(out)
    strict.in_order(found)
    assert [each["type"].removeprefix("response.") for each in found] == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    final = found[-1]["response"]
    part = {"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}
    assert final["output"] == [{"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}]
    assert (final["id"], final["model"], final["status"], final["created_at"], final["completed_at"]) == ("resp_1", "gpt-4o-mini", "completed", 100, 101)
    assert (final["usage"]["input_tokens"], final["usage"]["output_tokens"], final["usage"]["total_tokens"]) == (9, 3, 12)
    assert kept == [final]
    assert (meter.complete, meter.done, meter.started, meter.finish_reason, meter.output_bytes) == (True, True, True, "stop", 11)


def test_tool_calls_after_a_text() -> None:
    """The message is closed before the calls; each call is an item with its own id and the call's."""
    out, _, _ = streamed(*CALLS)
    found = strict.events(out)
    strict.in_order(found)
    output = found[-1]["response"]["output"]
    assert [each["type"] for each in output] == ["message", "function_call", "function_call"]
    assert output[1] == {"id": "fc_2", "type": "function_call", "status": "completed", "call_id": "call_a", "name": "weather", "arguments": '{"city":"Ulm"}'}
    assert (output[2]["call_id"], output[2]["name"], output[2]["arguments"]) == ("call_b", "time", "{}")
    assert [each["delta"] for each in found if each["type"] == "response.function_call_arguments.delta"] == ['{"city":', '"Ulm"}', "{}"]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([call(0, "weather", "{}", "a"), call(0, "time", "{}", "b")], id="every call is number 0"),
        pytest.param([call(0, "wea", None, "a"), call(0, None, "{}"), call(1, "time", "{}", "b")], id="arguments in pieces"),
        pytest.param([call(0, None, None, "a"), call(0, None, "{"), call(0, "weather", "}"), call(1, "time", "{}")], id="the name comes late"),
        pytest.param([call(0, "weather", "{", "a"), call(1, "time", "{", "b"), call(0, None, "}"), call(1, None, "}")], id="side by side"),
        pytest.param([event({"tool_calls": [{"function": {"name": n, "arguments": "{}"}} for n in ("weather", "time")]})], id="no numbers"),
    ],
)
def test_tool_calls_of_odd_providers(chunks: list[bytes]) -> None:
    """Two calls come out whole, whatever way their pieces are numbered."""
    out, _, _ = streamed(ROLE, *chunks, event({}, "tool_calls"), DONE)
    found = strict.events(out)
    strict.in_order(found)
    output = found[-1]["response"]["output"]
    assert [each["arguments"] for each in output] == ["{}", "{}"]
    assert output[0]["name"] in {"weather", "wea"}
    assert output[1]["name"] == "time"
    assert output[0]["call_id"] != output[1]["call_id"]


def test_reasoning_text_and_refusal() -> None:
    """Reasoning is an item of its own, however a backend calls it; a refusal is a second part of the message."""
    thought = [event({"reasoning_content": "Hm", "reasoning": "Hm"}), event({"reasoning": ", well"})]
    out, _, _ = streamed(ROLE, *thought, *words("No"), event({"refusal": "I can"}), event({"refusal": "not"}), STOP, DONE)
    found = strict.events(out)
    strict.in_order(found)
    reasoning, message = found[-1]["response"]["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Hm, well"}]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1]["refusal"] == "I cannot"
    assert {"response.refusal.delta", "response.refusal.done", "response.reasoning_text.delta"} <= {each["type"] for each in found}


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_short(finish: str, reason: str) -> None:
    """`response.incomplete`, with the reason, and an incomplete item."""
    found = strict.events(streamed(ROLE, *words("Hel"), event({}, finish), USAGE, DONE)[0])
    strict.in_order(found)
    final = found[-1]["response"]
    assert (found[-1]["type"], final["status"], final["incomplete_details"], final["completed_at"]) == (
        *("response.incomplete", "incomplete", {"reason": reason}, None),
    )
    assert final["output"][0]["status"] == "incomplete"


def test_log_probabilities() -> None:
    """Short in events, whole in the part; null bytes are empty."""
    top = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}, {"token": "Ho", "logprob": -2.0, "bytes": None}]
    entry = {"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": top}
    chunk = event(choices=[{"index": 0, "delta": {"content": "Hi"}, "logprobs": {"content": [entry]}, "finish_reason": None}])
    found = strict.events(streamed(ROLE, chunk, STOP, DONE, top_logprobs=2)[0])
    strict.in_order(found)
    short = [{"token": "Hi", "logprob": -0.1, "top_logprobs": [{"token": "Hi", "logprob": -0.1}, {"token": "Ho", "logprob": -2.0}]}]
    assert found[4]["logprobs"] == found[5]["logprobs"] == short
    assert found[-1]["response"]["output"][0]["content"][0]["logprobs"][0]["top_logprobs"][1] == {"token": "Ho", "logprob": -2.0, "bytes": []}
    assert found[-1]["response"]["top_logprobs"] == 2


def test_a_missing_done_and_an_empty_answer() -> None:
    """A whole answer ends with its last event, `[DONE]` or not, usage or not; one that says nothing has no output."""
    found = strict.events(streamed(*HELLO[:-2])[0])
    strict.in_order(found)
    assert found[-1]["response"]["usage"] is None
    found = strict.events(streamed(ROLE, STOP, DONE)[0])
    strict.in_order(found)
    assert found[-1]["response"]["output"] == []
    assert [each["type"] for each in strict.events(streamed(DONE)[0])][-1] == "response.completed"


def test_a_broken_answer() -> None:
    """No last event but an error that counts on; nothing is kept."""
    out, meter, kept = streamed(*HELLO[:2])
    found = strict.events(out + meter.broken("it broke"))
    said = {"code": "stream_interrupted", "message": "it broke", "param": None}
    assert found[-1] == {"type": "error", "sequence_number": 5, **said, "error": {"type": "server_error", **said}}
    assert (meter.complete, kept) == (False, [])
    out, meter, kept = streamed(*HELLO[:2], b"data: {oops\n\n", *HELLO[2:])
    assert [each["type"] for each in strict.events(out)][-1] == "response.output_text.delta"
    assert (meter.error, meter.complete, kept) == ("a chunk that is not JSON", False, [])


def test_only_the_first_choice_counts_and_comments_pass() -> None:
    """Keep-alives reach the client; events of other kinds and other choices do not."""
    other = event(choices=[{"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}])
    out, meter, _ = streamed(b": ping\n\n", b"event: note\n\n", ROLE, *words("yes"), other, STOP, DONE, keep_text=True)
    assert out.startswith(b": ping\n\nevent: response.created")
    assert b'"delta":"no"' not in out
    assert meter.transcript is not None
    assert meter.transcript.text == "yes"


def test_an_answer_begins_with_its_first_choice() -> None:
    """What a provider says of the prompt before is no part of it; the model's name comes with the choice."""
    judged = event(choices=[], model="", prompt_filter_results=[{"prompt_index": 0}])
    found = strict.events(streamed(judged, *HELLO)[0])
    strict.in_order(found)
    assert {each["response"]["model"] for each in found if "response" in each} == {"gpt-4o-mini"}


def test_the_model_has_the_name_it_was_asked_by() -> None:
    """An engine's answers carry its public name."""
    out, _, _ = streamed(*HELLO, rename=Rename("gpt-4o-mini", "local"))
    assert {each["response"]["model"] for each in strict.events(out) if "response" in each} == {"local"}
    assert made(completion(), Rename("other", "local"))["model"] == "gpt-4o-mini"


@settings(deadline=None)
@given(st.sampled_from([HELLO, CALLS]), st.lists(st.integers(1, 60), min_size=1), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same_events(chunks: tuple[bytes, ...], sizes: list[int], line_end: bytes) -> None:
    """How bytes were split into reads, and how lines end, makes no difference."""
    stream = b"".join(chunks).replace(b"\n", line_end)
    kept: list[dict[str, Any]] = []
    meter = TranslatedMeter(composer(), kept.append)
    out, position = b"", 0
    for size in itertools.cycle(sizes):
        if position >= len(stream):
            break
        out += meter.feed(stream[position : position + size])
        position += size
    expected, _, wanted = streamed(*chunks)
    assert out + meter.end() == expected
    assert kept == wanted


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=3) | st.sampled_from(["stop", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "delta", "content", "tool_calls", "id", "function", "name", "arguments", "logprobs", "top_logprobs", "finish_reason", "refusal"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(JSON, max_size=4), st.dictionaries(st.sampled_from(["model", "usage", "service_tier"]), JSON))
def test_no_chunk_breaks_it(choices: list[Any], more: dict[str, Any]) -> None:
    """Whatever a provider sends in its chunks, whole or streamed: no exception, and numbered events come out."""
    out, _, _ = streamed(ROLE, event(choices=choices, **more), STOP, DONE)
    numbers = [orjson.loads(line[6:])["sequence_number"] for line in out.split(b"\n") if line.startswith(b"data: ")]
    assert numbers == list(range(len(numbers)))
    messages = [{**each, "message": each.get("delta")} if isinstance(each, dict) else each for each in choices]
    assert made({"choices": messages, **more})["object"] == "response"


def test_a_whole_answer_is_the_same_object() -> None:
    """Streamed or not, the response is the same."""
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [
        {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]}  # fmt: skip
    answer = completion(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}], service_tier="default")
    assert strict.response(made(answer)) == strict.events(streamed(*CALLS)[0])[-1]["response"]
    strict.in_order(strict.events(whole(composer(), answer, None)))


def test_the_object_repeats_its_request() -> None:
    """Every field of the request that the API returns, with its defaults; usage in detail."""
    tool = {"type": "function", "name": "time"}
    shape = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    asked = {
        "instructions": "s",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_0",
        "temperature": 0.5,
        "top_p": 0.9,
        "tools": [tool],
        "tool_choice": "none",
        "store": False,
        "user": "u",
        "text": {"format": shape},
        "reasoning": {"effort": "low"},
        "service_tier": "auto",
        "prompt_cache_key": "k",
        "safety_identifier": "i",
        "truncation": "disabled",
    }
    spent = {**usage(), "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    answer = strict.response(made(completion(usage=spent), **asked))
    for name in set(asked) - {"tools", "text", "reasoning", "service_tier"}:
        assert answer[name] == asked[name]
    assert answer["tools"] == [{**tool, "description": None, "parameters": None, "strict": None}]
    assert answer["text"] == {"verbosity": "medium", "format": {**shape, "description": None}}
    assert (answer["reasoning"], answer["service_tier"]) == ({"effort": "low", "summary": None}, "default")
    assert answer["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    }
