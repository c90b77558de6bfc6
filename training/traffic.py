"""Captured traffic as training examples, under each provider's terms.

Public: `from_captures(captures, terms, engines) -> Traffic`, `terms_of(...)`.
A provider's answers are used only where its config says `train_on_outputs: true` (many providers forbid training competing models) or it is a sandbox.
Answers of our own engines are left out: a model trained on itself learns nothing new. Pure; reading the store is the caller's
(`gateway.store.captures.iterate`). Not here: splitting and writing (dataset.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.store.captures import Capture
from router.errors import DataError
from training import chat
from training.chat import Example

_WHOLE = ("stop", "tool_calls", None)  # a capture without a finish reason came from a provider that gives none


@dataclass(frozen=True, slots=True)
class Terms:
    """What a provider's outputs may be used for."""

    train_on_outputs: bool
    sandbox: bool = False

    @property
    def allowed(self) -> bool:
        """Whether its answers may be trained on."""
        return self.train_on_outputs or self.sandbox


@dataclass(frozen=True, slots=True)
class Traffic:
    """Examples in the order of time, and how many captures were left out for which reason. `backends` counts who wrote the answers."""

    examples: tuple[Example, ...]
    skipped: Mapping[str, int]
    backends: Mapping[str, int]

    def source(self, route: str) -> dict[str, Any]:
        """What a dataset's manifest says about its origin."""
        return {"route": route, "captures_used": len(self.examples), "captures_skipped": dict(self.skipped), "answers_from": dict(self.backends)}


def from_captures(captures: Iterable[Capture], terms: Mapping[str, Terms], engines: Collection[str]) -> Traffic:
    """Turn captures into examples. `terms` by provider name, `engines` by engine name. Raises DataError where nothing may be used, and says why."""
    examples: list[Example] = []
    skipped: Counter[str] = Counter()
    backends: Counter[str] = Counter()
    for number, capture in enumerate(captures, 1):
        reason = _unusable(capture, terms, engines)
        parsed = chat.from_messages(*_conversation(capture), number) if reason is None else None
        if isinstance(parsed, Example):
            examples.append(parsed)
            backends[capture.backend or ""] += 1
        else:
            skipped[reason or "not a conversation that can be trained on"] += 1
    if not examples:
        raise DataError(_nothing(skipped))
    return Traffic(tuple(examples), dict(skipped), dict(backends))


def _unusable(capture: Capture, terms: Mapping[str, Terms], engines: Collection[str]) -> str | None:
    owner = (capture.backend or "").split("/", 1)[0]
    if owner in engines:
        return "answered by our own engine"
    if owner not in terms:
        return f"answered by {owner or 'an unknown backend'}, which is not a configured provider"
    if not terms[owner].allowed:
        return f"providers.{owner}.train_on_outputs is false"
    if capture.finish not in _WHOLE:
        return f"not a whole answer (finish_reason {capture.finish})"
    if not capture.response.strip() and not capture.tool_calls:
        return "empty answer"
    return None


def _conversation(capture: Capture) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    answer: dict[str, Any] = {"role": "assistant", "content": capture.response}
    if capture.tool_calls:
        answer["tool_calls"] = [dict(call) for call in capture.tool_calls]
    asked = capture.request.get("messages")
    return [*(asked if isinstance(asked, list) else []), answer], capture.request.get("tools") or []


def _nothing(skipped: Mapping[str, int]) -> str:
    if not skipped:
        return "no captured traffic: set the route's capture.sample above 0 and let some requests through, or train from a JSONL file"
    reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(skipped.items(), key=lambda item: -item[1]))
    terms = ""
    if any("train_on_outputs" in reason for reason in skipped):
        terms = " Many providers' terms forbid training other models on their answers; set train_on_outputs to true only where yours allow it."
    return f"none of {sum(skipped.values())} captured exchanges can be trained on: {reasons}.{terms}"
