"""router.utilisation: what a token costs on one's own GPU."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.types import Price
from router.utilisation import Mix, Point, Saturation, break_even, cost_per_million, hosted_per_million, saturation

HOUR = 2_500_000_000  # 2.50 dollars
H100 = Saturation(64, 20_000.0, 4_000.0)
MINI = Price(150_000_000, 600_000_000, 75_000_000)  # 0.15 and 0.60 dollars per million, half for cached input


def test_the_knee_is_the_smallest_batch_that_is_nearly_as_fast_as_the_best() -> None:
    """Batch 16 generates 96 % of what batch 32 does: that is where it is full; prompts count by their best."""
    points = [Point(1, 900.0, 50.0), Point(8, 1000.0, 380.0), Point(16, 950.0, 480.0), Point(32, 940.0, 500.0)]
    at = saturation(points)
    assert at == Saturation(16, 1000.0, 480.0)
    assert at is not None
    assert at.decode_weight == pytest.approx(1000 / 480)


def test_points_without_both_rates_say_nothing() -> None:
    """No division by what was not measured."""
    assert saturation([]) is None
    assert saturation([Point(1, 0.0, 5.0), Point(2, 5.0, 0.0)]) is None


def test_a_million_tokens_by_hand() -> None:
    """800,000 prompt tokens at 20,000/s are 40 s, 200,000 generated at 4,000/s are 50 s: 90 s of 2.50 dollars an hour are 6.25 cents."""
    mix = Mix(0.8)
    assert cost_per_million(HOUR, H100, mix, 1.0) == 62_500_000
    assert cost_per_million(HOUR, H100, mix, 0.1) == 625_000_000
    assert cost_per_million(HOUR, H100, Mix(0.8, 0.5), 1.0) == round(HOUR * 70 / 3600), "a cached prompt token costs no time"


def test_break_even_by_hand() -> None:
    """gpt-4o-mini takes 0.8 x 0.15 + 0.2 x 0.60 = 0.24 dollars for that million: local is cheaper from 26 % use on, and at full use costs 26 % of it."""
    assert hosted_per_million(MINI, Mix(0.8)) == 240_000_000
    assert break_even(HOUR, H100, Mix(0.8), MINI) == pytest.approx(0.0625 / 0.24)
    assert hosted_per_million(MINI, Mix(0.8, 0.5)) == 210_000_000
    slow = Saturation(8, 900.0, 300.0)
    never = break_even(HOUR, slow, Mix(0.8), MINI)
    assert never is not None
    assert never > 1.0
    assert break_even(HOUR, H100, Mix(0.8), Price(0, 0)) is None


@pytest.mark.parametrize("use", [0.0, -0.1, 1.01, float("nan")])
def test_a_utilisation_that_cannot_be_is_refused(use: float) -> None:
    """Nothing costs infinitely much, and no engine does more than it can."""
    with pytest.raises(ValueError, match="utilisation"):
        cost_per_million(HOUR, H100, Mix(0.5), use)


def test_the_mix_of_tokens() -> None:
    """Shares of the whole and of the prompt."""
    assert Mix.of(300, 100, 150) == Mix(0.75, 0.5)
    assert Mix.of(0, 10) == Mix(0.0)


rates = st.floats(1.0, 1e6)


@given(rates, rates, st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**9), st.integers(1, 10**9))
def test_at_break_even_both_cost_the_same(prefill: float, decode: float, prompt: float, use: float, paid_in: int, paid_out: int) -> None:
    """Whatever the engine, the mix and the price: just above the break-even local is cheaper, just below it is dearer."""
    at, mix, price = Saturation(8, prefill, decode), Mix(prompt), Price(paid_in, paid_out)
    even = break_even(HOUR, at, mix, price)
    assert even is not None
    hosted = hosted_per_million(price, mix)
    if 0.0 < (above := even * 1.01) <= 1.0:
        assert cost_per_million(HOUR, at, mix, above) <= hosted + 1
    if 0.0 < (below := even * 0.99) <= 1.0:
        assert cost_per_million(HOUR, at, mix, below) >= hosted - 1
