"""What an engine has before it: calls in flight under all its names, and prompt tokens it was sent that have no first token yet. In memory, of one process.

A stream shows its first token, so its prompt is counted until then. A whole answer does not: such prompts are taken to drain at the rate at which the engine
is known to read them.
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where a call stands at an engine: its number there, how many were in flight with it, how many prompt tokens were ahead of its end (its own too)."""

    engine: str
    number: int
    load: int
    tokens: float


class PromptQueue:
    """One engine's. Not thread-safe: it belongs to the event loop."""

    __slots__ = ("_at", "_calls", "_streamed", "_waiting", "_whole", "in_flight", "token_ms")

    def __init__(self) -> None:
        self.in_flight = 0
        self.token_ms = 0.0
        """Milliseconds per prompt token, as learnt; 0: not known, then prompts of whole answers do not count."""
        self._calls = 0
        self._waiting: dict[int, float] = {}
        self._whole = 0.0
        self._at = 0.0
        self._streamed = 0.0

    def ahead(self, now: float) -> float:
        """Prompt tokens that are still to be read."""
        if self._whole:
            read = max(now - self._at, 0.0) * 1000.0 / self.token_ms if self.token_ms else self._whole
            self._whole = max(0.0, self._whole - read)
        self._at = max(now, self._at)
        return self._streamed + self._whole

    def enter(self, engine: str, tokens: float, now: float, *, stream: bool) -> Place:
        """A call starts."""
        behind = self.ahead(now) + tokens
        self.in_flight += 1
        self._calls += 1
        if stream:
            self._waiting[self._calls] = tokens
            self._streamed += tokens
        else:
            self._whole += tokens
        return Place(engine, self._calls, self.in_flight, behind)

    def read(self, place: Place) -> None:
        """Its first token is there (or it is over). Safe to call twice."""
        self._streamed -= self._waiting.pop(place.number, 0.0)
        if not self._waiting:
            self._streamed = 0.0  # sums of fractions leave a rest

    def leave(self, place: Place) -> None:
        """A call is over. Once."""
        self.read(place)
        self.in_flight -= 1
