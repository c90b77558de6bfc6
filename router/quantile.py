"""A quantile of a positive quantity, learnt one observation at a time in constant memory. Frozen; `observe` returns the next value.

Robbins and Monro's steps on a logarithmic scale: up by `share` of a step when an observation lies above, down by the rest when it lies below, so it comes to
rest where `share` of the observations lie below. Steps shrink to a floor, so that it follows a change within some dozens of observations.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

_FIRST_STEP = 1.0
_LEAST_STEP = 0.1
_SETTLED = 46  # from here on the shrinking step would be smaller than the least


class Quantile(NamedTuple):
    """`value` is None before the first observation; `seen` counts observations."""

    value: float | None = None
    seen: int = 0
    share: float = 0.95

    def observe(self, x: float) -> Quantile:
        """With one more observation. What was given up on after `x` counts too, if it is told only when `x` lies above `value`: it lies at least there."""
        if x <= 0.0:
            return self
        if self.value is None:
            return Quantile(x, 1, self.share)
        step = _LEAST_STEP if self.seen >= _SETTLED else _FIRST_STEP / (self.seen + 1) ** 0.6
        moved = step * self.share if x > self.value else -step * (1.0 - self.share)
        return Quantile(self.value * exp(moved), self.seen + 1, self.share)
