"""Estimators that learn from what was observed: frozen values, `observe` returns the next one. Not here: what is predicted from them (router.latency).

Each forgets with time, by half every `half_life_s`, and with traffic, by a bound on its weight, so that old evidence never outvotes a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp2, log, sqrt

from router.quick import quick

_PRIOR_WEIGHT = 8.0
_LEAST_SIGMA = 0.05
_LEAST_PAIRS = 8.0
# Below this relative variance all x count as the same: a slope through them would be noise.
_SAME = 1e-6


def _faded(weight: float, at: float, now: float, half_life_s: float) -> float:
    # A clock that steps back must not make old evidence heavier.
    return weight * exp2(-max(now - at, 0.0) / half_life_s)


@quick
@dataclass(frozen=True, slots=True)
class Mean:
    """A time-decayed mean. `value` is None until something was observed; `weight` counts observations, decayed, at most `limit`."""

    value: float | None = None
    weight: float = 0.0
    at: float = 0.0
    half_life_s: float = 600.0
    limit: float = 100.0

    def rests_on(self, now: float) -> float:
        """How many observations it rests on by now."""
        return _faded(self.weight, self.at, now, self.half_life_s)

    def observe(self, x: float, now: float) -> Mean:
        """The mean with one more observation `x`, made at `now`."""
        if self.value is None:
            return Mean(x, 1.0, now, self.half_life_s, self.limit)
        weight = min(_faded(self.weight, self.at, now, self.half_life_s), self.limit - 1.0)
        return Mean(self.value + (x - self.value) / (weight + 1.0), weight + 1.0, max(now, self.at), self.half_life_s, self.limit)


@quick
@dataclass(frozen=True, slots=True)
class LogSpread:
    """The spread of log(x / predicted): how far predictions of a positive quantity miss, as the sigma of a log-normal.

    `sigma` starts at `prior` and trusts the observations as they come, as if the prior had been seen `_PRIOR_WEIGHT` times.
    """

    square: float = 0.0
    weight: float = 0.0
    at: float = 0.0
    prior: float = 0.5
    half_life_s: float = 1800.0
    limit: float = 200.0

    @property
    def sigma(self) -> float:
        """Standard deviation of the log ratio, never below `_LEAST_SIGMA` (nothing on a network is exact)."""
        known = self.prior * self.prior
        # The predicted time is the mean, which lies sigma^2 / 2 above the middle of the logarithms: their square is sigma^2 + sigma^4 / 4.
        pooled = (self.weight * self.square + _PRIOR_WEIGHT * known * (1.0 + 0.25 * known)) / (self.weight + _PRIOR_WEIGHT)
        return max(sqrt(2.0 * (sqrt(1.0 + pooled) - 1.0)), _LEAST_SIGMA)

    def observe(self, ratio: float, now: float) -> LogSpread:
        """The spread after one more observed / predicted `ratio`; ratios that are not positive say nothing and are left out."""
        if ratio <= 0.0:
            return self
        weight = min(_faded(self.weight, self.at, now, self.half_life_s), self.limit - 1.0)
        square = self.square + (log(ratio) ** 2 - self.square) / (weight + 1.0)
        return LogSpread(square, weight + 1.0, max(now, self.at), self.prior, self.half_life_s, self.limit)


@quick
@dataclass(frozen=True, slots=True)
class Line:
    """A straight line through (x, y) pairs, by least squares over what is remembered: y rises with x or not at all. `x`, `y` are the means, where it passes."""

    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    at: float = 0.0
    half_life_s: float = 600.0
    limit: float = 200.0

    @property
    def slope(self) -> float:
        """y per x; 0 until there are enough pairs, or where all x are the same."""
        if self.weight < _LEAST_PAIRS or self.xx <= _SAME * self.weight * (1.0 + self.x * self.x):
            return 0.0
        return max(self.xy / self.xx, 0.0)

    def value(self, x: float) -> float:
        """y at `x`."""
        return self.y + self.slope * (x - self.x)

    def observe(self, x: float, y: float, now: float) -> Line:
        """The line with one more pair, made at `now` (West 1979: means and co-moments in one pass)."""
        weight = min(_faded(self.weight, self.at, now, self.half_life_s), self.limit - 1.0)
        keep = weight / self.weight if self.weight else 0.0
        dx, dy = x - self.x, y - self.y
        mean_x, mean_y = self.x + dx / (weight + 1.0), self.y + dy / (weight + 1.0)
        xx, xy = self.xx * keep + dx * (x - mean_x), self.xy * keep + dx * (y - mean_y)
        return Line(weight + 1.0, mean_x, mean_y, xx, xy, max(now, self.at), self.half_life_s, self.limit)


@quick
@dataclass(frozen=True, slots=True)
class TokenRatio:
    """Bytes per token of one model's tokenizer on one route's text: decayed bytes over decayed tokens, from a prior of four bytes for a few hundred tokens."""

    seen_bytes: float = 1200.0
    seen_tokens: float = 300.0
    at: float = 0.0
    half_life_s: float = 86400.0
    limit_tokens: float = 1_000_000.0

    @property
    def bytes_per_token(self) -> float:
        """The ratio learnt so far."""
        return self.seen_bytes / self.seen_tokens

    def observe(self, prompt_bytes: int, tokens: int, now: float) -> TokenRatio:
        """The ratio after one more prompt, of `prompt_bytes` bytes that the backend counted as `tokens`; empty ones say nothing."""
        if prompt_bytes <= 0 or tokens <= 0:
            return self
        # The first observation has nothing to forget: `at` 0 marks the prior.
        keep = _faded(1.0, self.at, now, self.half_life_s) if self.at else 1.0
        keep = min(keep, self.limit_tokens / self.seen_tokens)
        kept_bytes, kept_tokens = self.seen_bytes * keep, self.seen_tokens * keep
        return TokenRatio(kept_bytes + prompt_bytes, kept_tokens + tokens, max(now, self.at), self.half_life_s, self.limit_tokens)
