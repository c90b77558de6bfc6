"""router.slow: which answers say that something is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.slow import is_slow, usual
from router.types import Slo

NONE, AIM = Slo(), Slo(ttft_ms=400.0, total_ms=1_500.0)


@pytest.mark.parametrize(
    ("slo", "waited", "known", "whole", "slow"),
    [
        (NONE, 60_000.0, None, False, False),
        (NONE, 1_001.0, 5.0, False, True),
        (NONE, 999.0, 5.0, False, False),
        (NONE, 3_999.0, 1_000.0, False, False),
        (NONE, 4_001.0, 1_000.0, False, True),
        (AIM, 1_601.0, 80.0, False, True),
        (AIM, 1_599.0, 80.0, False, False),
        (AIM, 1_601.0, None, False, True),
        (AIM, 1_601.0, 3_000.0, False, False),
        (AIM, 1_601.0, 80.0, True, False),
        (AIM, 6_001.0, 80.0, True, True),
        (Slo(total_ms=1_500.0), 1_601.0, 80.0, False, False),
        (Slo(ttft_ms=400.0), 1_601.0, 80.0, True, True),
    ],
)
def test_what_is_slow(slo: Slo, waited: float, known: float | None, whole: bool, slow: bool) -> None:
    """Far above the larger of aim and usual; without an aim a delay that nobody notices stands for it; without either there is nothing to say."""
    assert is_slow(slo, waited, known, whole=whole) is slow


@given(st.floats(1.0, 1e5), st.floats(1.0, 1e5), st.floats(1.0, 1e5))
def test_slower_is_never_less_slow(waited: float, more: float, known: float) -> None:
    """It is a threshold."""
    assert is_slow(AIM, waited, known, whole=False) <= is_slow(AIM, waited + more, known, whole=False)


def test_a_brown_out_is_recognised_and_a_new_usual_accepted() -> None:
    """Ten times slower: a dozen answers are called slow although they are learnt from, and after some dozens that is how it is."""
    known: float | None = None
    for seen in range(20):
        known = usual(known, seen, 300.0)
    for seen in range(20, 32):
        assert is_slow(NONE, 3_000.0, known, whole=False)
        known = usual(known, seen, 3_000.0)
    for seen in range(32, 92):
        known = usual(known, seen, 3_000.0)
    assert not is_slow(NONE, 3_000.0, known, whole=False)


@given(st.floats(1.0, 1e5), st.integers(1, 10_000), st.floats(0.0, 1e6))
def test_what_is_usual_moves_towards_what_is_seen(known: float, seen: int, x: float) -> None:
    """Never past it, and by no more than half of what it was."""
    moved = usual(known, seen, x)
    assert min(known, x) - 1e-9 <= moved <= max(known, x) + 1e-9
    assert moved <= known * 1.5 + 1e-9


def test_nothing_usual_yet() -> None:
    """The first observation is what is usual, also after one of nothing (an embedding has no time per token)."""
    assert usual(None, 0, 70.0) == 70.0
    assert usual(0.0, 5, 70.0) == 70.0
