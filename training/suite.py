"""A suite: held-out items with a known right answer and the scorer that judges against it.

Public: `load(path) -> Suite` (raises DataError with every problem by line), `Suite`, `Item`, `overlap(suite, examples)`, `questions(suite)`.
One line: {"id", "messages", "expected", "scorer", "tags": [], "must_pass": false, "tools": [] (optional)}. `expected` by scorer:
    exact, normalized   the answer's text
    json_fields         an object, or the text of one: each field is compared
    json_schema         a JSON Schema the answer must fulfil
    regex               a pattern that must match the whole answer
    tool_call           {"name": ..., "arguments": {...}}
    judge               a reference answer: a judge model says whether the answer is better (judge.py)
    module:function     whatever a function of your own takes (custom.py)
Pure apart from reading the file. Not here: judging (scorers.py), asking (evaluate.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

from router.errors import DataError, Problem
from training import custom
from training.chat import Example, Message, from_messages, question
from training.duplicates import normalised

SCORERS = ("exact", "normalized", "json_fields", "json_schema", "regex", "tool_call", "judge")
_KEYS = ("id", "messages", "expected", "scorer", "tags", "must_pass", "tools")


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `expected` is what its scorer needs, parsed: text, an object, a schema, a pattern or a call."""

    id: str
    messages: tuple[Message, ...]
    expected: Any
    scorer: str
    tags: tuple[str, ...]
    must_pass: bool
    tools: tuple[Mapping[str, Any], ...]
    line: int
    function: custom.Function | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """All items of a file. `digest` is the sha256 of its bytes: two reports compare only when it is the same."""

    file: str
    digest: str
    items: tuple[Item, ...]


def load(path: Path, plugins: Path | None = None) -> Suite:
    """Read and check a suite. `plugins`: the directory scorers of one's own may come from. Raises DataError with every problem."""
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"the suite {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the suite {path} is not UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    problems: list[Problem] = []
    items: list[Item] = []
    seen: dict[str, int] = {}
    known: dict[str, custom.Function] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        item = _item(line, number, str(path), problems)
        if item is None:
            continue
        if custom.NAME.fullmatch(item.scorer):
            item = _with_function(item, plugins, known, problems, str(path))
        if item.id in seen:
            problems.append(Problem(f"the id {item.id!r} stands on line {seen[item.id]} too; ids must differ", str(path), number, "id"))
        seen.setdefault(item.id, number)
        items.append(item)
    if not items and not problems:
        problems.append(Problem("holds no items", str(path)))
    if problems:
        raise DataError(f"{path}: {len(problems)} problem(s) in the suite; nothing was evaluated", tuple(problems))
    return Suite(str(path), hashlib.sha256(raw).hexdigest(), tuple(items))


def overlap(suite: Suite, examples: Sequence[Example]) -> list[str]:
    """Ids of items whose question also stands in the training data: on those, a right answer proves memory, not skill."""
    known = {normalised(example.question) for example in examples}
    return [item.id for item, asked in zip(suite.items, questions(suite), strict=True) if normalised(asked) in known]


def questions(suite: Suite) -> list[str]:
    """What each item asks, as `dataset.build(held_out=...)` takes it: such examples must not be trained on."""
    return [question(item.messages) for item in suite.items]


def _item(line: str, number: int, file: str, problems: list[Problem]) -> Item | None:
    before = len(problems)

    def say(key: str, message: str) -> None:
        problems.append(Problem(message, file, number, key or None))

    try:
        body = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        say("", f"not JSON: {error}")
        return None
    if not isinstance(body, dict):
        say("", "must be a JSON object")
        return None
    for key in body:
        if key not in _KEYS:
            say(key, f"unknown key; an item has {', '.join(_KEYS)}")
    if not isinstance(body.get("id"), str) or not body["id"]:
        say("id", "must be text and not empty")
    tags, must_pass = body.get("tags", []), body.get("must_pass", False)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        say("tags", "must be a list of texts")
    if not isinstance(must_pass, bool):
        say("must_pass", "must be true or false")
    messages, tools = _conversation(body, number, file, problems)
    expected = _expected(body, say)
    if len(problems) > before:
        return None
    return Item(body["id"], messages, expected, body["scorer"], tuple(tags), must_pass, tools, number)


def _with_function(item: Item, plugins: Path | None, known: dict[str, custom.Function], problems: list[Problem], file: str) -> Item:
    if plugins is None:
        problems.append(Problem("a scorer of your own needs a configuration that it lies beside: evaluate with -c breakeven.yaml", file, item.line, "scorer"))
        return item
    try:
        return replace(item, function=custom.load(item.scorer, plugins, known))
    except DataError as error:
        problems.append(Problem(error.message, file, item.line, "scorer"))
        return item


def _conversation(body: Mapping[str, Any], number: int, file: str, problems: list[Problem]) -> tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        problems.append(Problem("must be a list with at least one message", file, number, "messages"))
        return (), ()
    if isinstance(messages[-1], dict) and messages[-1].get("role") == "assistant":
        problems.append(Problem("the last message is from the assistant: leave the answer out, it goes into `expected`", file, number, "messages"))
        return (), ()
    # The rules of a training line hold for the question too: with an answer put behind it, it must be one.
    parsed = from_messages([*messages, {"role": "assistant", "content": "-"}], body.get("tools") or (), number, file)
    if isinstance(parsed, Example):
        return parsed.prompt, parsed.tools
    problems.extend(parsed)
    return (), ()


def _expected(body: Mapping[str, Any], say: Any) -> Any:
    scorer, expected = body.get("scorer"), body.get("expected")
    if isinstance(scorer, str) and custom.NAME.fullmatch(scorer):
        return expected
    if scorer not in SCORERS:
        say("scorer", f"must be one of {', '.join(SCORERS)}, or module:function, not {scorer!r}")
        return None
    if scorer in ("json_fields", "json_schema", "tool_call") and isinstance(expected, str):
        try:
            expected = json.loads(expected)
        except json.JSONDecodeError:
            expected = None
    problem = _WANTS[scorer](expected)
    if problem:
        say("expected", problem)
    return expected


def _want_text(expected: object) -> str | None:
    return None if isinstance(expected, str) else "must be the answer's text"


def _want_object(expected: object) -> str | None:
    return None if isinstance(expected, dict) and expected else "must be an object with at least one field, or the text of one"


def _want_schema(expected: object) -> str | None:
    if not isinstance(expected, dict):
        return "must be a JSON Schema"
    try:
        Draft202012Validator.check_schema(expected)
    except SchemaError as error:
        return f"is not a JSON Schema: {error.message}"
    return None


def _want_pattern(expected: object) -> str | None:
    try:
        re.compile(expected if isinstance(expected, str) else "(")
    except re.error as error:
        return f"must be a regular expression: {error}"
    return None


def _want_call(expected: object) -> str | None:
    fits = isinstance(expected, dict) and isinstance(expected.get("name"), str) and isinstance(expected.get("arguments"), dict)
    return None if fits else 'must look like {"name": ..., "arguments": {...}}'


_WANTS = {
    "exact": _want_text,
    "normalized": _want_text,
    "json_fields": _want_object,
    "json_schema": _want_schema,
    "regex": _want_pattern,
    "tool_call": _want_call,
    "judge": _want_text,
}
