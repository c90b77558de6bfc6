"""A provider's `x-ratelimit-*` headers, read: how many requests and tokens it will still take, and until when that holds. Pure.

Providers agree on the names and on little else: a reset may be a duration (`1s`, `6m0s`, `120ms`, `0.25`), an epoch in seconds or milliseconds, or a date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite

from router.headroom import Headroom

# Where no reset is said, what is left is believed for a moment only.
_UNSAID_S = 1.0
# And no reset is believed for longer than this: by then it is cheaper to ask than to stay away.
_LONGEST_S = 3600.0
# Numbers from here on are instants, not durations: seconds since 1973, and milliseconds since 1973.
_EPOCH_S, _EPOCH_MS = 1e8, 1e11

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_SECONDS: Mapping[str, float] = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def read(headers: Mapping[str, str], now: float) -> Headroom | None:
    """What the headers (lower-case names) say at `now`; None when they say nothing that can be understood."""
    requests = headers.get("x-ratelimit-remaining-requests") or headers.get("x-ratelimit-remaining")
    tokens = headers.get("x-ratelimit-remaining-tokens")
    if requests is None and tokens is None:
        return None
    requests_left, tokens_left = _count(requests), _count(tokens)
    if requests_left is None and tokens_left is None:
        return None
    return Headroom(
        requests_left,
        _until(headers.get("x-ratelimit-reset-requests") or headers.get("x-ratelimit-reset"), now),
        tokens_left,
        _until(headers.get("x-ratelimit-reset-tokens"), now),
    )


def seconds_until(text: str, now: float) -> float | None:
    """Seconds from `now` to what a reset header means, 0 for the past; None when it cannot be understood."""
    text = text.strip()
    seconds = _number(text)
    if seconds is not None:
        if seconds >= _EPOCH_S:
            seconds = (seconds / 1000.0 if seconds >= _EPOCH_MS else seconds) - now
    elif _DURATION.fullmatch(text):
        seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text))
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return None
        seconds = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() - now
    return max(0.0, seconds)


def _until(text: str | None, now: float) -> float:
    seconds = None if text is None else seconds_until(text, now)
    return now + (_UNSAID_S if seconds is None else min(seconds, _LONGEST_S))


def _count(text: str | None) -> int | None:
    number = None if text is None else _number(text)
    return None if number is None else max(0, int(number))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None
