"""How long answers took, counted in histograms: from the rows themselves and from the roll-ups. Reads only.

Only answers that succeeded count; a failure's duration says nothing of speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from gateway.store import histogram
from gateway.store.histogram import Counts
from gateway.store.period import Period
from gateway.store.rollup_tables import rollup_latencies
from gateway.store.spans import Span
from gateway.store.tables import exchanges
from router.types import Outcome

Key = tuple[Any, ...]
# From the columns of a row to the group it is counted in.
Grouping = Callable[[Key], Key]


@dataclass(frozen=True, slots=True)
class Durations:
    """Times to first token, total times and the gateway's own share of them."""

    ttft: Counts = field(default_factory=dict)
    total: Counts = field(default_factory=dict)
    overhead: Counts = field(default_factory=dict)

    @property
    def counts(self) -> tuple[Counts, Counts, Counts]:
        """The three, in the order of the columns."""
        return self.ttft, self.total, self.overhead


def of_rows(conn: Connection, period: Period, columns: Sequence[str], group: Grouping, into: dict[Key, Durations] | None = None) -> Mapping[Key, Durations]:
    """Count the rows of a period by what `group` makes of `columns` of `exchanges`."""
    e, found = exchanges.c, {} if into is None else into
    wide = len(columns)
    query = select(*(e[name] for name in columns), e.ttft_ms, e.total_ms, e.overhead_ms).where(*period.times(e.time), e.outcome == Outcome.OK.value)
    groups: dict[Key, Durations] = {}
    bucket = histogram.bucket
    for row in conn.execute(query.where(e.total_ms.is_not(None))):
        key = tuple(row[:wide])
        kept = groups.get(key)
        if kept is None:
            kept = groups[key] = found.setdefault(group(key), Durations())
        for counts, ms in zip(kept.counts, row[wide:], strict=True):
            if ms is not None:
                index = bucket(ms)
                counts[index] = counts.get(index, 0) + 1
    return found


def of_rollups(
    conn: Connection, step: int, span: Span, columns: Sequence[str], group: Grouping, into: dict[Key, Durations] | None = None
) -> Mapping[Key, Durations]:
    """Add up the roll-ups of `step` minutes in a range, by what `group` makes of their `columns`."""
    r, found = rollup_latencies.c, {} if into is None else into
    wide = len(columns)
    query = select(*(r[name] for name in columns), r.ttft, r.total, r.overhead).where(r.step == step, r.start >= span[0], r.start < span[1])
    for row in conn.execute(query):
        kept = found.setdefault(group(tuple(row[:wide])), Durations())
        for counts, text in zip(kept.counts, row[wide:], strict=True):
            histogram.merge(counts, text)
    return found
