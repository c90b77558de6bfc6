"""`${VAR}` in scalars."""

from __future__ import annotations

import pytest

from gateway.config.document import from_text

ENV = {"A": "one", "EMPTY": "", "NEST": "${A}", "PORT": "9"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x${A}-${A}y", "xone-oney"),
        ("${A:-two}", "one"),
        ("${NO:-two}", "two"),
        ("${NO:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-two}", "two"),
        ("$${A}", "${A}"),
        ("$${A} ${A}", "${A} one"),
        ("${NEST}", "${A}"),
        ("$A $ {A}", "$A $ {A}"),
        ("${NO:-a:-b}", "a:-b"),
    ],
)
def test_substitution(text: str, value: str) -> None:
    """Set, unset, empty, escaped, and never twice."""
    document = from_text(f'key: "{text}"\n', "f", ENV)
    assert document.data == {"key": value}
    assert document.faults == []


def test_unquoted_scalars_are_filled_too() -> None:
    """Quotes are needed in `{…}` only."""
    assert from_text("key: ${PORT}\nlist: [a, '${A}']\n", "f", ENV).data == {"key": "9", "list": ["a", "one"]}


def test_keys_are_never_touched() -> None:
    """A key that looks like a variable stays as it is."""
    assert from_text('"${A}": 1\n', "f", ENV).data == {"${A}": 1}


@pytest.mark.parametrize(
    ("text", "part"), [("${NO}", "NO is not set"), ("${NO:x}", "begins no variable"), ("a ${", "begins no variable"), ("${1A}", "begins no variable")]
)
def test_what_cannot_be_filled_is_a_fault(text: str, part: str) -> None:
    """Unset variables and malformed references name their line."""
    document = from_text(f'a: 1\nkey: "{text}"\n', "f", ENV)
    assert [fault.line for fault in document.faults] == [2]
    assert part in document.faults[0].message


def test_every_unset_variable_of_a_scalar_is_reported() -> None:
    """Two unset variables in one value are two faults."""
    messages = [fault.message for fault in from_text('key: "${X}${Y}"\n', "f", {}).faults]
    assert [m.split(" is not set")[0] for m in messages] == ["the environment variable X", "the environment variable Y"]


def test_an_aliased_scalar_is_filled_once() -> None:
    """Sharing a node does not substitute in the result again, nor report twice."""
    assert from_text("a: &a ['$${A}']\nb: *a\n", "f", ENV).data == {"a": ["${A}"], "b": ["${A}"]}
    assert len(from_text("a: &a ['${X}']\nb: *a\n", "f", {}).faults) == 1
