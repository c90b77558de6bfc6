"""Personal data goes, the rest stays."""

from __future__ import annotations

import time

import pytest

from gateway.store import redact

ALL = redact.KINDS


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("mail me at jane.doe+x@mail.example.co.uk, thanks", "mail me at [email], thanks"),
        ("<a@b.de>;c@d.org", "<[email]>;[email]"),
        ("call +49 170 1234567 or (030) 1234-5678", "call [phone] or [phone]"),
        ("US 555-123-4567 and 0044 20 7946 0958.", "US [phone] and [phone]."),
        ("0170 1234567, 030/123 4567", "[phone], [phone]"),
        ("my card 4111 1111 1111 1111 was charged", "my card [card] was charged"),
        ("4111111111111111", "[card]"),
        ("5500-0000-0000-0004", "[card]"),
        ("amex 378282246310005!", "amex [card]!"),
    ],
)
def test_personal_data_is_replaced_by_its_kind(before: str, after: str) -> None:
    """Addresses, numbers and cards in their usual spellings."""
    assert redact.text(before, ALL) == after


@pytest.mark.parametrize(
    "kept",
    [
        "order 4111111111111112",  # one digit off: no card
        "order 20261123000017, parcel 00340434161094",
        "on 2026-11-23 at 14:00:05, 3 of 12",
        "version 1.2.3.4, price 1,299.00, ratio 0.125",
        "user@localhost and @handle",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_numbers_that_are_no_secrets_stay(kept: str) -> None:
    """Order numbers, dates, versions and prices are what models are trained to copy."""
    assert redact.text(kept, ALL) == kept


def test_only_the_kinds_asked_for_go() -> None:
    """A route that redacts e-mail alone keeps telephone numbers."""
    assert redact.text("a@b.de +49 170 1234567", ["email"]) == "[email] +49 170 1234567"
    assert redact.text("a@b.de", []) == "a@b.de"


def test_every_string_of_a_body_is_looked_at() -> None:
    """Nested lists, objects and keys included; other values are as they were."""
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a@b.de"}]}], "a@b.de": True, "n": 1, "x": None, "t": ("c@d.org",)}
    assert redact.body(body, ALL) == {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "[email]"}]}],
        "[email]": True,
        "n": 1,
        "x": None,
        "t": ["[email]"],
    }
    assert "a@b.de" in body


@pytest.mark.parametrize("hostile", ["a" * 200_000, "a." * 100_000 + "@", "1 " * 100_000, "+" * 200_000, "0" * 200_000, "@" * 200_000, "1-" * 100_000])
def test_hostile_text_takes_no_time(hostile: str) -> None:
    """A long text made to confuse the patterns costs well below a second: redaction runs in the worker."""
    start = time.perf_counter()
    redact.text(hostile, ALL)
    assert time.perf_counter() - start < 1.0
