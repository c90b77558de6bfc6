"""Differences of counts: thresholds that hold at every sample size, and the differences themselves."""

from __future__ import annotations

import random
from math import exp, inf, log

import pytest

from router.divergence import Feature, difference, kl, kl_threshold, ks_threshold, psi, upper_rate

BINS, KINDS, MARKS = Feature("length", "ordered", 8), Feature("language", "classes", 4), Feature("words", "marks", 3)


def test_ks_is_the_largest_gap_of_the_distributions() -> None:
    """Counts of numbers: half of them two bins further is a distance of a half."""
    found = difference(BINS, [10, 10, 0, 0, 0, 0, 0, 0], [5, 5, 5, 5, 0, 0, 0, 0], (0, 0), 10.0)
    assert (found.statistic, found.value, found.changed, found.n, found.baseline_n, found.place) == ("ks", 0.5, 0.5, 20, 20, 1)
    assert found.threshold == ks_threshold(20, 20, 10.0)
    assert found.psi is not None
    assert found.psi > 0.25


def test_kl_takes_the_class_that_differs_most() -> None:
    """Of classes the share that moved is half of all gaps; of marks it is the widest gap, and there is no PSI."""
    found = difference(KINDS, [50, 50, 0, 0], [25, 50, 25, 0], (0, 0), 10.0)
    assert (found.place, found.changed) == (2, 0.25)
    assert found.value == pytest.approx(kl(0.25, 0.125))
    assert found.threshold == kl_threshold(100, 4, 10.0)
    marks = difference(MARKS, [50, 50, 0], [50, 75, 5], (100, 100), 10.0)
    assert (marks.place, marks.changed, marks.psi, marks.n) == (1, 0.25, None, 100)


def test_nothing_differs_where_there_is_nothing() -> None:
    """An empty side, and equal sides."""
    for counts in ([0] * 8, [3] * 8):
        found = difference(BINS, [0] * 8, counts, (0, 0), 10.0)
        assert (found.value, found.threshold, found.changed) == (0.0, inf, 0.0)
    assert difference(KINDS, [1, 2, 3, 4], [10, 20, 30, 40], (0, 0), 1.0).value == pytest.approx(0.0, abs=1e-12)


def test_a_divergence_is_what_it_is_defined_as() -> None:
    """Zero for equal shares, infinite for what cannot be, symmetric in the complement."""
    assert kl(0.3, 0.3) == 0.0
    assert kl(1.0, 1.0) == kl(0.0, 0.0) == 0.0
    assert kl(0.5, 0.0) == kl(0.5, 1.0) == inf
    assert kl(0.2, 0.4) == pytest.approx(kl(0.8, 0.6)) == pytest.approx(0.2 * log(0.5) + 0.8 * log(0.8 / 0.6))


def test_an_upper_rate_is_exceeded_as_seldom_as_it_says() -> None:
    """Over all outcomes of 30 draws at rates around it, the true rate is above the bound with less than the stated chance."""
    from math import comb

    surprise = log(20.0)
    for rate in (0.02, 0.1, 0.3, 0.7):
        missed = sum(comb(30, k) * rate**k * (1 - rate) ** (30 - k) for k in range(31) if upper_rate(k, 30, surprise) < rate)
        assert missed <= exp(-surprise)
    assert upper_rate(0, 0, 5.0) == 1.0
    assert upper_rate(30, 30, 5.0) == pytest.approx(1.0)
    assert upper_rate(0, 1000, 5.0) == pytest.approx(0.005, rel=0.01)


@pytest.mark.parametrize("sizes", [(256, 64), (64, 64), (40, 9)])
def test_chance_exceeds_a_threshold_as_seldom_as_it_says(sizes: tuple[int, int]) -> None:
    """Requests of one kind split at random, 1,500 times, at a level of a tenth: fewer than that are beyond it, in bins nearly empty as in full ones."""
    m, n = sizes
    rng, beyond = random.Random(4), {"ks": 0, "kl": 0, "marks": 0}
    for _ in range(1500):
        counts = {name: ([0] * 8, [0] * 8) for name in beyond}
        for number in range(m + n):
            side, value = int(number >= m), min(7, int(rng.expovariate(0.6)))
            counts["ks"][side][value] += 1
            counts["kl"][side][value] += 1
            for place in range(8):
                counts["marks"][side][place] += rng.random() < 0.02 * place
        for name, shape in (("ks", "ordered"), ("kl", "classes"), ("marks", "marks")):
            found = difference(Feature(name, shape, 8), *counts[name], (m, n), log(10.0))  # type: ignore[arg-type]
            beyond[name] += found.value >= found.threshold
    assert all(count <= 150 for count in beyond.values()), beyond


def test_psi_is_finite_with_empty_bins() -> None:
    """A bin that only one side has."""
    assert 0.0 < psi([10, 0], [0, 10], (10, 10)) < 20.0
    assert psi([5, 5], [5, 5], (10, 10)) == 0.0
