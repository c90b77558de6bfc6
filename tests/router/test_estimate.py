"""router.estimate: learn, forget, never overrule a change."""

from __future__ import annotations

from math import exp, isfinite
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.estimate import Line, LogSpread, Mean, TokenRatio


def test_a_mean_starts_with_the_first_observation() -> None:
    """No invented prior: None, then what was seen, then the average."""
    mean = Mean()
    assert mean.value is None
    assert mean.observe(10.0, 0.0).value == 10.0
    assert mean.observe(10.0, 0.0).observe(20.0, 0.0).value == pytest.approx(15.0)


def test_a_mean_forgets_by_half_life() -> None:
    """After one half-life an old observation weighs half a new one."""
    mean = Mean(half_life_s=60.0).observe(0.0, 0.0).observe(30.0, 60.0)
    assert mean.value == pytest.approx(20.0)


def test_heavy_traffic_does_not_freeze_a_mean() -> None:
    """Ten thousand old observations in one second do not outvote three hundred new ones."""
    mean = Mean()
    for _ in range(10_000):
        mean = mean.observe(100.0, 1.0)
    for _ in range(300):
        mean = mean.observe(300.0, 2.0)
    assert mean.value is not None
    assert mean.value > 280.0


@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.floats(0, 1e9)), min_size=1))
def test_a_mean_stays_among_what_it_saw(seen: list[tuple[float, float]]) -> None:
    """Never outside the observations, in any order of instants, clocks stepping back included."""
    mean = Mean()
    for x, now in seen:
        mean = mean.observe(x, now)
    assert mean.value is not None
    low, high = min(x for x, _ in seen), max(x for x, _ in seen)
    assert low * (1 - 1e-9) <= mean.value <= high * (1 + 1e-9)
    assert 1.0 <= mean.weight <= mean.limit


def test_a_spread_moves_from_its_prior_to_the_truth() -> None:
    """A few observations hardly move sigma; hundreds find it."""
    random, spread = Random(1), LogSpread()
    assert spread.sigma == pytest.approx(0.5)
    for i in range(400):
        spread = spread.observe(exp(random.gauss(0.0, 0.2)), float(i))
        if i == 1:
            assert 0.35 < spread.sigma < 0.55
    assert spread.sigma == pytest.approx(0.2, abs=0.05)
    assert spread.observe(0.0, 500.0) is spread


def test_a_spread_is_never_nothing() -> None:
    """Perfect predictions do not make the next one certain."""
    spread = LogSpread()
    for i in range(1000):
        spread = spread.observe(1.0, float(i))
    assert spread.sigma >= 0.05


def test_a_ratio_is_learnt_from_tokens_not_from_requests() -> None:
    """A long prompt teaches more than a short one, and the prior fades."""
    ratio = TokenRatio()
    assert ratio.bytes_per_token == 4.0
    ratio = ratio.observe(30_000, 10_000, 1.0)
    assert ratio.bytes_per_token == pytest.approx(3.0, abs=0.05)
    assert ratio.observe(0, 5, 2.0) is ratio
    assert ratio.observe(5, 0, 2.0) is ratio


def test_a_ratio_follows_a_change_of_text() -> None:
    """Even after millions of tokens it turns within as many as its limit."""
    ratio = TokenRatio()
    for i in range(3_000):
        ratio = ratio.observe(4_000, 1_000, 1.0 + i * 0.01)
    for i in range(3_000):
        ratio = ratio.observe(2_000, 1_000, 31.0 + i * 0.01)
    assert ratio.bytes_per_token == pytest.approx(2.0, abs=0.2)


def test_a_line_goes_through_what_was_seen() -> None:
    """Slope and means of least squares; no slope before there are enough pairs, where x never changes, or where y falls."""
    line = Line()
    for i in range(7):
        line = line.observe(float(i), 10.0 + 2.0 * i, 0.0)
    assert (line.slope, line.x, line.y) == (0.0, pytest.approx(3.0), pytest.approx(16.0))
    line = line.observe(7.0, 24.0, 0.0)
    assert line.slope == pytest.approx(2.0)
    assert line.value(100.0) == pytest.approx(210.0)
    same, falling = Line(), Line()
    for i in range(50):
        same, falling = same.observe(5.0, float(i), 0.0), falling.observe(float(i), -float(i), 0.0)
    assert (same.slope, falling.slope) == (0.0, 0.0)


def test_a_line_forgets() -> None:
    """After as many pairs as its limit, or some half-lives, a new slope is followed."""
    line = Line()
    for i in range(500):
        line = line.observe(float(i % 10), 3.0 * (i % 10), 0.0)
    for i in range(800):
        line = line.observe(float(i % 10), 7.0 * (i % 10), 0.0)
    assert line.slope == pytest.approx(7.0, abs=0.2)
    for i in range(20):
        line = line.observe(float(i % 10), 1.0 * (i % 10), 6000.0)
    assert line.slope == pytest.approx(1.0, abs=0.3)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e4)), max_size=40))
def test_a_line_is_always_a_number(pairs: list[tuple[float, float, float]]) -> None:
    """Whatever comes, in whatever order of time."""
    line = Line()
    for x, y, now in pairs:
        line = line.observe(x, y, now)
    assert line.slope >= 0.0
    assert line.weight <= line.limit
    assert isfinite(line.value(1e5))


def test_old_evidence_weighs_less() -> None:
    """Half after a half-life."""
    mean = Mean()
    for _ in range(10):
        mean = mean.observe(1.0, 0.0)
    assert mean.rests_on(0.0) == pytest.approx(10.0)
    assert mean.rests_on(600.0) == pytest.approx(5.0)
