"""training/statistics.py: intervals and tests against published values and simulation."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import statistics


def cells(a: int, b: int, c: int, d: int) -> tuple[list[float], list[float]]:
    """Paired right/wrong answers: both right, first only, second only, neither."""
    return [1.0] * a + [1.0] * b + [0.0] * c + [0.0] * d, [1.0] * a + [0.0] * b + [1.0] * c + [0.0] * d


def test_wilson_matches_the_textbook() -> None:
    """81 of 263 gives 0.2553 to 0.3662 (Newcombe 1998, two-sided 95 %); 0 of 20 gives 0 to 0.1611; no items give everything."""
    assert statistics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert statistics.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert statistics.wilson(0, 0) == (0.0, 1.0)


def test_mcnemar_is_exact() -> None:
    """5 against 1 is 2 x 7/64; equal counts and no counts are 1; 0 against 10 is 2/1024."""
    assert statistics.mcnemar(5, 1) == pytest.approx(14 / 64)
    assert statistics.mcnemar(4, 4) == 1.0
    assert statistics.mcnemar(0, 0) == 1.0
    assert statistics.mcnemar(0, 10) == pytest.approx(2 / 1024)
    assert 0 < statistics.mcnemar(900, 1100) < 1e-4


def test_newcombe_matches_a_direct_computation() -> None:
    """For 36/12/2/0 Newcombe's interval without continuity correction: recomputed by hand from the Wilson limits and phi."""
    low, high = statistics.newcombe(*cells(36, 12, 2, 0), 0.95)
    l1, u1 = statistics.wilson(48, 50)
    l2, u2 = statistics.wilson(38, 50)
    phi = max(0.0, (36 * 0 - 12 * 2) / (48 * 2 * 38 * 12) ** 0.5)
    delta = 0.20
    assert low == pytest.approx(delta - ((0.96 - l1) ** 2 - 2 * phi * (0.96 - l1) * (u2 - 0.76) + (u2 - 0.76) ** 2) ** 0.5)
    assert high == pytest.approx(delta + ((u1 - 0.96) ** 2 - 2 * phi * (u1 - 0.96) * (0.76 - l2) + (0.76 - l2) ** 2) ** 0.5)


def test_no_disagreement_in_few_items_proves_little() -> None:
    """Fifty equal answers do not exclude a difference of five points; four hundred do."""
    for n, sees in ((50, False), (400, True)):
        same = [1.0] * n
        assert (statistics.lower_bound(same, same, seed=1) > -0.05) is sees


def test_sizes_are_those_of_the_design() -> None:
    """A margin of 2 points needs 930 to 1,550 items at 6 to 10 % discordance, one of 5 points about 250."""
    assert statistics.needed(-0.02, 0.06) == pytest.approx(930, abs=5)
    assert statistics.needed(-0.02, 0.10) == pytest.approx(1550, abs=6)
    assert statistics.needed(-0.05, 0.10) == pytest.approx(250, abs=3)
    assert statistics.detectable(statistics.needed(-0.05, 0.1), 0.1) == pytest.approx(0.05, abs=1e-4)


def test_the_bootstrap_is_seeded_and_brackets_the_mean() -> None:
    """The same seed gives the same number; the 5 % quantile is close to the normal approximation."""
    rng = random.Random(3)
    differences = [rng.gauss(0.1, 1.0) for _ in range(400)]
    mean = sum(differences) / 400
    low = statistics.bootstrap(differences, 1, 0.05)
    assert low == statistics.bootstrap(differences, 1, 0.05)
    assert low == pytest.approx(mean - 1.645 * 1.0 / 20, abs=0.02)
    assert statistics.bootstrap(differences, 1, 1.0) >= statistics.bootstrap(differences, 1, 0.95) > mean


def test_false_admissions_are_as_rare_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the candidate is worse by exactly the margin, at most about 5 % of suites admit it; when it is equal, most admit it at the stated size."""
    monkeypatch.setattr(statistics, "RESAMPLES", 400)
    rng = random.Random(11)

    def admitted(worse: float, better: float, n: int, runs: int) -> float:
        count = 0
        for run in range(runs):
            draws = [rng.random() for _ in range(n)]
            a = [0.0 if u < worse else 1.0 for u in draws]
            b = [0.0 if worse <= u < worse + better else 1.0 for u in draws]
            count += statistics.lower_bound(a, b, seed=run) > -0.05
        return count / runs

    assert admitted(0.075, 0.025, 250, 200) <= 0.09  # 5 % and three standard errors of 200 runs
    assert admitted(0.05, 0.05, 300, 120) >= 0.70


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_comparisons_are_always_ordered_numbers(pairs: list[tuple[float, float]]) -> None:
    """Whatever the scores, the intervals hold the difference and stay within what is possible."""
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    found = statistics.compare(a, b, [(x == 1, y == 1) for x, y in pairs], seed=0)
    assert -1 <= found.low <= found.difference + 1e-9
    assert found.difference - 1e-9 <= found.high <= 1
    assert found.bound <= found.difference + 1e-9
    assert found.variance >= 0
    assert 0 <= found.p <= 1
