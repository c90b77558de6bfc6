"""How fast places become free, and so how long a queue takes. Frozen: `observe` returns the next value."""

from __future__ import annotations

import math
from dataclasses import dataclass

# What was seen so many seconds ago counts for a third.
_MEMORY_S = 10.0
_LEAST_S, _MOST_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class DrainRate:
    """Departures with exponential decay. `since` is when watching began, `at` when the last one was seen; both from one clock."""

    weight: float = 0.0
    since: float = 0.0
    at: float = 0.0

    def observe(self, now: float) -> DrainRate:
        """One more place became free at `now`. After a long silence it begins anew: what was then says nothing."""
        if not self.weight or now - self.at > 3.0 * _MEMORY_S:
            return DrainRate(1.0, now, now)
        return DrainRate(1.0 + self.weight * math.exp(-(now - self.at) / _MEMORY_S), self.since, now)

    def per_second(self, now: float) -> float | None:
        """Places that become free in a second; None before two were seen."""
        if self.weight <= 1.0 or now <= self.since:
            return None
        seen_s = _MEMORY_S * (1.0 - math.exp(-(now - self.since) / _MEMORY_S))
        return self.weight * math.exp(-(now - self.at) / _MEMORY_S) / seen_s

    def wait_s(self, ahead: int, now: float) -> float:
        """Seconds until `ahead` places will have become free, within what is worth telling a client; the least of it where nothing is known."""
        rate = self.per_second(now)
        if rate is None:
            return _LEAST_S
        return min(_MOST_S, max(_LEAST_S, ahead / rate)) if rate > 0.0 else _MOST_S
