"""A model as a judge: which of two answers is better, asked in both orders, and how far it may be believed.

Each comparison is asked twice with the answers swapped; one that contradicts itself is a tie. What the judge is worth is measured on anchors: comparisons that
people have labelled. Agreement with them is reported as Cohen's kappa, and how often the first place wins as its position bias. Below LEAST_KAPPA, or with
fewer than LEAST_ANCHORS anchors, it is reported as not calibrated, and a gate that rests on it refuses.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from router.errors import DataError, Problem
from training.statistics import wilson

Pick = Literal["first", "second", "tie"]
Ask = Callable[[str], Awaitable[str]]
LEAST_KAPPA, LEAST_ANCHORS = 0.6, 50
_WORDS = re.compile(r"\b(A|B|TIE)\b")
_PROMPT = """Two assistants answered the same request. Which answer is better: more correct, more complete, more to the point? Length alone is no merit.

<request>
{question}
</request>

<answer_a>
{first}
</answer_a>

<answer_b>
{second}
</answer_b>

Reply with one word: A, B, or TIE."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Two answers to a question, and what people say: `a`, `b` or `tie`."""

    question: str
    a: str
    b: str
    label: Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far a judge may be believed. `position_bias`: the share of decided single answers that picked the first place, less a half (0: none), with its 95 %
    interval; `contradicted`: the share of comparisons whose two orders disagree."""

    model: str
    anchors: int
    agreement: float
    kappa: float
    position_bias: float
    bias_low: float
    bias_high: float
    contradicted: float

    @property
    def calibrated(self) -> bool:
        """Whether its word counts."""
        return self.anchors >= LEAST_ANCHORS and self.kappa >= LEAST_KAPPA

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "calibrated": self.calibrated, "least_kappa": LEAST_KAPPA, "least_anchors": LEAST_ANCHORS}


def prompt(question: str, first: str, second: str) -> str:
    """What the judge is asked."""
    return _PROMPT.format(question=question, first=first, second=second)


def read(said: str) -> Pick:
    """The judge's word; what is no word of ours is a tie."""
    found = _WORDS.findall(said.upper())
    return {"A": "first", "B": "second", "TIE": "tie"}[found[-1]] if found else "tie"  # type: ignore[return-value]


async def compare(ask: Ask, question: str, mine: str, reference: str) -> tuple[float, tuple[Pick, Pick]]:
    """1 where `mine` is better in both orders, 0 where it is worse in both, a half else; and the two single answers (mine first, then second)."""
    one, other = await asyncio.gather(ask(prompt(question, mine, reference)), ask(prompt(question, reference, mine)))
    forth, back = read(one), read(other)
    wins = (forth == "first") + (back == "second")
    losses = (forth == "second") + (back == "first")
    return (1.0 if wins == 2 else 0.0 if losses == 2 else 0.5), (forth, back)


async def calibrate(ask: Ask, model: str, anchors: Sequence[Anchor]) -> Calibration:
    """Ask about every anchor in both orders."""
    found = [await compare(ask, anchor.question, anchor.a, anchor.b) for anchor in anchors]
    given = [{1.0: "a", 0.0: "b", 0.5: "tie"}[value] for value, _ in found]
    labels = [anchor.label for anchor in anchors]
    singles = [pick for _, picks in found for pick in picks if pick != "tie"]
    first = sum(pick == "first" for pick in singles)
    low, high = wilson(first, len(singles))
    bias = first / len(singles) - 0.5 if singles else 0.0
    contradicted = sum(forth == back != "tie" for _, (forth, back) in found) / len(found) if found else 0.0
    agreement = sum(a == b for a, b in zip(given, labels, strict=True)) / len(labels) if labels else 0.0
    return Calibration(model, len(anchors), agreement, kappa(given, labels), bias, low - 0.5, high - 0.5, contradicted)


def kappa(one: Sequence[str], other: Sequence[str]) -> float:
    """Cohen's: agreement beyond chance; 0 for nothing to compare."""
    n = len(one)
    if n == 0:
        return 0.0
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    chance = sum((one.count(word) / n) * (other.count(word) / n) for word in {*one, *other})
    return 1.0 if chance >= 1.0 else (observed - chance) / (1.0 - chance)


def load_anchors(path: Path) -> list[Anchor]:
    """Lines of {"question", "a", "b", "label": "a"|"b"|"tie"}. DataError with every problem."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    found: list[Anchor] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        anchor = _anchor(line)
        if anchor is None:
            problems.append(Problem('an anchor is {"question", "a", "b", "label": "a"|"b"|"tie"}', str(path), number))
        else:
            found.append(anchor)
    if problems:
        raise DataError(f"{path}: {len(problems)} problem(s) in the anchors", tuple(problems))
    return found


def _anchor(line: str) -> Anchor | None:
    try:
        body = json.loads(line)
        anchor = Anchor(body["question"], body["a"], body["b"], body["label"])
    except (json.JSONDecodeError, RecursionError, TypeError, KeyError):
        return None
    fits = all(isinstance(text, str) for text in (anchor.question, anchor.a, anchor.b)) and anchor.label in ("a", "b", "tie")
    return anchor if fits else None
