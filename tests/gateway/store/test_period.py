"""Spans of time as people write them."""

from __future__ import annotations

import pytest

from gateway.store.period import Period, parse, rfc3339
from router.errors import RequestError


@pytest.mark.parametrize(
    ("since", "until", "period"),
    [
        (None, None, Period()),
        ("1970-01-02", None, Period(86_400.0)),
        ("1970-01-02", "1970-01-02", Period(86_400.0, 172_800.0)),
        ("1970-01-01T00:01:00Z", "1970-01-01T01:00:00+00:30", Period(60.0, 1800.0)),
    ],
)
def test_dates_and_instants_are_understood(since: str | None, until: str | None, period: Period) -> None:
    """A date is a UTC day, and as `until` it is included; instants have a zone."""
    assert parse(since, until) == period


@pytest.mark.parametrize(
    ("since", "until", "param"),
    [
        ("yesterday", None, "since"),
        ("2026-13-01", None, "since"),
        (None, "2026-11-23T14:00:00", "until"),
        ("2026-11-24", "2026-11-23", "since"),
        (None, "9999-12-31", "until"),
    ],
)
def test_what_is_no_time_is_refused_by_name(since: str | None, until: str | None, param: str) -> None:
    """The refusal names the parameter and shows how to write it."""
    with pytest.raises(RequestError, match=f"`{param}`") as caught:
        parse(since, until)
    assert caught.value.param == param


def test_instants_are_shown_in_utc() -> None:
    """RFC 3339 with milliseconds, cut and not rounded up."""
    assert rfc3339(1795442400.1239) == "2026-11-23T14:00:00.123Z"
