"""The sandbox's pace."""

from __future__ import annotations

from statistics import median

import pytest

from gateway.sandbox.latency import pace


def test_without_jitter_the_pace_is_as_stated() -> None:
    """180 ms and 4 ms per token: the third token is due at 188 ms."""
    assert pace(180, 4, 0, 1, 7).due(2) == pytest.approx(0.188)


def test_jitter_keeps_the_median_and_repeats_with_the_seed() -> None:
    """Log-normal around the stated median; the same request number gets the same pace."""
    firsts = [pace(180, 4, 0.3, 1, n).first for n in range(2000)]
    assert median(firsts) == pytest.approx(0.180, rel=0.05)
    assert min(firsts) < 0.12 < 0.26 < max(firsts)
    assert pace(180, 4, 0.3, 1, 5) == pace(180, 4, 0.3, 1, 5) != pace(180, 4, 0.3, 2, 5)
