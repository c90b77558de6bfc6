"""router.quantile: a learnt percentile."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.quantile import Quantile


def learnt(xs: list[float], quantile: Quantile | None = None) -> Quantile:
    quantile = quantile or Quantile()
    for x in xs:
        quantile = quantile.observe(x)
    return quantile


@pytest.mark.parametrize("scale", [0.01, 1.0, 5_000.0])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0])
def test_it_comes_to_rest_where_it_should(scale: float, sigma: float) -> None:
    """Of log-normal latencies of any scale about 95 of 100 lie below it."""
    random = Random(7)
    quantile, below = learnt([scale * random.lognormvariate(0, sigma) for _ in range(500)]), 0
    for _ in range(4_000):
        x = scale * random.lognormvariate(0, sigma)
        below += x <= (quantile.value or 0.0)
        quantile = quantile.observe(x)
    assert 0.93 <= below / 4_000 <= 0.97


def test_it_follows_a_change() -> None:
    """A backend that becomes four times slower, or faster, is known for that within some dozens, or hundreds, of answers."""
    random = Random(3)
    quick = [random.lognormvariate(0, 0.3) for _ in range(1_000)]
    slower = learnt([4.0 * x for x in quick[:40]], learnt(quick))
    assert 4.0 <= (slower.value or 0.0) <= 14.0
    faster = learnt(quick, learnt([4.0 * x for x in quick]))
    assert (faster.value or 0.0) < 3.0


def test_it_starts_with_what_it_sees() -> None:
    """The first observation is all that is known; what is not positive says nothing."""
    assert Quantile().observe(0.0) == Quantile()
    assert Quantile().observe(12.0) == Quantile(12.0, 1)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=200))
def test_it_stays_a_number(xs: list[float]) -> None:
    """Positive and finite, and it counts."""
    quantile = learnt(xs)
    assert quantile.seen == len(xs)
    assert 0.0 < (quantile.value or 0.0) < float("inf")
