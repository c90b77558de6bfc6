"""Rate limits and their headers."""

from __future__ import annotations

import pytest

from gateway.sandbox.quota import Quota


def test_limits_are_enforced_where_set_and_refill() -> None:
    """Two requests a minute: the third must wait half a minute, and then goes."""
    quota = Quota(requests=2, tokens=None, now=0)
    assert quota.take(1, 0) is None
    assert quota.take(1, 0) is None
    assert quota.take(1, 0) == ("requests", 2, 30)
    assert quota.take(1, 30) is None


def test_tokens_are_limited_too() -> None:
    """A request larger than what is left is refused; one larger than the whole limit passes only a full bucket."""
    quota = Quota(requests=None, tokens=100, now=0)
    assert quota.take(60, 0) is None
    assert quota.take(60, 0) == ("tokens", 100, pytest.approx(12))
    assert quota.take(500, 60) is None


def test_without_limits_nothing_is_refused_and_headers_are_shown() -> None:
    """OpenAI's six headers with durations in its writing."""
    quota = Quota(None, None, 0)
    for _ in range(40_000):
        assert quota.take(1, 0) is None
    headers = dict(quota.headers(0))
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "1m0s"
    assert dict(quota.headers(30))["x-ratelimit-reset-requests"] == "30s"
    assert dict(quota.headers(59.5))["x-ratelimit-reset-requests"] == "500ms"
    assert len(headers) == 6


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    """The level never falls by itself."""
    quota = Quota(requests=1, tokens=None, now=10)
    assert quota.take(1, 9) is None
