"""When the sandbox's tokens come: a log-normal time to the first, a steady pace after it. Pure; seeded by the request's number."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: `first` until the first token, `each` between two tokens after it."""

    first: float
    each: float

    def due(self, token: int) -> float:
        """Seconds after the request at which token number `token` (from 0) is there."""
        return self.first + self.each * token


def pace(ttft_ms: float, token_ms: float, jitter: float, seed: int, number: int) -> Pace:
    """The pace of one request: medians as given, spread by one factor exp(N(0, jitter)) each."""
    if jitter <= 0:
        return Pace(ttft_ms / 1000, token_ms / 1000)
    rng = random.Random(f"{seed}/{number}")  # noqa: S311 - a latency model, not a secret
    return Pace(ttft_ms / 1000 * rng.lognormvariate(0, jitter), token_ms / 1000 * rng.lognormvariate(0, jitter))
