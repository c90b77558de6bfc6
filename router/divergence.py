"""How far two sets of requests differ in one feature, and from which difference on chance is no explanation. Pure; counts in, numbers out.

Every critical value here holds for the sample at hand, however small, and for any distribution: none is an approximation for large samples, and none of the
usual 0.1 and 0.25 of the PSI, which mean something else at every sample size (docs/decisions/0030). Under "nothing has changed" the two sets are one set,
split by chance, and:

- KS: P(D > sqrt(ln(C / a) / 2 * (1 / n + 1 / m))) <= a, the two-sample inequality of Dvoretzky, Kiefer and Wolfowitz with C = e (Wei and Dudley 2012:
  enough for equal sizes whatever they are; for unequal ones 2 is). Values that fall into the same bin only make it safer.
- KL: a share p of n requests, drawn from the pooled set with share q: P(n * kl(p, q) >= x) <= 2 exp(-x), Chernoff's bound, which holds for drawing
  without replacement (Hoeffding 1963). Over k classes or marks the largest is taken and x grows by ln k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Literal

Shape = Literal["ordered", "classes", "marks"]
# ln C of the inequality.
_DKW = 1.0
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Feature:
    """What is counted of requests. `ordered`: bins of a number; `classes`: one of several for each request; `marks`: any of several for each request, so that
    their shares do not add up to one. `size` is how many bins, classes or marks."""

    name: str
    shape: Shape
    size: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sets in one feature. It is beyond chance where `value` reaches `threshold`. `changed` is the share of requests that must at least be different now
    (0 to 1), `psi` the population stability index (None for marks, whose shares overlap), `place` the class, mark or bin that differs most."""

    feature: str
    statistic: Literal["ks", "kl"]
    value: float
    threshold: float
    changed: float
    psi: float | None
    n: int
    baseline_n: int
    place: int


def difference(feature: Feature, baseline: Sequence[float], current: Sequence[float], sizes: tuple[float, float], surprise: float) -> Difference:
    """Compare counts. `sizes` are how many requests each has (baseline, current; of `ordered` and `classes` it is the sum of the counts), `surprise` is
    ln(1 / a) of the level a at which this one comparison may be wrong. Nothing differs where either has no requests."""
    m, n = sizes if feature.shape == "marks" else (sum(baseline), sum(current))
    if m <= 0 or n <= 0:
        return Difference(feature.name, "ks" if feature.shape == "ordered" else "kl", 0.0, float("inf"), 0.0, None, int(n), int(m), 0)
    if feature.shape == "ordered":
        return _ks(feature, baseline, current, (m, n), surprise)
    return _kl(feature, baseline, current, (m, n), surprise)


def ks_threshold(n: float, m: float, surprise: float) -> float:
    """The distance of two empirical distributions of n and m values that chance exceeds with a probability of at most exp(-surprise)."""
    return sqrt((_DKW + surprise) / 2.0 * (1.0 / n + 1.0 / m))


def kl_threshold(n: float, classes: int, surprise: float) -> float:
    """The largest divergence over `classes` shares of n requests, each rising or falling, that chance exceeds with probability at most exp(-surprise); nats."""
    return (log(2.0 * classes) + surprise) / n


def kl(p: float, q: float) -> float:
    """The divergence of a share p from a share q, in nats; 0 where they are equal."""
    if q <= 0.0 or q >= 1.0:
        return 0.0 if p == q else float("inf")
    rest = 1.0 - p
    return max(0.0, (p * log(p / q) if p > 0.0 else 0.0) + (rest * log(rest / (1.0 - q)) if rest > 0.0 else 0.0))


def upper_rate(events: float, n: float, surprise: float) -> float:
    """The rate that a process which showed `events` in n exceeds with a probability of at most exp(-surprise); 1 where n is 0."""
    if n <= 0:
        return 1.0
    p, low, high = events / n, events / n, 1.0
    for _ in range(50):
        middle = (low + high) / 2.0
        if n * kl(p, middle) < surprise:
            low = middle
        else:
            high = middle
    return high


def psi(baseline: Sequence[float], current: Sequence[float], sizes: tuple[float, float]) -> float:
    """The population stability index, half a request added to every bin so that an empty one does not make it infinite."""
    m, n = sizes[0] + 0.5 * len(baseline), sizes[1] + 0.5 * len(current)
    total = 0.0
    for b, c in zip(baseline, current, strict=True):
        if b or c:
            p, q = (c + 0.5) / n, (b + 0.5) / m
            total += (p - q) * log(p / q)
    return total


def _ks(feature: Feature, baseline: Sequence[float], current: Sequence[float], sizes: tuple[float, float], surprise: float) -> Difference:
    m, n = sizes
    distance, gap, place = 0.0, 0.0, 0
    for index, (b, c) in enumerate(zip(baseline, current, strict=True)):
        gap += c / n - b / m
        if abs(gap) > distance:
            distance, place = abs(gap), index
    return Difference(feature.name, "ks", distance, ks_threshold(n, m, surprise), distance, psi(baseline, current, sizes), int(n), int(m), place)


def _kl(feature: Feature, baseline: Sequence[float], current: Sequence[float], sizes: tuple[float, float], surprise: float) -> Difference:
    m, n = sizes
    worst, place, most, moved = 0.0, 0, 0.0, 0.0
    whole = n + m
    for number, (b, c) in enumerate(zip(baseline, current, strict=True)):
        if not b and not c:
            continue
        p, q = c / n, b / m
        gap = abs(p - q)
        moved += gap
        if gap > most:
            most = gap
        if gap > _TINY:
            found = kl(min(1.0, p), min(1.0, (b + c) / whole))
            if found > worst:
                worst, place = found, number
    # Of classes half of all gaps is what moved; marks overlap, so only the widest gap counts.
    changed, index = (moved / 2.0, psi(baseline, current, sizes)) if feature.shape == "classes" else (most, None)
    return Difference(feature.name, "kl", worst, kl_threshold(n, feature.size, surprise), changed, index, int(n), int(m), place)
