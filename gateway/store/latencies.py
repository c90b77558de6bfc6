"""Latency percentiles of the answers that succeeded, by route, backend, adapter and time, from histograms. Reads only.

Nearest rank over histogram buckets: within 1 % of the duration that was really seen (histogram.RELATIVE_ERROR).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from gateway.store import durations, groups
from gateway.store.coverage import cover
from gateway.store.durations import Durations, Key
from gateway.store.groups import Groups
from gateway.store.period import Period

# Histograms are not kept by key and tag.
GROUPS = tuple(name for name in groups.NAMES if name not in {"key", "tag"})


def by(conn: Connection, group_by: Sequence[str], period: Period) -> list[tuple[dict[str, Any], Durations]]:
    """Each group's values and how long its answers took, sorted. Raises RequestError for a group that does not exist."""
    wanted = groups.checked(group_by, GROUPS)
    found = collect(conn, wanted, period)
    return [(wanted.shown(key), found[key]) for key in sorted(found, key=groups.order)]


def collect(conn: Connection, wanted: Groups, period: Period) -> dict[Key, Durations]:
    """The durations of each group that has answers in the period."""
    found: dict[Key, Durations] = {}
    timed, key = wanted.minutes is not None, wanted.key()
    minutes = wanted.minutes or 1

    def group(values: Key) -> Key:
        # The last value is the minute, where it is asked for.
        return key((*values[:-1], values[-1] // minutes) if timed else values)

    parts = cover(conn, period, wanted.coarsest)
    for step, spans in parts.units.items():
        for span in spans:
            durations.of_rollups(conn, step, span, [*wanted.columns, "start"] if timed else wanted.columns, group, found)
    for part in parts.rows:
        durations.of_rows(conn, part, [*wanted.columns, "minute"] if timed else wanted.columns, group, found)
    return found
