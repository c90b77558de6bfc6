"""Sets of minutes, against plain sets."""

from __future__ import annotations

import random

from gateway.store import spans


def minutes(of: spans.Spans) -> set[int]:
    return {minute for first, end in of for minute in range(first, end)}


def test_arithmetic_is_that_of_sets() -> None:
    """On random sets: union of units, difference, cut, whole units inside; ranges stay sorted and apart."""
    chance = random.Random(1)
    for _ in range(200):
        one = spans.of_units(chance.sample(range(0, 60, 3), chance.randrange(12)), 3)
        other = spans.of_units(chance.sample(range(60), chance.randrange(20)), 1)
        left = spans.without(one, other)
        assert minutes(left) == minutes(one) - minutes(other)
        assert all(first < end for first, end in left)
        assert minutes(spans.inside(one, 10, 40)) == minutes(one) & set(range(10, 40))
        whole = spans.aligned(left, 5)
        units = [set(range(start, start + 5)) for start in range(0, 60, 5)]
        assert all(first % 5 == end % 5 == 0 for first, end in whole)
        # A unit that two touching ranges share is in neither of them.
        assert minutes(whole) == {minute for unit in units if any(unit <= set(range(*span)) for span in left) for minute in unit}


def test_joined_holds_all_in_few() -> None:
    """More ranges than there may be become one from there on."""
    assert spans.joined([(0, 1), (2, 3)], 2) == [(0, 1), (2, 3)]
    assert spans.joined([(0, 1), (2, 3), (4, 5), (8, 9)], 2) == [(0, 1), (2, 9)]
