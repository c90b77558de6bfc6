"""Take personal data out of text before it is written: e-mail addresses, telephone numbers, payment cards.

Here: patterns and the walk over a JSON value. Not here: which route redacts what (config), and where text is kept (captures.py).
Patterns err towards removing; a card number must pass the Luhn check, so that order numbers survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

# The local part is bounded (RFC 5321 says 64) and cannot start inside a longer word: otherwise a long text without @ costs quadratic time.
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.)+[A-Za-z]{2,24}")
_CARD = re.compile(r"(?<![\dA-Za-z])\d(?:[ -]?\d){12,18}(?![\dA-Za-z])")
# International with + or 00, or national with separators; bare digit runs are order numbers far more often than telephone numbers.
_PHONE = re.compile(
    r"(?<![\w+])(?:(?:\+\d{1,3}[ .\-/]?|00\d{1,3}[ .\-/])(?:\(\d{1,4}\)[ .\-/]?)?\d(?:[ .\-/]?\d){5,12}"
    r"|\(\d{2,5}\)[ .\-/]?\d{3,4}[ .\-/]?\d{3,5}"
    r"|\d{3}[ .\-]\d{3}[ .\-]\d{4}"
    r"|0\d{2,4}[ /\-]\d{3,4}[ \-]?\d{3,5})(?!\w)"
)


def luhn(digits: str) -> bool:
    """Whether a string of digits has a valid check digit."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match.group())
    return "[card]" if luhn(digits) else match.group()


# Cards before telephones: a card in groups of four would otherwise be taken for a telephone number.
_STEPS: dict[str, Callable[[str], str]] = {
    "email": lambda text: _EMAIL.sub("[email]", text) if "@" in text else text,
    "card": lambda text: _CARD.sub(_card, text),
    "phone": lambda text: _PHONE.sub("[phone]", text),
}
KINDS = frozenset(_STEPS)


def text(value: str, kinds: Collection[str]) -> str:
    """`value` with each of `kinds` (email, phone, card) replaced by its name in brackets."""
    for kind, step in _STEPS.items():
        if kind in kinds:
            value = step(value)
    return value


def body(value: Any, kinds: Collection[str]) -> Any:
    """A copy of a JSON value with every string in it redacted, keys of objects included."""
    if isinstance(value, str):
        return text(value, kinds)
    if isinstance(value, Mapping):
        return {text(str(key), kinds): body(item, kinds) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [body(item, kinds) for item in value]
    return value
