"""router.evidence: intervals that hold however often one looks, and what follows from them."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence import NOTHING, Tally, against, bounds, log_wealth, unpaired
from router.stage import ALPHA, Evidence, propose
from router.types import Stage

RUNS = 200


@given(n=st.integers(0, 5000), share=st.floats(0, 1), alpha=st.floats(0.001, 0.5))
def test_an_interval_holds_the_mean_and_grows_with_certainty(n: int, share: float, alpha: float) -> None:
    """Inside [0, 1], around the mean, wider where less error is allowed, and its ends are where the wealth is the limit."""
    tally = Tally(n, share * n)
    low, high = bounds(tally, alpha)
    assert 0.0 <= low <= high <= 1.0
    assert n == 0 or low - 1e-9 <= share <= high + 1e-9
    wider = bounds(tally, alpha / 2)
    assert wider[0] <= low + 1e-9
    assert wider[1] >= high - 1e-9
    if low > 0.0:
        assert log_wealth(tally, low) == pytest.approx(-log(alpha), abs=1e-3)


@given(verdicts=st.lists(st.floats(0, 1), min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_the_order_of_verdicts_does_not_matter(verdicts: list[float], seed: int) -> None:
    """Evidence is a sum: read again from tables in another order it says the same."""
    other = list(verdicts)
    random.Random(seed).shuffle(other)
    first, again = bounds(Tally(len(verdicts), sum(verdicts)), 0.05), bounds(Tally(len(other), sum(other)), 0.05)
    assert first == pytest.approx(again, abs=1e-6)


@pytest.mark.parametrize("verdict", [lambda chance: float(chance.random() < 0.9), lambda chance: chance.betavariate(9, 1)], ids=["yes or no", "shares"])
def test_the_interval_misses_the_truth_rarely_though_one_looks_after_each(verdict: Callable[[random.Random], float]) -> None:
    """Two hundred runs of five hundred verdicts of mean 0.9, looked at after every one: the interval ever misses in at most ALPHA of them."""
    missed = 0
    for seed in range(RUNS):
        chance, n, total = random.Random(seed), 0, 0.0
        for _ in range(500):
            n, total = n + 1, total + verdict(chance)
            if log_wealth(Tally(n, total), 0.9) >= -log(ALPHA):
                missed += 1
                break
    assert missed <= ALPHA * RUNS


def simulated(seed: int, good: float, agreed: float, looks: int = 30, each: int = 50) -> tuple[Stage | None, int]:
    """A canary that answers `each` requests between two looks: what is proposed first, and after how many. The reference succeeds in 98 of 100."""
    chance = random.Random(seed)
    answers = failed = baseline_failed = pairs = 0
    total = 0.0
    for _ in range(looks):
        answers += each
        failed += sum(chance.random() >= good for _ in range(each))
        baseline_failed += sum(chance.random() >= 0.98 for _ in range(each))
        pairs += each // 10
        total += sum(chance.random() < agreed for _ in range(each // 10))
        found = propose(Stage.OPEN, Evidence(True, answers, failed, answers, baseline_failed, agreement=Tally(pairs, total), shadowing=True))
        if found is not None:
            return found.to, answers
    return None, answers


def test_false_alarms_are_rarer_than_stated() -> None:
    """Of two hundred versions that are just as good, at most ALPHA are taken back though looked at thirty times each."""
    alarms = sum(simulated(seed, 0.98, 0.9)[0] is not None for seed in range(RUNS))
    assert alarms <= ALPHA * RUNS


def test_a_degraded_version_is_found() -> None:
    """One that fails in a fifth, and one that never fails but agrees in six of ten: both always blocked, in half the cases within so many answers."""
    for good, agreed, within in ((0.8, 0.9, 300), (0.98, 0.6, 700)):
        found = [simulated(seed, good, agreed) for seed in range(50)]
        assert all(stage is Stage.BLOCKED for stage, _ in found)
        assert sorted(answers for _, answers in found)[25] <= within


def test_differences_have_a_verdict_and_say_what_is_needed() -> None:
    """Good, worse, open; needed is about right: with so many more it is good, with a third of them not."""
    assert unpaired("x", Tally(5000, 4950), Tally(5000, 4950), -0.02, 0.02).verdict == "good"
    assert unpaired("x", Tally(500, 300), Tally(500, 490), -0.02, 0.02).verdict == "worse"
    few = unpaired("x", Tally(200, 198), Tally(50_000, 49_500), -0.02, 0.02, plan=True)
    assert few.verdict == "open"
    assert few.needed is not None
    for share, verdict in ((1.0, "good"), (0.3, "open")):
        n = 200 + int(few.needed * share)
        assert unpaired("x", Tally(n, 0.99 * n), Tally(50_000, 49_500), -0.02, 0.02).verdict == verdict
    assert unpaired("x", Tally(200, 150), Tally(200, 198), -0.1, 0.02, plan=True).needed is None
    assert unpaired("x", NOTHING, Tally(10, 10), -0.02, 0.02, plan=True).needed is None
    assert against("x", Tally(100, 91), 0.9, -0.02, 0.02, plan=True).needed is not None
    assert against("x", Tally(60, 50), 0.9, -0.02, 0.02, plan=True).needed is None
