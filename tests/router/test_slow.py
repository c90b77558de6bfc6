"""router.slow: which answers say that something is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.estimate import Mean
from router.slow import FAR, is_slow, usual
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
    """Ten times slower: a dozen answers are called slow although they are learnt from, and in the end that is how it is."""
    known = Mean()
    for i in range(20):
        known = usual(known, 300.0, float(i))
    for i in range(12):
        assert is_slow(NONE, 3_000.0, known.value, whole=False)
        known = usual(known, 3_000.0, 20.0 + i)
    for i in range(600):
        known = usual(known, 3_000.0, 32.0 + i)
    assert not is_slow(NONE, 3_000.0, known.value, whole=False)
    assert (known.value or 0.0) * FAR >= 3_000.0


def test_nothing_usual_yet() -> None:
    """The first observation is what is usual, also after one of nothing (an embedding has no time per token)."""
    assert usual(Mean(), 70.0, 1.0).value == 70.0
    assert usual(usual(Mean(), 0.0, 1.0), 70.0, 1.0).value == 35.0
