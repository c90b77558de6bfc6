"""Histograms of durations against the durations themselves."""

from __future__ import annotations

import math
import random

import pytest

from gateway.store import histogram


def counted(values: list[float]) -> histogram.Counts:
    counts: histogram.Counts = {}
    for value in values:
        index = histogram.bucket(value)
        counts[index] = counts.get(index, 0) + 1
    return counts


def test_percentiles_are_within_the_stated_error() -> None:
    """Over seven decades of durations, each percentile is within 1 % of nearest rank."""
    chance = random.Random(2)
    for _ in range(50):
        values = [10 ** chance.uniform(-2, 5) for _ in range(chance.randrange(1, 400))]
        found = histogram.percentiles(counted(values), (1, 50, 90, 95, 99, 100))
        for p, value in found.items():
            exact = sorted(values)[max(0, math.ceil(p * len(values) / 100) - 1)]
            assert value == pytest.approx(exact, rel=histogram.RELATIVE_ERROR * 1.000001)


def test_parts_add_up_to_the_whole() -> None:
    """Text and back, and two halves merged, are the histogram of all."""
    chance = random.Random(3)
    values = [chance.lognormvariate(5, 2) for _ in range(500)]
    whole: histogram.Counts = {}
    for part in (values[:123], values[123:], []):
        histogram.merge(whole, histogram.to_text(counted(part)))
    assert whole == counted(values)


def test_nothing_and_nonsense() -> None:
    """No durations have no percentiles; zero, negative and not-a-number count as the smallest."""
    assert histogram.percentiles({}, (50,)) == {}
    assert histogram.share_within({}, 10.0) is None
    assert len({histogram.bucket(value) for value in (0.0, -5.0, float("nan"), 1e-3)}) == 1


def test_the_share_inside_an_aim() -> None:
    """Counted by buckets: right for what is more than the error away from the aim."""
    assert histogram.share_within(counted([10.0, 20.0, 30.0, 400.0]), 100.0) == 0.75
