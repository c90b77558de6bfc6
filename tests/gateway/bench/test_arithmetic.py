"""Quantiles and slopes."""

from __future__ import annotations

import math

import pytest

from gateway.bench.arithmetic import quantile, slope


@pytest.mark.parametrize(("values", "share", "found"), [([3.0, 1.0, 2.0], 0.5, 2.0), ([0.0, 10.0], 0.9, 9.0), ([4.0], 0.99, 4.0), ([1.0, 2.0], 1.0, 2.0)])
def test_quantile(values: list[float], share: float, found: float) -> None:
    """Between neighbours in proportion."""
    assert quantile(values, share) == pytest.approx(found)


def test_nothing_has_no_quantile() -> None:
    """And it is not zero."""
    assert math.isnan(quantile([], 0.5))


def test_slope() -> None:
    """Of a line it is the line's; of one point or none it is flat."""
    assert slope([(float(x), 3.0 * x + 1.0) for x in range(5)]) == pytest.approx(3.0)
    assert slope([(1.0, 5.0)]) == 0.0
    assert slope([]) == 0.0
