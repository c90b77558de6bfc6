"""What the sandbox saw and would bill: one entry per request to /v1, with exact totals. The provider's side of every reconciliation."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

KEPT_BODIES = 256
_KEPT_MINUTES = 100_000


@dataclass(slots=True)
class Entry:
    """One request. `outcome`: completed | refused (an error status) | cancelled (the client went away) | broken (a fault ended it).

    Tokens are what a provider would bill: nothing for a refusal, what was generated until then for a cancelled or broken one.
    `reported`: whether the caller was told the usage.
    """

    id: str
    time: float
    endpoint: str
    model: str | None
    stream: bool = False
    fault: str | None = None
    outcome: str = "broken"
    status: int | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reported: bool = False
    ended: float | None = None
    body: Any = None


@dataclass(frozen=True, slots=True)
class Used:
    """What some requests to a model used: those that were not refused."""

    requests: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def __add__(self, other: Used) -> Used:
        """Both together."""
        return Used(self.requests + other.requests, self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)


class Log:
    """The last `size` entries, the bodies of the last 256, totals of all, and of the last 100,000 minutes by model."""

    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._with_bodies: deque[Entry] = deque()
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self._entries.clear()
        self._with_bodies.clear()
        self._counts: Counter[str] = Counter()
        self._by_model: dict[str, Counter[str]] = {}
        self._minutes: dict[int, dict[tuple[str, str], Used]] = {}

    def open(self, entry: Entry) -> None:
        """A request has come."""
        self._entries.append(entry)
        self._counts["requests"] += 1
        self._counts["open"] += 1
        self._with_bodies.append(entry)
        if len(self._with_bodies) > KEPT_BODIES:
            self._with_bodies.popleft().body = None

    def close(self, entry: Entry, now: float) -> None:
        """It has ended: add it to the totals."""
        entry.ended = now
        tokens = {"prompt_tokens": entry.prompt_tokens, "cached_tokens": entry.cached_tokens, "completion_tokens": entry.completion_tokens}
        self._counts["open"] -= 1
        for counter in (self._counts, self._by_model.setdefault(entry.model or "", Counter())):
            counter.update({entry.outcome: 1, **tokens})
        if entry.model is not None and entry.prompt_tokens and entry.outcome != "refused":
            self._bill(entry, entry.model)

    def used(self, start: float, end: float) -> dict[tuple[str, str], Used]:
        """What began in the minutes from `start` to before `end` (epoch seconds), by (`completions` or `embeddings`, model)."""
        found: dict[tuple[str, str], Used] = {}
        wanted = range(int(start // 60), int(end // 60))
        for minute in wanted if len(wanted) < len(self._minutes) else [minute for minute in self._minutes if minute in wanted]:
            for key, used in self._minutes.get(minute, {}).items():
                found[key] = found.get(key, Used()) + used
        return found

    def _bill(self, entry: Entry, model: str) -> None:
        key = ("embeddings" if entry.endpoint.endswith("/embeddings") else "completions", model)
        minute = self._minutes.setdefault(int(entry.time // 60), {})
        minute[key] = minute.get(key, Used()) + Used(1, entry.prompt_tokens, entry.cached_tokens, entry.completion_tokens)
        if len(self._minutes) > _KEPT_MINUTES:
            del self._minutes[min(self._minutes)]

    def as_dict(self, limit: int | None = None) -> dict[str, Any]:
        """The answer of GET /sandbox/log: entries oldest first, the last `limit` of them."""
        entries = list(self._entries)
        names = ("requests", "open", "completed", "refused", "cancelled", "broken", "prompt_tokens", "cached_tokens", "completion_tokens")
        return {
            "object": "list",
            "data": [asdict(entry) for entry in (entries if limit is None else entries[-limit:] if limit else [])],
            "totals": {name: self._counts[name] for name in names},
            "by_model": {model: dict(counter) for model, counter in self._by_model.items()},
        }
