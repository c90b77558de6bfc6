"""What a teacher would say about examples that can be trained on: too few, lopsided, torn between formats, personal.

Public: `advice(examples, file) -> list[Problem]`. Nothing here stops a training. Pure. Not here: what is wrong with a line (chat.py), repeats and
contradictions (dataset.py), length in tokens (tokens.py).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.store import redact
from router.errors import Problem
from training.chat import Example

# OpenAI's fine-tuning guide: improvements are seen from 50 to 100 good examples on; recipes for one narrow task are published with 500 to 5,000.
FEW, ENOUGH, PLENTY = 50, 500, 5000
# A value that stands for so much of the data can be guessed without reading the question.
LOPSIDED = 0.8
# Of a value seen less often than this the model learns little.
RARE = 5
# More different values than this are text, not labels.
MOST_LABELS = 30
LEAST_FOR_LABELS = 40
NAMED = 8


def advice(examples: Sequence[Example], file: str | None = None) -> list[Problem]:
    """Everything worth knowing before the GPU runs, most important first. `file` is named in each."""
    found = [*_size(len(examples)), *_formats(examples), *_labels(examples), *_personal(examples)]
    return [Problem(message, file, line) for message, line in found]


def _size(count: int) -> Iterable[tuple[str, int | None]]:
    if count < FEW:
        yield f"{count} examples are few: expect a change of tone or format at most; gains usually begin at {FEW} to 100, one narrow task takes {ENOUGH}", None
    elif count < ENOUGH:
        yield f"{count} examples: enough for a format, little for knowledge; {ENOUGH} to {PLENTY} is usual for one narrow task", None
    elif count > PLENTY:
        yield f"{count} examples: beyond {PLENTY} more of the same rarely pays; look at `breakeven eval` for where it is wrong and add those", None


def _formats(examples: Sequence[Example]) -> Iterable[tuple[str, int | None]]:
    """Answers that are JSON objects among answers that are not: the model would learn to be undecided."""
    plain = [example for example in examples if not _calls(example)]
    broken = [example.line for example in plain if _object(example) is None]
    if len(plain) >= FEW // 2 and 0 < len(broken) < 0.2 * len(plain):
        yield f"{len(broken)} of {len(plain)} answers are no JSON object although the others are: {_some(broken)}", broken[0]
    keys = Counter(frozenset(value) for example in plain if (value := _object(example)) is not None)
    if keys:
        usual, count = keys.most_common(1)[0]
        total = sum(keys.values())
        if 0 < total - count < 0.2 * total:
            odd = [example.line for example in plain if (value := _object(example)) is not None and frozenset(value) != usual]
            yield f"{len(odd)} of {total} JSON answers have other keys than the usual {', '.join(sorted(usual))}: {_some(odd)}", odd[0]


def _labels(examples: Sequence[Example]) -> Iterable[tuple[str, int | None]]:
    """Answers, or fields of JSON answers, that take few values: one that dominates, and those hardly seen."""
    seen: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for example in examples:
        if (value := _object(example)) is not None:
            for key, entry in value.items():
                if isinstance(entry, str | bool | int):
                    seen[f"the field {key!r}"].append((json.dumps(entry, ensure_ascii=False), example.line))
        else:
            seen["the answer"].append((json.dumps(example.answer[:200], ensure_ascii=False), example.line))
    for what, values in sorted(seen.items()):
        counts = Counter(value for value, _ in values)
        if len(values) < LEAST_FOR_LABELS or not 2 <= len(counts) <= min(MOST_LABELS, len(values) // RARE):
            continue
        top, often = counts.most_common(1)[0]
        if often > LOPSIDED * len(values):
            yield f"{what} is {top} in {often / len(values):.0%} of the examples: always saying so would be right as often; add examples of the others", None
        rare = sorted(value for value, count in counts.items() if count < RARE)
        if rare:
            first = next(line for value, line in values if value == rare[0])
            yield f"{what} has {len(rare)} value(s) with fewer than {RARE} examples: {', '.join(rare[:NAMED])}{' …' if len(rare) > NAMED else ''}", first


def _personal(examples: Sequence[Example]) -> Iterable[tuple[str, int | None]]:
    """What looks like personal data: a model may repeat it to others."""
    names = {"email": "e-mail addresses", "phone": "telephone numbers", "card": "payment card numbers"}
    for kind in sorted(redact.KINDS):
        lines = [example.line for example in examples if any(redact.text(text, (kind,)) != text for text in _texts(example))]
        if lines:
            yield (
                f"{len(lines)} example(s) hold what looks like {names[kind]}, which a model may repeat; take them out with --redact {kind}: {_some(lines)}",
                lines[0],
            )


def _texts(example: Example) -> Iterable[str]:
    return (str(message.get("content") or "") for message in example.messages)


def _calls(example: Example) -> bool:
    return bool(example.messages[-1].get("tool_calls"))


def _object(example: Example) -> dict[str, Any] | None:
    text = example.messages[-1].get("content")
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _some(lines: Sequence[int]) -> str:
    named = ", ".join(str(line) for line in lines[:NAMED])
    return f"line{'s' if len(lines) > 1 else ''} {named}" + (f" and {len(lines) - NAMED} more" if len(lines) > NAMED else "")
