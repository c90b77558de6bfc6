"""What an engine has before it: calls in flight under all its names, and prompt tokens it was sent that have no first token yet. In memory, of one process.

A stream shows its first token, so its prompt is counted until then. A whole answer does not: such prompts are taken to drain at the rate at which the engine
is known to read them.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from router.types import Errand


class Place(NamedTuple):
    """Where a call stands at an engine: its number there, how many prompt tokens were in flight with it and how many ahead of its end, its own in both; its
    own; its adapter, and whether that had to wait for a slot."""

    engine: str
    number: int
    load: float
    tokens: float
    own: float
    adapter: str = ""
    blocked: bool = False


class PromptQueue:
    """One engine's. Not thread-safe: it belongs to the event loop."""

    __slots__ = ("_adapters", "_at", "_calls", "_streamed", "_waiting", "_whole", "adapter_slots", "in_flight", "load", "token_ms")

    def __init__(self) -> None:
        self.in_flight = 0
        self.load = 0.0
        """Prompt tokens of the calls in flight."""
        self.token_ms = 0.0
        """Milliseconds per prompt token, as learnt; 0: not known, then prompts of whole answers do not count."""
        self.adapter_slots = 0
        self._adapters: dict[str, int] = {}
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

    def blocked(self, adapter: str) -> bool:
        """Whether a call for this adapter would wait for others to leave their slots. Those who came first have them."""
        if not adapter or not self.adapter_slots or len(self._adapters) < self.adapter_slots:
            return False
        return adapter not in islice(self._adapters, self.adapter_slots)

    def enter(self, errand: Errand, now: float) -> Place:
        """A call starts."""
        tokens, adapter = errand.tokens, errand.adapter
        blocked = self.blocked(adapter)
        if adapter:
            self.adapter_slots = errand.adapter_slots
            self._adapters[adapter] = self._adapters.get(adapter, 0) + 1
        behind = self.ahead(now) + tokens
        self.in_flight += 1
        self.load += tokens
        self._calls += 1
        if blocked:
            pass  # it waits outside, nobody waits for its prompt
        elif errand.stream:
            self._waiting[self._calls] = tokens
            self._streamed += tokens
        else:
            self._whole += tokens
        return Place(errand.engine, self._calls, self.load, behind, tokens, adapter, blocked)

    def read(self, place: Place) -> None:
        """Its first token is there (or it is over). Safe to call twice."""
        self._streamed -= self._waiting.pop(place.number, 0.0)
        if not self._waiting:
            self._streamed = 0.0  # sums of fractions leave a rest

    def leave(self, place: Place) -> None:
        """A call is over. Once."""
        self.read(place)
        self.in_flight -= 1
        if place.adapter:
            rest = self._adapters[place.adapter] - 1
            if rest:
                self._adapters[place.adapter] = rest
            else:
                del self._adapters[place.adapter]
        self.load = self.load - place.own if self.in_flight else 0.0
