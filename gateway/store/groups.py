"""What reports can be grouped by: names to columns of rows and of roll-ups, and back to what a reader sees. No sums here.

`adapter` is `name@version`, null for what no adapter answered. `month`, `week` (ISO's, `2026-W48`, from Monday) and
`day` are dates, the finer steps instants, all in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Any

from router.errors import RequestError

NAMES = ("route", "backend", "key", "tag", "adapter", "month", "week", "day", "hour", "quarter_hour", "minute")
_MINUTES = {"month": 1440, "week": 1440, "day": 1440, "hour": 60, "quarter_hour": 15, "minute": 1}
_COLUMNS = {"route": ("route",), "backend": ("backend",), "key": ("key_id",), "tag": ("tag",), "adapter": ("backend", "adapter_version")}


@dataclass(frozen=True, slots=True)
class Groups:
    """Checked groups: the `columns` to select, beside the time in steps of `minutes` (None: not by time)."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    minutes: int | None

    @property
    def coarsest(self) -> int:
        """Minutes of the longest roll-up that serves these groups."""
        if self.minutes is None or self.minutes >= 1440:
            return 1440
        return 60 if self.minutes >= 60 else 1

    def key(self) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """From selected values (the columns, then the number of the time step) to the group's values as they sort."""
        parts = [_part(name, self.columns) for name in self.names]
        return lambda values: tuple([part(values) for part in parts])

    def shown(self, key: Sequence[Any]) -> dict[str, Any]:
        """A group's values as they go out."""
        return {name: _shown(name, value) for name, value in zip(self.names, key, strict=True)}


def checked(group_by: Sequence[str], allowed: Sequence[str] = NAMES) -> Groups:
    """Groups by their names. Raises RequestError for one that is not `allowed`, and for more than one step of time."""
    names = tuple(dict.fromkeys(group_by))
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise RequestError(f"`group_by` has {', '.join(unknown)}; it takes {', '.join(allowed)}, separated by commas", param="group_by")
    steps = [name for name in names if name in _MINUTES]
    if len(steps) > 1:
        raise RequestError(f"`group_by` takes one of {', '.join(_MINUTES)}", param="group_by")
    columns = tuple(dict.fromkeys(column for name in names for column in _COLUMNS.get(name, ())))
    return Groups(names, columns, _MINUTES[steps[0]] if steps else None)


def order(key: Sequence[Any]) -> tuple[tuple[bool, Any], ...]:
    """What groups are sorted by: null first."""
    return tuple((value is not None, value if value is not None else 0) for value in key)


def _part(name: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    if name in _MINUTES:
        at, first = len(columns), _FIRST_DAYS.get(name)
        return itemgetter(at) if first is None else lambda values: first(values[at])
    if name == "adapter":
        backend, version = columns.index("backend"), columns.index("adapter_version")
        return lambda values: None if values[version] is None or values[backend] is None else str(values[backend]).split("/", 1)[-1]
    return itemgetter(columns.index(_COLUMNS[name][0]))


def _month(day: int) -> int:
    """The day number of the first of its month."""
    first = date.fromordinal(_EPOCH + day).replace(day=1)
    return first.toordinal() - _EPOCH


def _week(day: int) -> int:
    """The day number of the Monday of its week; the epoch was a Thursday."""
    return day - (day + 3) % 7


def _shown(name: str, value: Any) -> Any:
    if name not in _MINUTES:
        return value
    moment = datetime.fromtimestamp(value * _MINUTES[name] * 60, UTC)
    if name == "month":
        return f"{moment:%Y-%m}"
    if name == "week":
        return f"{moment:%G-W%V}"
    return moment.date().isoformat() if name == "day" else moment.isoformat().replace("+00:00", "Z")


_EPOCH = date(1970, 1, 1).toordinal()
# From the number of a day to that of the first day of the step it belongs to.
_FIRST_DAYS: Mapping[str, Callable[[int], int]] = {"month": _month, "week": _week}
