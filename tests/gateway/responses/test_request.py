"""A Responses request in chat's words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.responses.request import to_chat
from gateway.wire import features, parse
from router.errors import RequestError

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "description": "d", "parameters": PARAMETERS, "strict": True}
TIME = {"type": "function", "name": "time"}
CHAT_WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": PARAMETERS, "strict": True}}
CHAT_TIME = {"type": "function", "function": {"name": "time"}}
HI = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("body", "chat"),
    [
        ({"input": "Hi"}, {"messages": HI}),
        (
            {"input": "Hi", "model": "m", "stream": True, "store": False, "metadata": {"a": "b"}, "truncation": "disabled", "include": [], "background": False},
            {"messages": HI},
        ),
        (
            {"input": "Hi", "instructions": "Be brief", "max_output_tokens": 5, "temperature": 0, "top_p": 0.5, "user": "u"},
            {"messages": [{"role": "system", "content": "Be brief"}, *HI], "max_tokens": 5, "temperature": 0, "top_p": 0.5, "user": "u"},
        ),
        (
            {"input": "Hi", "tools": [WEATHER, TIME], "tool_choice": "required", "parallel_tool_calls": False},
            {"messages": HI, "tools": [CHAT_WEATHER, CHAT_TIME], "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"input": "Hi", "tools": [TIME], "tool_choice": {"type": "function", "name": "time"}},
            {"messages": HI, "tools": [CHAT_TIME], "tool_choice": {"type": "function", "function": {"name": "time"}}},
        ),
        (
            {
                "input": "Hi",
                "tools": [WEATHER, TIME],
                "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "time"}]},
            },
            {"messages": HI, "tools": [CHAT_TIME], "tool_choice": "required"},
        ),
        ({"input": "Hi", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {"messages": HI}),
        (
            {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": PARAMETERS, "strict": True}, "verbosity": "low"}},
            {
                "messages": HI,
                "verbosity": "low",
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": PARAMETERS, "strict": True}},
            },
        ),
        ({"input": "Hi", "text": {"format": {"type": "json_object"}}}, {"messages": HI, "response_format": {"type": "json_object"}}),
        ({"input": "Hi", "text": {"format": {"type": "text"}}}, {"messages": HI}),
        (
            {"input": "Hi", "reasoning": {"effort": "low", "summary": "auto"}, "service_tier": "flex"},
            {"messages": HI, "reasoning_effort": "low", "service_tier": "flex"},
        ),
        ({"input": "Hi", "service_tier": "auto"}, {"messages": HI}),
        ({"input": "Hi", "top_logprobs": 2}, {"messages": HI, "logprobs": True, "top_logprobs": 2}),
        ({"input": "Hi", "include": ["message.output_text.logprobs"]}, {"messages": HI, "logprobs": True}),
        (
            {"input": "Hi", "top_k": 5, "n": 3, "messages": "x", "chat_template_kwargs": {"a": 1}},
            {"messages": HI, "top_k": 5, "chat_template_kwargs": {"a": 1}},
        ),
    ],
)
def test_every_field_has_its_counterpart(body: dict[str, Any], chat: dict[str, Any]) -> None:
    """What chat knows by another name or shape is translated, what only the Responses API has is left out, what neither has passes."""
    assert to_chat(body) == chat


def test_a_conversation_becomes_messages() -> None:
    """Roles, parts, calls and their outputs; one system message at the beginning; reasoning is left out."""
    picture = {"type": "input_image", "image_url": "data:x", "detail": "low"}
    items = [
        {"role": "developer", "content": "Be kind"},
        {"role": "system", "content": [{"type": "input_text", "text": "and "}, {"type": "input_text", "text": "brief"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is this?"}, picture]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "A "}, {"type": "refusal", "refusal": "cat"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "time", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "no"}, {"type": "input_text", "text": "on"}]},
        {
            "role": "user",
            "content": [{"type": "input_file", "file_data": "data:y", "filename": "a.pdf"}, {"type": "input_audio", "input_audio": {"data": "z"}}],
        },
        {"type": "function_call", "call_id": "c3", "name": "time", "arguments": "{}"},
        {"role": "developer", "content": "Now in German"},
    ]
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "time", "arguments": '{"a":1}'}},
    ]
    assert to_chat({"instructions": "Be true", "input": items})["messages"] == [
        {"role": "system", "content": "Be true\n\nBe kind\n\nand brief"},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}]},
        {"role": "assistant", "content": "A cat", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        {
            "role": "user",
            "content": [{"type": "file", "file": {"file_data": "data:y", "filename": "a.pdf"}}, {"type": "input_audio", "input_audio": {"data": "z"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c3", "type": "function", "function": {"name": "time", "arguments": "{}"}}]},
        {"role": "system", "content": "Now in German"},
    ]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "input", "must be provided"),
        ({"input": 5}, "input", "expected one of a string or an array of objects, but got an integer"),
        ({"input": ["x"]}, "input[0]", "expected an object, but got a string"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "an array of objects"),
        ({"input": [{"role": "user"}]}, "input[0].content", "Missing required parameter"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", "Missing required parameter"),
        ({"input": [{"role": "narrator", "content": "x"}]}, "input[0].role", "Supported values are"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role", "Missing required parameter"),
        ({"input": [{"type": "function_call", "name": "x", "arguments": "{}"}]}, "input[0].call_id", "Missing required parameter"),
        ({"input": [{"type": "function_call", "name": "x", "arguments": {}, "call_id": "c"}]}, "input[0].arguments", "expected a string, but got an object"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output", "Missing required parameter"),
        ({"input": "x", "instructions": []}, "instructions", "expected a string, but got an array"),
        ({"input": "x", "previous_response_id": 5}, "previous_response_id", "expected a string"),
        ({"input": "x", "text": True}, "text", "expected an object, but got a boolean"),
        ({"input": "x", "text": {"format": 0.5}}, "text.format", "expected an object, but got a decimal"),
        ({"input": "x", "tools": {}}, "tools", "expected an array of objects, but got an object"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name", "Missing required parameter"),
        ({"input": "x", "tools": [TIME], "tool_choice": {"type": "function"}}, "tool_choice.name", "Missing required parameter"),
        ({"input": "x", "store": "yes"}, "store", "expected a boolean, but got a string"),
        ({"input": "x", "metadata": "yes"}, "metadata", "expected an object"),
    ],
)
def test_wrong_shapes_are_refused_in_words(body: dict[str, Any], param: str, words: str) -> None:
    """400 with OpenAI's words and the place."""
    with pytest.raises(RequestError, match=r".") as refused:
        parse(orjson.dumps({"model": "r", **body}), "responses")
    assert (refused.value.status, refused.value.param) == (400, param)
    assert words in refused.value.message


def test_features_are_those_of_the_conversation() -> None:
    """Size, limit and conversation of a Responses request are those of the same chat; its needs are its own."""
    asked = parse(orjson.dumps({"model": "r", "instructions": "s", "input": "u", "max_output_tokens": 9, "tools": [TIME], "stream": True}), "responses")
    chat = {"model": "r", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "max_tokens": 9, "tools": [CHAT_TIME]}
    mine, theirs = features(asked), features(parse(orjson.dumps({**chat, "stream": True}), "chat"))
    assert (mine.prompt_bytes, mine.max_tokens, mine.conversation, mine.stream) == (theirs.prompt_bytes, 9, theirs.conversation, True)
    assert mine.needs == {"responses", "tools"}


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.sampled_from(["message", "function_call", "user", "input_text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "output", "format", "name", "call_id", "arguments", "tools", "mode"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "store", "stream", "prompt", "top_logprobs", "user"]
        ),
        JSON,
        max_size=8,
    )
)
def test_no_body_breaks_it(body: dict[str, Any]) -> None:
    """Any JSON object is either refused in words or fully understood."""
    try:
        ask = parse(orjson.dumps({"model": "m", **body}), "responses")
    except RequestError:
        return
    assert features(ask).prompt_bytes >= 0
    assert isinstance(ask.conversation["messages"], list)
