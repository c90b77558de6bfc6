"""A span of time as people write it and as queries use it. Instants are epoch seconds, UTC; text is RFC 3339 or a date."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement

from router.errors import RequestError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` (included) to `until` (not included); None is open."""

    since: float | None = None
    until: float | None = None

    def times(self, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Conditions on a column of epoch seconds."""
        return _between(column, self.since, self.until)

    def minutes(self, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Conditions on a column of whole minutes: those that begin in the period."""
        return _between(column, *(None if edge is None else math.ceil(edge / 60) for edge in (self.since, self.until)))


ALWAYS = Period()


def parse(since: str | None, until: str | None) -> Period:
    """A period from text. A date as `until` includes that day. Raises RequestError naming the parameter to change."""
    period = Period(_instant("since", since, 0), _instant("until", until, 1))
    if period.since is not None and period.until is not None and period.since >= period.until:
        raise RequestError("`since` must be before `until`", param="since")
    return period


def rfc3339(instant: float) -> str:
    """An instant as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instant(name: str, text: str | None, days: int) -> float | None:
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            return (parsed.replace(tzinfo=UTC) + timedelta(days=days)).timestamp()
    except (ValueError, OverflowError) as error:
        raise RequestError(f"`{name}` is not a time; write 2026-11-23 or 2026-11-23T14:00:00Z", param=name) from error
    if parsed.tzinfo is None:
        raise RequestError(f"`{name}` has no time zone; write 2026-11-23T14:00:00Z, or a date alone for the UTC day", param=name)
    return parsed.timestamp()


def _between(column: ColumnElement[Any], since: float | None, until: float | None) -> list[ColumnElement[bool]]:
    low = [] if since is None else [column >= since]
    return low if until is None else [*low, column < until]
