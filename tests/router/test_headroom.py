"""router.headroom: what is left of a provider's rate limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.headroom import Headroom, expected_tokens, is_short, left
from router.types import Features, Live
from tests.router.worlds import NOW

counts = st.none() | st.integers(0, 10_000)
LIVE = Live("one/m", bytes_per_token=4.0, output_tokens=80.0)
SMALL = Features(prompt_bytes=400)


@given(counts, st.floats(-60, 60), counts, st.floats(-60, 60), st.integers(0, 500), st.integers(0, 50_000))
def test_what_was_sent_since_is_taken_off(requests: int | None, until: float, tokens: int | None, tokens_until: float, sent: int, sent_tokens: int) -> None:
    """Never below nothing; unknown where nothing was said, and from the reset on."""
    found = left(Headroom(requests, NOW + until, tokens, NOW + tokens_until), sent, sent_tokens, NOW)
    for said, ends, since, rest in ((requests, until, sent, found[0]), (tokens, tokens_until, sent_tokens, found[1])):
        if said is None or NOW + ends <= NOW:
            assert rest is None
        else:
            assert rest == max(0, said - since)


@pytest.mark.parametrize(
    ("features", "live", "tokens"),
    [
        (SMALL, LIVE, 180),
        (replace(SMALL, max_tokens=20), LIVE, 120),
        (replace(SMALL, max_tokens=500, n=2), LIVE, 260),
        (replace(SMALL, max_tokens=500), replace(LIVE, output_tokens=None), 600),
        (SMALL, replace(LIVE, output_tokens=None), 100),
    ],
)
def test_expected_tokens(features: Features, live: Live, tokens: int) -> None:
    """The prompt at the learnt ratio, and answers as long as usual, as allowed, or as nothing is known."""
    assert expected_tokens(features, live) == tokens


@pytest.mark.parametrize(
    ("requests", "tokens", "short"),
    [(None, None, False), (1, None, False), (0, None, True), (5, 180, False), (5, 179, True), (None, 0, True), (0, 10_000, True)],
)
def test_a_request_that_the_provider_would_refuse(requests: int | None, tokens: int | None, short: bool) -> None:
    """No request left, or fewer tokens than it is expected to take."""
    assert is_short(SMALL, replace(LIVE, requests_left=requests, tokens_left=tokens)) is short
