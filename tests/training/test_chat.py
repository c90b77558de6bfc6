"""training/chat.py: one line of an OpenAI chat file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import chat
from training.chat import Example

ASK = {"role": "user", "content": "hello"}
SAY = {"role": "assistant", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"order": 1}'}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def problems(body: Any) -> list[tuple[str | None, str]]:
    """(key, message) of each problem of a line."""
    parsed = chat.parse(body if isinstance(body, str) else json.dumps(body), 7, "f.jsonl")
    assert not isinstance(parsed, Example), "expected problems"
    assert all((p.file, p.line) == ("f.jsonl", 7) for p in parsed)
    return [(p.key, p.message) for p in parsed]


def example(body: Any) -> Example:
    """The example of a good line."""
    parsed = chat.parse(json.dumps(body), 1)
    assert isinstance(parsed, Example), parsed
    return parsed


@pytest.mark.parametrize(
    ("body", "key", "said"),
    [
        ("{", None, "not JSON"),
        ("[" * 100_000, None, "nested too deeply"),
        ("[1]", None, "must be a JSON object"),
        ('{"messages": [{"role": "user", "content": "\\ud83d"}]}', None, "surrogate"),
        ('{"messages": [], "messages": []}', None, "'messages' occurs twice"),
        ('{"messages": [{"role": "user", "content": NaN}]}', None, "NaN is not JSON"),
        ({}, "messages", "is missing"),
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": [ASK, SAY], "weight": 1}, "weight", "unknown key"),
        ({"messages": [ASK, SAY], "functions": []}, "functions", "deprecated"),
        ({"messages": [ASK, SAY], "tools": {}}, "tools", "must be a list"),
        ({"messages": [ASK, SAY], "tools": [{"type": "function"}]}, "tools[0]", "must look like"),
        ({"messages": ["x", SAY]}, "messages[0]", "not text"),
        ({"messages": [{"content": "x"}, SAY]}, "messages[0].role", "is missing"),
        ({"messages": [{"role": "human", "content": "x"}, SAY]}, "messages[0].role", "unknown role 'human'"),
        ({"messages": [{"role": "user"}, SAY]}, "messages[0].content", "is missing"),
        ({"messages": [{"role": "user", "content": 3}, SAY]}, "messages[0].content", "must be text, not a number"),
        ({"messages": [{**ASK, "weight": 1}, SAY]}, "messages[0].weight", "unknown key"),
        ({"messages": [{**ASK, "name": 3}, SAY]}, "messages[0].name", "must be text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, SAY]}, "messages[0].content", "only text parts"),
        ({"messages": [ASK, {**SAY, "weight": 2}]}, "messages[1].weight", "must be 0 or 1"),
        ({"messages": [ASK, {**SAY, "weight": True}]}, "messages[1].weight", "must be 0 or 1"),
        ({"messages": [ASK, {**SAY, "content": " "}]}, "messages[1].content", "is empty"),
        ({"messages": [ASK, {**SAY, "refusal": "no"}]}, "messages[1].refusal", "keep one"),
        ({"messages": [ASK, {**SAY, "tool_calls": []}]}, "messages[1].tool_calls", "at least one call"),
        ({"messages": [ASK, {"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages[1].tool_calls[0]", "must look like"),
        (
            {"messages": [ASK, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "[1]"}}]}]},
            "messages[1].tool_calls[0].function.arguments",
            "JSON object",
        ),
        ({"messages": [ASK]}, "messages", "no assistant message"),
        ({"messages": [SAY]}, "messages", "stands alone"),
        ({"messages": [ASK, SAY, ASK]}, "messages", "last message is from user"),
        ({"messages": [ASK, {**SAY, "weight": 0}]}, "messages", "weight 0"),
        ({"messages": [ASK, {"role": "tool", "content": "x"}, SAY]}, "messages[1].tool_call_id", "is missing"),
        ({"messages": [ASK, {"role": "tool", "content": "x", "tool_call_id": "c9"}, SAY]}, "messages[1].tool_call_id", "answers no earlier"),
    ],
)
def test_each_fault_is_named_with_its_place(body: Any, key: str | None, said: str) -> None:
    """Every way a line can be wrong gives a problem at its key that says what is wrong."""
    found = problems(body)
    assert [k for k, message in found if said in message] == [key], found


def test_all_faults_of_a_line_are_reported_at_once() -> None:
    """Three faults in one line are three problems."""
    body = {"messages": [{"role": "user"}, {"role": "robot", "content": "x"}, {**SAY, "weight": 5}], "extra": 1}
    assert [key for key, _ in problems(body)] == ["extra", "messages[0].content", "messages[1].role", "messages[2].weight"]


def test_a_good_line_with_everything() -> None:
    """Tools, tool calls, a tool answer, parts, names, nulls and weights are read."""
    body = {
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
            {"role": "tool", "content": "found", "tool_call_id": "c1"},
            {"role": "assistant", "content": "done", "weight": 1},
        ],
        "tools": [TOOL],
        "parallel_tool_calls": False,
    }
    read = example(body)
    assert read.trained == (4,)
    assert read.messages[1]["content"] == "ab"
    assert read.messages[2]["content"] == ""
    assert read.tools == (TOOL,)
    assert "weight" not in read.messages[4]
    assert read.answer == "done"
    assert len(read.prompt) == 4


def test_refusals_and_tool_calls_are_answers() -> None:
    """A refusal is learnt as its text; a final tool call counts as the answer."""
    assert example({"messages": [ASK, {"role": "assistant", "refusal": "I cannot"}]}).answer == "I cannot"
    assert "look" in example({"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}], "tools": [TOOL]}).answer


def test_the_digest_is_of_content_not_of_spelling() -> None:
    """Key order, spaces and an explicit weight 1 do not change the identity; content and weight 0 do."""
    plain = example({"messages": [ASK, SAY, ASK, SAY]})
    assert example({"messages": [{"content": "hello", "role": "user"}, {**SAY, "weight": 1}, ASK, SAY]}).digest == plain.digest
    assert example({"messages": [ASK, {**SAY, "weight": 0}, ASK, SAY]}).digest != plain.digest
    assert example({"messages": [ASK, SAY, ASK, {**SAY, "content": "ho"}]}).digest != plain.digest


@given(
    st.lists(st.tuples(st.text(min_size=1).filter(lambda t: t.strip()), st.text(min_size=1).filter(lambda t: t.strip()), st.booleans()), min_size=1, max_size=4)
)
def test_a_written_line_reads_back_as_itself(turns: list[tuple[str, str, bool]]) -> None:
    """as_line and parse are inverse, weights and any text included."""
    messages = [m for q, a, w in turns for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a, "weight": int(w)})]
    messages[-1]["weight"] = 1
    first = example({"messages": messages})
    again = chat.parse(first.as_line(), 1)
    assert again == first
    assert "\n" not in first.as_line()
