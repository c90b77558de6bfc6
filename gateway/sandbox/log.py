"""What the sandbox saw and would bill: one entry per request to /v1, with exact totals. The provider's side of every reconciliation."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

KEPT_BODIES = 256


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


class Log:
    """The last `size` entries, the bodies of the last 256, totals of all."""

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
