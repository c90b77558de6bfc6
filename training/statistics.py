"""The statistics of comparing two models on the same items. Pure; the standard library only.

Public: `wilson`, `mcnemar`, `bootstrap`, `newcombe`, `lower_bound`, `needed`, `detectable`, `Comparison`, `compare`.
All intervals here are for paired data. `confidence` is one-sided for `lower_bound` (non-inferiority) and two-sided elsewhere.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
POWER = 0.80
RESAMPLES = 4000  # the bootstrap's own noise is then below a tenth of the interval's width


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate minus reference over `n` paired items.

    `difference` of mean scores with its two-sided interval; `bound` is the one-sided lower bound that non-inferiority is judged by; `worse`/`better`
    count items wholly right on one side only (McNemar's discordant pairs) with their two-sided exact p; `variance` is of the paired differences.
    """

    n: int
    candidate: float
    reference: float
    difference: float
    low: float
    high: float
    bound: float
    better: int
    worse: int
    p: float
    variance: float


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval for a share, two-sided. (0, 1) for no items."""
    if n == 0:
        return 0.0, 1.0
    return _wilson(successes / n, n, _z((1 + confidence) / 2))


def mcnemar(better: int, worse: int) -> float:
    """Two-sided exact p that two discordant counts come from equal chances."""
    n = better + worse
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1))
    return min(1.0, float(tail / 2 ** (n - 1)))


def bootstrap(differences: Sequence[float], seed: int, quantile: float) -> float:
    """A quantile of the mean under resampling of items, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - a reproducible estimate
    n = len(differences)
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(RESAMPLES))
    return means[min(RESAMPLES - 1, max(0, math.floor(quantile * RESAMPLES)))]


def newcombe(candidate: Sequence[float], reference: Sequence[float], confidence: float) -> tuple[float, float]:
    """Newcombe's hybrid score interval for a paired difference of means (1998, method 10), two-sided.

    For scores between 0 and 1 it is conservative (a share has the largest variance of all). Unlike the bootstrap it stays honest where no pair differs.
    """
    n, z = len(candidate), _z((1 + confidence) / 2)
    p1, p2 = sum(candidate) / n, sum(reference) / n
    l1, u1 = _wilson(p1, n, z)
    l2, u2 = _wilson(p2, n, z)
    phi = max(0.0, _correlation(candidate, reference))
    low = math.sqrt(max(0.0, (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2))
    high = math.sqrt(max(0.0, (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2))
    return max(-1.0, p1 - p2 - low), min(1.0, p1 - p2 + high)


def lower_bound(candidate: Sequence[float], reference: Sequence[float], seed: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of the mean difference: the lower of bootstrap and score interval, since each is too hopeful somewhere."""
    differences = [a - b for a, b in zip(candidate, reference, strict=True)]
    return min(bootstrap(differences, seed, 1 - confidence), newcombe(candidate, reference, 2 * confidence - 1)[0])


def needed(margin: float, variance: float, confidence: float = CONFIDENCE, power: float = POWER) -> int:
    """Paired items needed to show non-inferiority by `margin` when there is no true difference. For right/wrong `variance` is the share of discordant pairs."""
    return math.ceil((_z(confidence) + _z(power)) ** 2 * variance / margin**2)


def detectable(n: int, variance: float, confidence: float = CONFIDENCE, power: float = POWER) -> float:
    """The smallest difference that `n` paired items show with the stated power."""
    return (_z(confidence) + _z(power)) * math.sqrt(variance / n)


def compare(candidate: Sequence[float], reference: Sequence[float], rights: Sequence[tuple[bool, bool]], seed: int) -> Comparison:
    """Compare paired scores; `rights` are (candidate right, reference right) of the same items. Needs at least one item."""
    n = len(candidate)
    differences = [a - b for a, b in zip(candidate, reference, strict=True)]
    mean = sum(differences) / n
    better = sum(a and not b for a, b in rights)
    worse = sum(b and not a for a, b in rights)
    low, high = newcombe(candidate, reference, CONFIDENCE)
    return Comparison(
        n=n,
        candidate=sum(candidate) / n,
        reference=sum(reference) / n,
        difference=mean,
        low=low,
        high=high,
        bound=lower_bound(candidate, reference, seed),
        better=better,
        worse=worse,
        p=mcnemar(better, worse),
        variance=max(0.0, sum(d * d for d in differences) / n - mean * mean),
    )


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) if 0 <= p <= 1 else 0.0
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    n = len(a)
    ma, mb = sum(a) / n, sum(b) / n
    va, vb = sum((x - ma) ** 2 for x in a), sum((y - mb) ** 2 for y in b)
    if va == 0 or vb == 0:
        return 0.0
    return sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True)) / math.sqrt(va * vb)


def _z(quantile: float) -> float:
    return NormalDist().inv_cdf(quantile)
