"""A candidate's program: what is put before its conversation. Reads its files once; rendering is pure.

    system      a text before the conversation's own system text, or instead of none
    examples    questions with their answers as turns before the first user message: the first `k`, or the `k` most similar to the last user message
                (BM25), the most similar one last
    retrieval   passages about the last user message (BM25), put before it inside that message

What never changes comes first, so that prefix caches keep it; and roles alternate as strict chat templates ask for. Nothing of the client's own messages is
left out or changed otherwise. Not here: the look-up's deadline and the HTTP call (the gateway), which words are similar (retrieval.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from router.errors import DataError, Problem
from serving import retrieval
from serving.retrieval import Index, Passage

Message = Mapping[str, Any]
_SYSTEM = frozenset({"system", "developer"})
_TURNS = frozenset({"user", "assistant"})
_PASSAGES = "Passages that may help:"
_MARK = "\n\n---\n\n"


@dataclass(frozen=True, slots=True)
class Spec:
    """Where a program's parts lie and how many of each are taken. `timeout_ms`: how long a look-up may take."""

    system: Path | None = None
    examples: Path | None = None
    k: int = 16
    select: Literal["similar", "first"] = "similar"
    source: Path | None = None
    passages: int = 5
    timeout_ms: float = 200.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One worked example: turns that begin with the user and end with the assistant. `question` is what it is found by."""

    turns: tuple[Message, ...]
    question: str


@dataclass(frozen=True, slots=True)
class Program:
    """A program ready to render; read once, shared by all requests. `bytes`: about how much text it adds to a request (exact where nothing is looked up),
    `most_bytes`: the most it can add."""

    spec: Spec
    system: str | None = None
    shots: tuple[Shot, ...] = ()
    passages: tuple[Passage, ...] = ()
    bytes: int = 0
    most_bytes: int = 0
    shot_index: Index | None = field(default=None, repr=False, compare=False)
    passage_index: Index | None = field(default=None, repr=False, compare=False)

    @property
    def looks_up(self) -> bool:
        """Whether rendering has to search."""
        return self.shot_index is not None or self.passage_index is not None

    def render(self, messages: Sequence[Message]) -> list[Message]:
        """The messages to send instead of the client's. What was looked up depends on the last user message alone."""
        question = next((_text(message) for message in reversed(messages) if message.get("role") == "user"), "")
        head = 0
        while head < len(messages) and messages[head].get("role") in _SYSTEM:
            head += 1
        opening = self._opening(list(messages[:head]))
        turns = [turn for shot in self._shots(question) for turn in shot.turns]
        return [*opening, *turns, *self._grounded(list(messages[head:]), question)]

    def _opening(self, messages: list[Message]) -> list[Message]:
        """One system text: ours, then the client's. Some chat templates take no second one."""
        if self.system is None:
            return messages
        if not messages:
            return [{"role": "system", "content": self.system}]
        return [_before(messages[0], self.system + "\n\n"), *messages[1:]]

    def _shots(self, question: str) -> Sequence[Shot]:
        if self.shot_index is None:
            return self.shots
        found = self.shot_index.best(question, self.spec.k)
        rest = [number for number in range(len(self.shots)) if number not in set(found)] if len(found) < self.spec.k else []
        # the most similar last, next to the question; where too few share a word with it, the first of the file fill up
        return [self.shots[number] for number in reversed([*found, *rest[: self.spec.k - len(found)]])]

    def _grounded(self, messages: list[Message], question: str) -> list[Message]:
        found = [] if self.passage_index is None else self.passage_index.best(question, self.spec.passages)
        last = next((number for number in range(len(messages) - 1, -1, -1) if messages[number].get("role") == "user"), None)
        if not found or last is None:
            return messages
        told = "\n\n".join(f"[{self.passages[number].source}]\n{self.passages[number].text}" for number in found)
        return [*messages[:last], _before(messages[last], f"{_PASSAGES}\n\n{told}{_MARK}"), *messages[last + 1 :]]


def problems(spec: Spec) -> list[Problem]:
    """Everything that is wrong in a program's files, by file and line."""
    return _read_all(spec)[3]


def load(spec: Spec) -> Program:
    """Read a program's files. DataError with every problem, by file and line."""
    system, shots, passages, problems = _read_all(spec)
    if problems:
        raise DataError("; ".join(str(problem) for problem in problems), tuple(problems))
    searched = spec.select == "similar" and len(shots) > spec.k
    taken = shots if searched else shots[: spec.k]
    usual, most = _sizes(spec, system, taken, passages)
    return Program(
        spec=spec,
        system=system,
        shots=taken,
        passages=tuple(passages),
        bytes=usual,
        most_bytes=most,
        shot_index=Index([shot.question for shot in shots]) if searched else None,
        passage_index=Index([passage.text for passage in passages]) if passages else None,
    )


def _read_all(spec: Spec) -> tuple[str | None, tuple[Shot, ...], list[Passage], list[Problem]]:
    found: list[Problem] = []
    system = None if spec.system is None else _system(spec.system, found)
    shots = () if spec.examples is None else _examples(spec.examples, found)
    passages: list[Passage] = []
    if spec.source is not None:
        try:
            passages = retrieval.passages(spec.source)
        except DataError as error:
            found.append(Problem(error.message))
    return system, shots, passages, found


def shot_of(messages: object) -> Shot | str:
    """A worked example from a list of messages as in OpenAI's chat format (its system messages are left out), or what is wrong with it."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return 'must look like {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}'
    turns = [message for message in messages if message.get("role") not in _SYSTEM]
    if any(turn.get("role") not in _TURNS or not isinstance(turn.get("content"), str) for turn in turns):
        return "an example has user and assistant messages with text alone"
    roles = [turn["role"] for turn in turns]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        return "an example's messages must be user and assistant in turn, ending with the assistant"
    question = "\n".join(turn["content"] for turn in turns if turn["role"] == "user")
    return Shot(tuple({"role": turn["role"], "content": turn["content"]} for turn in turns), question)


def _system(path: Path, problems: list[Problem]) -> str | None:
    text = _read(path, problems)
    if text is not None and not text.strip():
        problems.append(Problem("is empty: write the system text, or leave `system` out", str(path)))
    return None if text is None else text.strip()


def _examples(path: Path, problems: list[Problem]) -> tuple[Shot, ...]:
    before, text = len(problems), _read(path, problems)
    shots: list[Shot] = []
    for number, line in enumerate((text or "").split("\n"), 1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            problems.append(Problem(f"not JSON: {error}", str(path), number))
            continue
        shot = shot_of(body.get("messages") if isinstance(body, dict) else None)
        if isinstance(shot, str):
            problems.append(Problem(shot, str(path), number))
        else:
            shots.append(shot)
    if text is not None and not shots and len(problems) == before:
        problems.append(Problem("holds no examples", str(path)))
    return tuple(shots)


def _read(path: Path, problems: list[Problem]) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(Problem(f"cannot be read: {error.strerror or error}", str(path)))
    except UnicodeDecodeError as error:
        problems.append(Problem(f"is not UTF-8 (byte {error.start + 1}): save it as UTF-8", str(path)))
    return None


def _text(message: Message) -> str:
    """A message's text, its parts put together."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "\n".join(text for text in parts if isinstance(text, str))


def _before(message: Message, text: str) -> Message:
    """The message with text in front; its other parts and fields stay."""
    content = message.get("content")
    if isinstance(content, list):
        # of the same kind as its first text part: chat and Responses call them differently
        kind = next((part["type"] for part in content if isinstance(part, dict) and str(part.get("type")).endswith("text")), "text")
        return {**message, "content": [{"type": kind, "text": text.strip()}, *content]}
    return {**message, "content": text + content if isinstance(content, str) else text.strip()}


def _sizes(spec: Spec, system: str | None, shots: Sequence[Shot], passages: Sequence[Passage]) -> tuple[int, int]:
    """What the parts add to a request in bytes of text: usually, and at most."""
    fixed = len(system.encode()) + 2 if system else 0
    turns = [sum(len(_text(turn).encode()) for turn in shot.turns) for shot in shots]
    found = [len(passage.text.encode()) + len(passage.source.encode()) + 5 for passage in passages]
    around = len(_PASSAGES) + len(_MARK) + 2 if found else 0
    usual = fixed + _mean(turns) * min(spec.k, len(turns)) + around + _mean(found) * min(spec.passages, len(found))
    return round(usual), fixed + sum(sorted(turns)[-spec.k :]) + around + sum(sorted(found)[-spec.passages :])


def _mean(sizes: Sequence[int | float]) -> float:
    return sum(sizes) / len(sizes) if sizes else 0.0
