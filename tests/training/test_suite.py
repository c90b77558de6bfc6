"""training/suite.py and scorers.py: what is asked and how answers are judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.errors import DataError
from training import chat, scorers, suite
from training.chat import Example
from training.scorers import Answer
from training.suite import Item

ASK = [{"role": "system", "content": "s"}, {"role": "user", "content": "Where is order 5?"}]


def item(scorer: str, expected: Any, **more: Any) -> dict[str, Any]:
    """A good line's body."""
    return {"id": "a", "messages": ASK, "expected": expected, "scorer": scorer, "tags": ["t"], "must_pass": True, **more}


def write(tmp_path: Path, *rows: Any) -> Path:
    """A suite file; text rows go in as they are."""
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def problems(tmp_path: Path, *rows: Any) -> list[tuple[int | None, str | None, str]]:
    """(line, key, message) of every problem."""
    with pytest.raises(DataError) as caught:
        suite.load(write(tmp_path, *rows))
    return [(p.line, p.key, p.message) for p in caught.value.problems]


def test_a_good_suite(tmp_path: Path) -> None:
    """Items keep their order, parsed expectations and flags; the digest is of the bytes."""
    path = write(tmp_path, item("json_fields", '{"a": 1}'), "", item("exact", "x", id="b", tags=[], must_pass=False))
    read = suite.load(path)
    assert [i.id for i in read.items] == ["a", "b"]
    assert read.items[0].expected == {"a": 1}
    assert (read.items[0].must_pass, read.items[0].tags, read.items[1].line) == (True, ("t",), 3)
    assert len(read.digest) == 64
    assert suite.questions(read) == ["Where is order 5?"] * 2


def test_every_broken_line_is_named(tmp_path: Path) -> None:
    """All problems of all lines come at once."""
    found = problems(
        tmp_path,
        "{",
        "[]",
        item("exact", "x", id=""),
        item("exact", "x", id="d", tags="t", must_pass=1, color="red"),
        item("exact", "x", id="e", messages=[]),
        item("exact", "x", id="f", messages=[*ASK, {"role": "assistant", "content": "x"}]),
        item("exact", "x", id="g", messages=[{"role": "who", "content": "x"}]),
        item("exact", "x", id="h"),
        item("exact", "x", id="h"),
        item("judge", {"no": "text"}, id="i"),
        item("best", "x", id="j"),
    )
    assert [(line, key) for line, key, _ in found] == [
        (1, None), (2, None), (3, "id"), (4, "color"), (4, "tags"), (4, "must_pass"), (5, "messages"), (6, "messages"), (7, "messages[0].role"), (9, "id"),
        (10, "expected"), (11, "scorer"),
    ]  # fmt: skip
    assert "module:function" in found[-1][2]


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        ("exact", 3), ("normalized", None), ("json_fields", "not json"), ("json_fields", {}), ("json_schema", [1]), ("json_schema", {"type": "no such"}),
        ("regex", "("), ("regex", 3), ("tool_call", {"name": "f"}), ("tool_call", "x"),
    ],
)  # fmt: skip
def test_expectations_must_fit_their_scorer(tmp_path: Path, scorer: str, expected: Any) -> None:
    """An expectation its scorer cannot use is a problem of that line."""
    [(line, key, _)] = problems(tmp_path, item(scorer, expected))
    assert (line, key) == (1, "expected")


def test_files_that_are_no_suite(tmp_path: Path) -> None:
    """Empty, missing and wrongly encoded files are refused."""
    assert "holds no items" in problems(tmp_path, "")[0][2]
    with pytest.raises(DataError, match="cannot be read"):
        suite.load(tmp_path / "absent")
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(DataError, match="not UTF-8"):
        suite.load(tmp_path / "latin")


def test_overlap_finds_questions_that_were_trained_on(tmp_path: Path) -> None:
    """The same question under another system text, in another case, is an overlap; another question is not."""
    read = suite.load(write(tmp_path, item("exact", "x"), item("exact", "x", id="b", messages=[{"role": "user", "content": "other"}])))
    example = chat.from_messages([{"role": "user", "content": "WHERE is  order 5?"}, {"role": "assistant", "content": "there"}], (), 1)
    assert isinstance(example, Example)
    assert suite.overlap(read, [example]) == ["a"]
    assert suite.overlap(read, []) == []


CALL = {"name": "look", "arguments": {"order": 5, "fast": True}}
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("scorer", "expected", "answer", "value", "right", "valid"),
    [
        ("exact", "yes", Answer(" yes\n"), 1.0, True, None),
        ("exact", "yes", Answer("Yes"), 0.0, False, None),
        ("normalized", "Order №5 is late.", Answer("order no5  is late"), 1.0, True, None),
        ("normalized", "late", Answer("not late"), 0.0, False, None),
        ("regex", r"\d{3}", Answer("123"), 1.0, True, None),
        ("regex", r"\d{3}", Answer("1234"), 0.0, False, None),
        ("json_fields", {"a": 1, "b": None, "c": "x"}, Answer('{"a": 1.0, "b": null, "c": " x"}'), 1.0, True, True),
        ("json_fields", {"a": 1, "b": 2, "c": 3, "d": 4}, Answer('{"a": 1, "b": 2, "c": 3, "d": 5}'), 0.75, False, True),
        ("json_fields", {"a": None}, Answer("{}"), 0.0, False, True),
        ("json_fields", {"a": 1}, Answer('{"a": true}'), 0.0, False, True),
        ("json_fields", {"a": 1}, Answer('{"a": 1, "z": 2}'), 1.0, False, True),
        ("json_fields", {"a": 1}, Answer('```json\n{"a": 1}\n```'), 0.0, False, False),
        ("json_fields", {"a": 1}, Answer("[" * 100_000), 0.0, False, False),
        ("json_schema", SCHEMA, Answer('{"n": 3}'), 1.0, True, True),
        ("json_schema", SCHEMA, Answer('{"n": "3"}'), 0.0, False, False),
        ("json_schema", SCHEMA, Answer("n"), 0.0, False, False),
        ("tool_call", CALL, Answer("", [("look", '{"fast": true, "order": 5}')]), 1.0, True, True),
        ("tool_call", CALL, Answer("", [("look", '{"fast": false, "order": 5}')]), 0.75, False, True),
        ("tool_call", CALL, Answer("", [("find", "{}")]), 0.0, False, True),
        ("tool_call", CALL, Answer("", [("look", "x")]), 0.0, False, False),
        ("tool_call", CALL, Answer("look!"), 0.0, False, False),
        ("tool_call", {"name": "now", "arguments": {}}, Answer("", [("now", "{}")]), 1.0, True, True),
    ],
)
def test_scores(scorer: str, expected: Any, answer: Answer, value: float, right: bool, valid: bool | None) -> None:
    """Each scorer gives the share, the verdict and the form it should."""
    found = scorers.score(Item("a", (), expected, scorer, (), False, (), 1), answer)
    assert (found.value, found.right, found.valid) == (value, right, valid), found


def test_empty_answers() -> None:
    """Blank text without a call is empty."""
    assert Answer(" ").empty
    assert not Answer("", [("f", "{}")]).empty
