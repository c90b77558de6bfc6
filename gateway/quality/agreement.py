"""How far two answers to the same request say the same, from 0 to 1. Pure, and linear in their length.

JSON is compared field by field: the share of all leaves, of either side, that both have with the same value (numbers by value, texts but for case and space).
Other texts by the F1 of their words, as SQuAD scores answers (Rajpurkar et al. 2016): the same word as often on both sides counts, order does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

_FENCE = re.compile(r"^\s*```[a-z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"\w+", re.UNICODE)


def agreement(one: str, other: str) -> tuple[float, str]:
    """The agreement and the name of the scorer: `json_fields` or `words`."""
    first, second = _parsed(one), _parsed(other)
    if first is not None and second is not None:
        return _dice(Counter(_leaves(first)), Counter(_leaves(second))), "json_fields"
    return _dice(Counter(_words(one)), Counter(_words(other))), "words"


def spoken(text: str, tool_calls: Sequence[Mapping[str, Any]]) -> str:
    """An answer as one text: what it says, or which functions it calls with what."""
    if not tool_calls:
        return text
    called = [call.get("function") or {} for call in tool_calls]
    return orjson.dumps([{"name": each.get("name"), "arguments": _parsed(str(each.get("arguments"))) or each.get("arguments")} for each in called]).decode()


def _parsed(text: str) -> Any:
    """The JSON object or array that a text is, in a code fence or not; None: it is none."""
    fenced = _FENCE.match(text)
    try:
        value = orjson.loads(fenced[1] if fenced else text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict | list) else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, f"{path}/{name}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(each, f"{path}/{number}")
    elif isinstance(value, str):
        yield path, " ".join(value.casefold().split())
    else:
        yield path, repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold()) or text.split()


def _dice(one: Counter[Any], other: Counter[Any]) -> float:
    total = one.total() + other.total()
    return 2.0 * (one & other).total() / total if total else 1.0
