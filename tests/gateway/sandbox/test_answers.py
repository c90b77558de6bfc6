"""What the sandbox says without a model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.sandbox.answers import chat_answer, cut, instance, scripted
from gateway.sandbox.references import Reference, ReferenceBook

BOOK = ReferenceBook([Reference("q", "the answer")], 0, 0)


def answer(**body: Any) -> str:
    return chat_answer({"messages": [{"role": "user", "content": "hello"}]} | body, BOOK).text


def test_a_reference_answer_wins_over_a_format() -> None:
    """Who gives references decides what they look like."""
    assert answer(messages=[{"role": "user", "content": "q"}], response_format={"type": "json_object"}) == "the answer"


def test_scripted_answers_depend_on_the_question_alone() -> None:
    """The same question gets the same text."""
    assert answer() == answer() == scripted("hello")
    assert len({scripted(str(n)) for n in range(50)}) > 5


def test_answers_are_cut_at_stop_words_and_limits() -> None:
    """`stop` as text or list, `max_completion_tokens` before `max_tokens`; a cut by length says so."""
    assert cut("one two three", ["zwei", "two"], None).text == "one "
    assert cut("one two three", "", 2) == cut("one two", None, None).__class__(("one", " two"), "length")
    assert cut("one two", None, 2).finish == "stop"
    assert chat_answer({"messages": [{"role": "user", "content": "q"}], "max_tokens": 1, "max_completion_tokens": 2}, BOOK).text == "the answ"


SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}, {"a": ""}),
    ({"properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}, {"a": "x"}),
    ({"const": 7}, 7),
    ({"type": ["string", "null"], "minLength": 2}, "xx"),
    ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
    ({"type": "array", "items": {"type": "number", "minimum": 3}, "minItems": 2}, [3, 3]),
    ({"type": "integer", "maximum": -1}, -1),
    ({"type": "boolean"}, False),
    ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string", "default": "d"}}}, "d"),
]


@pytest.mark.parametrize(("schema", "smallest"), SCHEMAS)
def test_the_smallest_value_of_a_schema(schema: dict[str, Any], smallest: Any) -> None:
    """Valid and minimal for each keyword."""
    assert instance(schema) == smallest


def test_a_schema_that_contains_itself_ends() -> None:
    """Recursion is cut off."""
    node: dict[str, Any] = {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}, "required": ["next"]}}, "$ref": "#/$defs/n"}
    assert "null" in json.dumps(instance(node))


def test_structured_output_without_a_reference_is_valid_json() -> None:
    """json_schema gives an instance of the schema, json_object an object, text and nonsense the script."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    assert answer(response_format={"type": "json_schema", "json_schema": {"schema": schema}}) == '{"ok":false}'
    assert json.loads(answer(response_format={"type": "json_object"})) == {"sandbox": True}
    assert answer(response_format={"type": "text"}) == answer()


def test_a_tool_is_called_when_the_request_insists() -> None:
    """`required` takes the first, a name takes that one, `auto` answers in text, an unknown name too."""
    tools = [{"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in ("first", "second")]

    def called(choice: Any) -> str | None:
        return chat_answer({"messages": [{"role": "user", "content": "x"}], "tools": tools, "tool_choice": choice}, BOOK).tool

    assert called("required") == "first"
    assert called({"type": "function", "function": {"name": "second"}}) == "second"
    assert called("auto") is None
    assert called({"type": "function", "function": {"name": "third"}}) is None
    assert chat_answer({"messages": [], "tool_choice": "required"}, BOOK).tool is None


def test_a_tool_left_to_the_model_is_called_where_the_question_names_it() -> None:
    """By its whole name, in the last message alone: its result is answered in words, so an agent's loop ends."""
    tools = [{"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in ("get_weather", "get_time")]
    question = {"role": "user", "content": "Use get_time."}

    def called(*messages: dict[str, Any], **more: Any) -> str | None:
        return chat_answer({"messages": list(messages), "tools": tools, **more}, BOOK).tool

    assert called(question) == "get_time"
    assert called(question, tool_choice="auto") == "get_time"
    assert called(question, tool_choice="none") is None
    assert called({"role": "user", "content": "Use get_timetable."}) is None
    assert called(question, {"role": "assistant", "content": None}, {"role": "tool", "tool_call_id": "call_1", "content": "noon"}) is None
