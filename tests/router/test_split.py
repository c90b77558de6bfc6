"""router.split: stable, even, nested shares."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from router.split import bucket, mix


@given(st.integers(-(2**70), 2**70), st.text(max_size=80))
def test_a_bucket_is_a_stable_percentage(conversation: int, salt: str) -> None:
    """Any conversation and salt give one number in [0, 100), twice the same."""
    assert 0.0 <= bucket(conversation, salt) < 100.0
    assert bucket(conversation, salt) == bucket(conversation, salt)


def test_shares_are_as_large_as_they_say() -> None:
    """Over 20,000 conversations, ten per cent is ten per cent, and another salt picks others."""
    first = {c for c in range(20_000) if bucket(c, "local/t@4") < 10.0}
    second = {c for c in range(20_000) if bucket(c, "local/t@5") < 10.0}
    assert 1_850 <= len(first) <= 2_150
    assert len(first & second) < 300


def test_neighbouring_seeds_give_unrelated_coins() -> None:
    """Seeds 0, 1, 2 … toss a fair coin without a pattern of period two."""
    coins = [mix(seed) & 1 for seed in range(4000)]
    assert 1_850 <= sum(coins) <= 2_150
    assert 850 <= sum(a and b for a, b in pairwise(coins)) <= 1_150
