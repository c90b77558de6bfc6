"""Which part of a dataset an example belongs to: by the hash of its content, with near-duplicates kept together.

Public: `assign(digests, cluster_of, shares) -> list[str]`, `PARTS`, `SHARES`, `part_of`.
Pure: the same example falls into the same part whatever stands around it, unless a near-duplicate pulls it towards `train`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PARTS = ("train", "validation", "test")
SHARES: Mapping[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}


def part_of(digest: str, shares: Mapping[str, float] = SHARES) -> str:
    """The part of a sha256 hex digest by itself: its first 52 bits as a number in [0, 1) against the cumulated shares."""
    place, edge = int(digest[:13], 16) / 16**13, 0.0
    for part in PARTS:
        edge += shares.get(part, 0.0)
        if place < edge:
            return part
    return PARTS[0]


def assign(digests: Sequence[str], cluster_of: Sequence[int], shares: Mapping[str, float] = SHARES) -> list[str]:
    """One part per example. A cluster of near-duplicates goes whole to the earliest of `PARTS` that any of it fell into, so none leaks."""
    own = [part_of(digest, shares) for digest in digests]
    earliest: dict[int, str] = {}
    for part, cluster in zip(own, cluster_of, strict=True):
        earliest[cluster] = min(part, earliest.get(cluster, part), key=PARTS.index)
    return [earliest[cluster] for cluster in cluster_of]
