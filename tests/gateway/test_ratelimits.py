"""Rate limit headers, in every form that providers send them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ratelimits import read, seconds_until
from router.headroom import Headroom

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("8.64s", 8.64),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400.0),
        ("1m30s250ms", 90.25),
        ("250µs", 0.00025),
        ("0s", 0.0),
        ("0", 0.0),
        ("12", 12.0),
        (" 0.25 ", 0.25),
        ("-3", 0.0),
        (str(int(NOW) + 30), 30.0),
        (f"{NOW + 1.5}", 1.5),
        (str((int(NOW) + 30) * 1000), 30.0),
        (str(int(NOW) - 30), 0.0),
        ("2027-01-15T08:00:30Z", 30.0),
        ("2027-01-15T09:00:30+01:00", 30.0),
        ("2027-01-15T08:00:30", 30.0),
        ("2027-01-15T07:00:00Z", 0.0),
        ("", None),
        ("soon", None),
        ("6m 0s", None),
        ("1.5.2s", None),
        ("nan", None),
        ("inf", None),
        ("2026-13-45T00:00:00Z", None),
    ],
)
def test_resets(text: str, seconds: float | None) -> None:
    """A duration, an instant, or nothing that can be understood."""
    found = seconds_until(text, NOW)
    assert found is None if seconds is None else found == pytest.approx(seconds, abs=1e-5)


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int, millis: int) -> None:
    """Every combination of units is their sum."""
    parts = [f"{amount}{unit}" for amount, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"), (millis, "ms")) if amount]
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds + millis / 1000
    assert seconds_until("".join(parts) or "0s", NOW) == pytest.approx(whole)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_nothing_a_provider_sends_breaks_it(requests: str, reset: str, tokens: str, token_reset: str) -> None:
    """Whatever it says: counts are not negative, and nothing is believed for longer than an hour."""
    headers = {
        "x-ratelimit-remaining-requests": requests,
        "x-ratelimit-reset-requests": reset,
        "x-ratelimit-remaining-tokens": tokens,
        "x-ratelimit-reset-tokens": token_reset,
    }
    said = read(headers, NOW)
    if said is not None:
        assert (said.requests or 0) >= 0
        assert (said.tokens or 0) >= 0
        assert NOW <= said.requests_until <= NOW + 3600.0
        assert NOW <= said.tokens_until <= NOW + 3600.0


def test_what_openai_says() -> None:
    """Both limits with their own resets."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read(headers, NOW) == Headroom(59, NOW + 1.0, 149_984, NOW + 360.0)


def test_what_others_say() -> None:
    """Only one of the two, names without a suffix, no reset (believed for a moment), a reset of days (believed for an hour), or nothing."""
    assert read({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str((int(NOW) + 5) * 1000)}, NOW) == Headroom(0, NOW + 5.0, None, NOW + 1.0)
    assert read({"x-ratelimit-remaining-tokens": "10.0"}, NOW) == Headroom(None, NOW + 1.0, 10, NOW + 1.0)
    assert read({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "3d"}, NOW) == Headroom(0, NOW + 3600.0, None, NOW + 1.0)
    assert read({"x-ratelimit-remaining-requests": "many"}, NOW) is None
    assert read({"content-type": "application/json"}, NOW) is None
