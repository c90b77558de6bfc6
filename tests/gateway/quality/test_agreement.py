"""gateway.quality.agreement: how far two answers say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.quality.agreement import agreement, spoken


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ('{"a": 1, "b": "X  y"}', '{"b": "x Y", "a": 1.0}', (1.0, "json_fields")),
        ('{"a": 1, "b": 2}', '```json\n{"a": 1, "b": 3}\n```', (0.5, "json_fields")),
        ('{"a": true}', '{"a": 1}', (0.0, "json_fields")),
        ("[1, 2]", "[1, 2, 3]", (0.8, "json_fields")),
        ("{}", "[]", (1.0, "json_fields")),
        ("Refund.", "refund", (1.0, "words")),
        ("a refund please", "please a refund", (1.0, "words")),
        ("refund", "billing", (0.0, "words")),
        ("the the cat", "the cat", (0.8, "words")),
        ("", "", (1.0, "words")),
        ("!!", "??", (0.0, "words")),
        ('{"a": 1}', "a is 1", (0.8, "words")),
    ],
)
def test_agreement_is_what_both_have(one: str, other: str, expected: tuple[float, str]) -> None:
    """Fields of JSON by value whatever their order or fence; else words, whatever their order, case and marks."""
    found = agreement(one, other)
    assert found[0] == pytest.approx(expected[0])
    assert found[1] == expected[1]
    assert agreement(other, one) == found


@given(one=st.text(), other=st.text())
def test_any_two_texts_have_an_agreement(one: str, other: str) -> None:
    """Between 0 and 1, the same both ways, 1 with itself."""
    value, _ = agreement(one, other)
    assert 0.0 <= value <= 1.0
    assert agreement(other, one)[0] == value
    assert agreement(one, one)[0] == 1.0


def test_tool_calls_are_compared_by_what_they_call() -> None:
    """Ids do not matter, arguments do by value."""

    def call(name: str, arguments: str) -> str:
        return spoken("", [{"id": name + arguments, "type": "function", "function": {"name": name, "arguments": arguments}}])

    assert agreement(call("f", '{"x": 1, "y": 2}'), call("f", '{"y":2,"x":1}'))[0] == 1.0
    assert agreement(call("f", '{"x": 1}'), call("g", '{"x": 1}'))[0] == 0.5
    assert agreement(call("f", "broken"), call("f", "broken"))[0] == 1.0
    assert spoken("said", []) == "said"
