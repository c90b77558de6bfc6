"""How an answer is judged against what a suite expects. Pure functions, one per scorer.

Public: `score(item, answer) -> Score`, `Answer`, `Score`, `field_f1(pairs)`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from training import custom
from training.suite import Item

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend said. `tool_calls` are (name, arguments as text)."""

    text: str
    tool_calls: Sequence[tuple[str, str]] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not self.text.strip() and not self.tool_calls


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is 0..1; `right` whether it is wholly right; `valid` whether it has the required form (None where the scorer requires none)."""

    value: float
    right: bool
    valid: bool | None = None
    detail: str = ""


def score(item: Item, answer: Answer) -> Score:
    """Judge one answer. What a judge model must say (`judge`) is not known here: ValueError."""
    if item.function is not None:
        value, right, detail = custom.called(item.function, item.expected, answer.text)
        return Score(value, right, detail=detail)
    if item.scorer == "judge":
        raise ValueError("a judge model scores this item")
    return _SCORERS[item.scorer](item.expected, answer)


def field_f1(pairs: Sequence[tuple[Mapping[str, Any], str]]) -> dict[str, float]:
    """F1 of each field over (expected object, answer's text): a right value is a hit, a wrong one is both false and missed, one nobody asked for is false."""
    hits: Counter[str] = Counter()
    given: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for expected, text in pairs:
        body = _object(text) or {}
        given.update(body.keys())
        wanted.update(expected.keys())
        hits.update(key for key, value in expected.items() if key in body and _equal(body[key], value))
    return {key: 2 * hits[key] / (given[key] + wanted[key]) for key in sorted(wanted)}


def _exact(expected: str, answer: Answer) -> Score:
    return _all_or_nothing(answer.text.strip() == expected.strip())


def _normalized(expected: str, answer: Answer) -> Score:
    return _all_or_nothing(_normal(answer.text) == _normal(expected))


def _regex(expected: str, answer: Answer) -> Score:
    return _all_or_nothing(re.fullmatch(expected, answer.text.strip(), flags=re.DOTALL) is not None)


def _json_fields(expected: Mapping[str, Any], answer: Answer) -> Score:
    """Share of expected fields that match; `right` only when all do and nothing was invented beside them."""
    body = _object(answer.text)
    if body is None:
        return Score(0.0, right=False, valid=False, detail="not a JSON object")
    wrong = [key for key, value in expected.items() if key not in body or not _equal(body[key], value)]
    extra = [key for key in body if key not in expected]
    detail = "; ".join(part for part in ("wrong: " + ", ".join(wrong) if wrong else "", "not asked for: " + ", ".join(extra) if extra else "") if part)
    return Score(1 - len(wrong) / len(expected), right=not wrong and not extra, valid=True, detail=detail)


def _json_schema(expected: Mapping[str, Any], answer: Answer) -> Score:
    try:
        body = json.loads(answer.text)
    except (json.JSONDecodeError, RecursionError):
        return Score(0.0, right=False, valid=False, detail="not JSON")
    fault = next(Draft202012Validator(expected).iter_errors(body), None)
    return Score(float(fault is None), right=fault is None, valid=fault is None, detail=fault.message[:200] if fault else "")


def _tool_call(expected: Mapping[str, Any], answer: Answer) -> Score:
    """Half for the right name, half for the share of right arguments; exactly one call must be made."""
    if len(answer.tool_calls) != 1:
        return Score(0.0, right=False, valid=False, detail=f"{len(answer.tool_calls)} tool calls instead of one")
    name, text = answer.tool_calls[0]
    arguments = _object(text)
    if arguments is None:
        return Score(0.0, right=False, valid=False, detail="the arguments are not a JSON object")
    if name != expected["name"]:
        return Score(0.0, right=False, valid=True, detail=f"called {name}")
    wanted = expected["arguments"]
    wrong = [key for key in {*wanted, *arguments} if key not in wanted or key not in arguments or not _equal(arguments[key], wanted[key])]
    share = 1 - len(wrong) / len({*wanted, *arguments}) if wrong else 1.0
    return Score(0.5 + share / 2, right=not wrong, valid=True, detail="wrong: " + ", ".join(sorted(wrong)) if wrong else "")


def _all_or_nothing(right: bool) -> Score:
    return Score(float(right), right=right)


def _normal(text: str) -> str:
    """Unicode form, case, spacing and punctuation at the edges do not count."""
    flat = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _EDGES.sub("", flat)


def _object(text: str) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _equal(a: object, b: object) -> bool:
    """JSON equality: true is not 1, 1 is 1.0, text matches but for space around it."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, str) and isinstance(b, str):
        return a.strip() == b.strip()
    return a == b


_SCORERS: Mapping[str, Callable[[Any, Answer], Score]] = {
    "exact": _exact,
    "normalized": _normalized,
    "json_fields": _json_fields,
    "json_schema": _json_schema,
    "regex": _regex,
    "tool_call": _tool_call,
}
