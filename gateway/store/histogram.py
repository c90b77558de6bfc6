"""Histograms of durations that can be added up: percentiles do not add, counts per bucket do. Pure; nothing here knows of tables.

Bucket i holds the durations in (g^(i-1), g^i] milliseconds with g = 1.01/0.99; what is given back for it is within 1 % of every duration in it, so a
percentile is within 1 % of the value that nearest rank over all single durations would give (the idea is DDSketch's). Less than a microsecond counts as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import orjson

RELATIVE_ERROR = 0.01
Counts = dict[int, int]

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_BUCKET = 1 / math.log(_GROWTH)
_SMALLEST_MS = 1e-3


def bucket(ms: float) -> int:
    """Which bucket a duration in milliseconds belongs to."""
    return math.ceil(math.log(max(_SMALLEST_MS, ms)) * _PER_BUCKET)


def middle(index: int) -> float:
    """The duration that stands for a bucket, in milliseconds."""
    return 2 * _GROWTH**index / (_GROWTH + 1)


def to_text(counts: Counts) -> str:
    """A flat JSON array: bucket, count, bucket, count … without empty buckets."""
    return orjson.dumps([part for pair in sorted(counts.items()) for part in pair]).decode()


def merge(counts: Counts, text: str) -> None:
    """Add the counts that `to_text` wrote."""
    flat: list[int] = orjson.loads(text)
    pairs = iter(flat)
    for index, count in zip(pairs, pairs, strict=True):
        counts[index] = counts.get(index, 0) + count


def percentiles(counts: Counts, of: Sequence[int]) -> dict[int, float]:
    """Nearest rank: the rank of percentile p of n durations is ceil(p·n / 100). Empty where nothing was counted."""
    total = sum(counts.values())
    if not total:
        return {}
    ranks = {p: max(1, -(-p * total // 100)) for p in of}
    found: dict[int, float] = {}
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        for p, rank in ranks.items():
            if p not in found and rank <= seen:
                found[p] = middle(index)
    return {p: found[p] for p in of}


def share_within(counts: Counts, limit_ms: float) -> float | None:
    """Which share of the durations is at most `limit_ms` (of those within 1 % of it, by the middle of their bucket); None where nothing was counted."""
    total = sum(counts.values())
    return sum(count for index, count in counts.items() if middle(index) <= limit_ms) / total if total else None
