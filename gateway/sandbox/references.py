"""Reference answers: what the sandbox should answer to which conversation, and how it gets it wrong.

Matched by the hash of the last user message, whitespace-insensitive; the first reference of a message wins. Reading them is strict: every bad line is
reported at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway.sandbox.tokens import content_text
from router.errors import DataError, Problem


@dataclass(frozen=True, slots=True)
class Reference:
    """The right answer to a last user message."""

    prompt: str
    answer: str


def last_user(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last user message; empty when there is none."""
    return next((content_text(m.get("content")) for m in reversed(messages) if m.get("role") == "user"), "")


def conversation_hash(prompt: str, seed: int = 0) -> int:
    """A stable 64-bit hash of a prompt, whitespace-insensitive; another seed gives an unrelated one."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{' '.join(prompt.split())}".encode()).digest()[:8])


def load(path: Path) -> tuple[Reference, ...]:
    """Read JSONL of {"messages": [...], "answer": "..."}. Raises DataError with every bad line."""
    found: list[Reference] = []
    problems: list[Problem] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                found.append(_read(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                problems.append(Problem('must be {"messages": [{"role", "content"}, …], "answer": "text"} with a user message', str(path), number))
    if problems:
        raise DataError(f"{len(problems)} line(s) of {path} are not reference answers", tuple(problems))
    return tuple(found)


def _read(line: bytes) -> Reference:
    row = orjson.loads(line)
    prompt, answer = last_user(row["messages"]), row["answer"]
    if not prompt or not isinstance(answer, str):
        raise ValueError
    return Reference(prompt, answer)


class ReferenceBook:
    """Looks answers up and, for a stable share of conversations, gives a wrong but well-formed one."""

    def __init__(self, references: Iterable[Reference], error_rate: float, seed: int) -> None:
        self._answers: dict[int, str] = {}
        for reference in references:
            self._answers.setdefault(conversation_hash(reference.prompt), reference.answer)
        self._error_rate = error_rate
        self._seed = seed
        self._values = _values_by_field(self._answers.values())
        self._ordered = sorted(set(self._answers.values()))

    def answer(self, messages: Sequence[Mapping[str, Any]]) -> str | None:
        """The answer to this conversation; None when no reference matches."""
        prompt = last_user(messages)
        right = self._answers.get(conversation_hash(prompt))
        if right is None:
            return None
        draw = conversation_hash(prompt, self._seed + 1)
        return self._wrong(right, draw >> 16) if (draw & 0xFFFF) / 0x10000 < self._error_rate else right

    def _wrong(self, right: str, draw: int) -> str:
        fields = _fields(right)
        changeable = [name for name in fields if len(self._values[name]) > 1]
        if changeable:
            name = changeable[draw % len(changeable)]
            values = [value for value in self._values[name] if value != _key(fields[name])]
            # Written as the right one is: a wrong answer must not be known by its spaces.
            separators = (", ", ": ") if '": ' in right else (",", ":")
            return json.dumps({**fields, name: orjson.loads(values[(draw >> 8) % len(values)])}, ensure_ascii=False, separators=separators)
        others = [answer for answer in self._ordered if answer != right]
        return others[draw % len(others)] if others else f"Not {right}"


def _fields(answer: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _values_by_field(answers: Iterable[str]) -> dict[str, list[bytes]]:
    """Every value each top-level field takes, as JSON, sorted so that the file's order does not matter."""
    seen: dict[str, set[bytes]] = {}
    for answer in answers:
        for name, value in _fields(answer).items():
            seen.setdefault(name, set()).add(_key(value))
    return {name: sorted(values) for name, values in seen.items()}


def _key(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
