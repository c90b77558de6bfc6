"""What a token costs on one's own GPU, as a function of how much of the GPU is used; and from which use on that is cheaper than a hosted model. Pure.

Here: the arithmetic of a calibrated engine. Not here: measuring one (serving/calibrate.py), what the books say (allocate.py).

With P prompt tokens/s and D generated tokens/s at saturation, a million tokens of a mix with share i of prompt tokens (of which the share c is cached) and
o = 1 - i of generated ones keep the GPU busy for

    S = 10^6 x (i x (1 - c) / P + o / D)  seconds,

so at utilisation u (work done / work that could have been done in the hours paid for, 0 < u <= 1) they cost

    cost(u) = price of an hour x S / 3600 / u,

and a hosted model that charges `hosted` for the same million is dearer from u* = cost(1) / hosted on. u* is also what local costs of hosted at full use.
P and D are measured apart from each other: work of both kinds at once is taken to add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from router.money import expected
from router.types import Price

# The smallest batch that generates this share of the most that was seen counts as saturated: beyond it answers only get slower.
KNEE = 0.95
STEPS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Point:
    """Throughput at one batch size, tokens per second of the whole batch. `disturbed`: somebody else used the engine meanwhile."""

    batch: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class Saturation:
    """What an engine does at most: tokens per second, prompts alone and answers alone, and the batch from which on it generates no faster."""

    batch: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float

    @property
    def decode_weight(self) -> float:
        """How many prompt tokens cost as much as one generated token."""
        return self.prefill_tokens_per_s / self.decode_tokens_per_s

    def seconds(self, prefill_tokens: float, decode_tokens: float) -> float:
        """How long this work takes at saturation."""
        return prefill_tokens / self.prefill_tokens_per_s + decode_tokens / self.decode_tokens_per_s


@dataclass(frozen=True, slots=True)
class Mix:
    """What a million tokens consist of: the share of prompt tokens (0..1), and the share of those that a prefix cache holds."""

    prompt: float
    cached: float = 0.0

    @classmethod
    def of(cls, prompt_tokens: float, generated_tokens: float, cached_tokens: float = 0.0) -> Mix:
        """The mix of these tokens (at least one); `cached_tokens` are part of the prompt."""
        return cls(prompt_tokens / (prompt_tokens + generated_tokens), cached_tokens / prompt_tokens if prompt_tokens else 0.0)


def saturation(points: Sequence[Point]) -> Saturation | None:
    """From the measured points: the best prefill rate, and the generating rate at the knee. None without a point that shows both."""
    whole = [point for point in points if point.prefill_tokens_per_s > 0.0 and point.decode_tokens_per_s > 0.0]
    if not whole:
        return None
    best = max(point.decode_tokens_per_s for point in whole)
    knee = min((point for point in whole if point.decode_tokens_per_s >= KNEE * best), key=lambda point: point.batch)
    return Saturation(knee.batch, max(point.prefill_tokens_per_s for point in whole), knee.decode_tokens_per_s)


def cost_per_million(gpu_hour_nanousd: int, at: Saturation, mix: Mix, utilisation: float) -> int:
    """Nano-dollars for a million tokens of `mix` on one replica at a utilisation in (0, 1]. Raises ValueError outside it."""
    if not 0.0 < utilisation <= 1.0:
        raise ValueError("utilisation is a share of what the engine can do: above 0, at most 1")
    seconds = at.seconds(_MILLION * mix.prompt * (1.0 - mix.cached), _MILLION * (1.0 - mix.prompt))
    return round(gpu_hour_nanousd * seconds / 3600.0 / utilisation)


def hosted_per_million(price: Price, mix: Mix) -> int:
    """Nano-dollars that a hosted model charges for a million tokens of `mix`."""
    return round(expected(_MILLION * mix.prompt, mix.cached, _MILLION * (1.0 - mix.prompt), price))


def break_even(gpu_hour_nanousd: int, at: Saturation, mix: Mix, price: Price) -> float | None:
    """The utilisation from which on local is cheaper than this price; above 1: it never is. None: the hosted model costs nothing, so no use is enough."""
    hosted = hosted_per_million(price, mix)
    return cost_per_million(gpu_hour_nanousd, at, mix, 1.0) / hosted if hosted > 0 else None
