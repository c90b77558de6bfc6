"""Randomness as a function: the same seed and keys always give the same number, so that every policy meets the same luck and nothing depends on order."""

from __future__ import annotations

from math import cos, exp, log, pi, sqrt

from router.split import mix

_STEP = 0x9E3779B97F4A7C15
_UNIT = 1.0 / (1 << 53)


def uniform(seed: int, *keys: int) -> float:
    """A number in (0, 1)."""
    state = mix(seed)
    for key in keys:
        state = mix(state ^ (key * _STEP))
    return ((state >> 11) + 0.5) * _UNIT


def normal(seed: int, *keys: int) -> float:
    """A standard normal number (Box and Muller)."""
    return sqrt(-2.0 * log(uniform(seed, *keys, 1))) * cos(2.0 * pi * uniform(seed, *keys, 2))


def lognormal(median: float, sigma: float, seed: int, *keys: int) -> float:
    """A log-normal number."""
    return median * exp(sigma * normal(seed, *keys))


def exponential(mean: float, seed: int, *keys: int) -> float:
    """An exponential number."""
    return -mean * log(uniform(seed, *keys))
