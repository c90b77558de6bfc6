"""Whether a version is as good as its reference, said so that one may look after every single answer. Pure.

Verdicts are numbers from 0 (useless) to 1 (right). What is known of a series of them is how many there were and their sum: a `Tally`. `bounds` gives an
interval for their mean that holds at all times at once with probability 1 - alpha, so that stopping at the first crossing is allowed (a confidence
sequence). It is the betting one of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 86, 2024), with the bets of
Robbins' method of mixtures: for each mean m, the wealth of a player who bets against m by the likelihood ratio of Bernoulli(q) to Bernoulli(m), mixed over
q by Jeffreys' Beta(1/2, 1/2). The ratio is convex in the verdict, so by its chord the player cannot gain on average while the mean is m, for verdicts of
any shape in [0, 1]; by Ville's inequality its wealth passes 1/alpha with probability alpha at most. The wealth depends on n and sum alone: evidence can be
added up in any order and from tables, after any restart.

Here: intervals, differences, what is needed. Not here: what follows for a stage (stage.py), where verdicts come from (gateway/quality).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, lgamma, log, pi
from typing import Literal

Verdict = Literal["worse", "good", "open"]
_JEFFREYS = 0.5
_STEPS = 36
# Beyond so many more answers nobody waits.
MOST_NEEDED = 10_000_000


@dataclass(frozen=True, slots=True)
class Tally:
    """`n` verdicts in [0, 1] and their `total`."""

    n: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        """None without any."""
        return self.total / self.n if self.n else None


NOTHING = Tally()


@dataclass(frozen=True, slots=True)
class Finding:
    """How much better (worse: below 0) a version is than its reference by one kind of evidence: estimate and interval of the difference of means.

    `margin` is the route's floor: "good" once all of the interval is above it, "worse" once all of it is below. `needed` is about how many more verdicts of the
    version it takes until it is good, at the present estimate; None: no number of them, or it was not asked for.
    """

    kind: str
    n: int
    reference_n: int
    estimate: float | None
    low: float
    high: float
    margin: float
    needed: int | None = None

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        return "worse" if self.high < self.margin else "good" if self.low >= self.margin else "open"


def log_wealth(tally: Tally, mean: float) -> float:
    """The logarithm of what one who bets against `mean` (in [0, 1]) has made of 1."""
    n, total = tally.n, min(max(tally.total, 0.0), float(tally.n))
    if not n:
        return 0.0
    mixture = lgamma(_JEFFREYS + total) + lgamma(_JEFFREYS + n - total) - lgamma(2 * _JEFFREYS + n) - log(pi)
    return mixture - _times_log(total, mean) - _times_log(n - total, 1.0 - mean)


def bounds(tally: Tally, alpha: float) -> tuple[float, float]:
    """The interval of the mean at level `alpha`; (0, 1) while nothing is known."""
    mean, limit = tally.mean, log(1.0 / alpha)
    if mean is None:
        return 0.0, 1.0
    mean = min(max(mean, 0.0), 1.0)
    return _edge(tally, mean, 0.0, limit), _edge(tally, mean, 1.0, limit)


def unpaired(kind: str, version: Tally, reference: Tally, margin: float, alpha: float, *, plan: bool = False) -> Finding:
    """Verdicts of different requests: each side has its interval at half of `alpha`. `plan`: with `needed`, which takes longer."""
    low, high, estimate = _difference(version, reference, alpha)
    found = Finding(kind, version.n, reference.n, estimate, low, high, margin)
    if not plan or found.verdict != "open" or estimate is None:
        return found
    return _with_needed(found, lambda n: _difference(_grown(version, n), reference, alpha)[0])


def against(kind: str, tally: Tally, expected: float, margin: float, alpha: float, *, plan: bool = False) -> Finding:
    """Verdicts of pairs (0: not the same at all, 1: nothing between them) against what two equally good sides are expected to reach."""
    low, high = bounds(tally, alpha)
    mean = tally.mean
    found = Finding(kind, tally.n, tally.n, None if mean is None else mean - expected, low - expected, high - expected, margin)
    if not plan or found.verdict != "open" or mean is None:
        return found
    return _with_needed(found, lambda n: bounds(_grown(tally, n), alpha)[0] - expected)


def _difference(version: Tally, reference: Tally, alpha: float) -> tuple[float, float, float | None]:
    low, high = bounds(version, alpha / 2.0)
    least, most = bounds(reference, alpha / 2.0)
    estimate = None if version.mean is None or reference.mean is None else version.mean - reference.mean
    return low - most, high - least, estimate


def _with_needed(found: Finding, low_at: Callable[[int], float]) -> Finding:
    """`low_at` is the lower end after `n` verdicts at the present mean: the least n that is good, found by doubling and halving."""
    if found.estimate is None or found.estimate <= found.margin or low_at(MOST_NEEDED) < found.margin:
        return found
    least, enough = found.n, max(2 * found.n, 2)
    while low_at(enough) < found.margin:
        least, enough = enough, 2 * enough
    while enough - least > max(1, enough // 64):
        middle = (least + enough) // 2
        least, enough = (least, middle) if low_at(middle) >= found.margin else (middle, enough)
    return replace(found, needed=enough - found.n)


def _grown(tally: Tally, n: int) -> Tally:
    return Tally(n, (tally.mean or 0.0) * n)


def _edge(tally: Tally, mean: float, end: float, limit: float) -> float:
    """Where, between the mean and an end of [0, 1], the wealth reaches the limit: it grows all the way."""
    if log_wealth(tally, end) < limit:
        return end
    inside, outside = mean, end
    for _ in range(_STEPS):
        middle = (inside + outside) / 2.0
        if log_wealth(tally, middle) < limit:
            inside = middle
        else:
            outside = middle
    return outside


def _times_log(count: float, chance: float) -> float:
    if count <= 0.0:
        return 0.0
    return count * log(chance) if chance > 0.0 else -inf
