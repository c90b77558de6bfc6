"""Near-duplicates among texts: shingles, one-permutation MinHash, and clusters of texts that are almost the same.

Public: `shingles(text) -> frozenset[int]`, `clusters(texts, threshold) -> list[int]`, `jaccard(a, b)`.
Pure and stable: the same texts give the same clusters on every machine. Not here: which text of an example counts (dataset.py).

One-permutation hashing (Li, Owen, Zhang 2012) hashes each shingle once into one of BINS bins and keeps the least of each bin, so a thousand tickets
cost a fraction of a second in plain Python. Candidates found by banding are confirmed with the exact Jaccard similarity.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Sequence

SHINGLE_CHARS = 5
BINS = 64
ROWS = 4  # bins per band: 16 bands find a pair of similarity 0.8 with probability 1 - (1 - 0.8^4)^16 > 0.999
BUCKET_LOOKBACK = 16  # a crowded bucket compares each text with its latest members only; crowds are joined through any of them

_SPACE = re.compile(r"\s+")


def normalised(text: str) -> str:
    """Lower case, single spaces: two texts that differ only there count as the same."""
    return _SPACE.sub(" ", text).strip().casefold()


def shingles(text: str) -> frozenset[int]:
    """The 32-bit hashes of all runs of five characters of the normalised text; of the whole text where it is shorter."""
    data = normalised(text).encode()
    if len(data) <= SHINGLE_CHARS:
        return frozenset({zlib.crc32(data)})
    return frozenset(zlib.crc32(data[i : i + SHINGLE_CHARS]) for i in range(len(data) - SHINGLE_CHARS + 1))


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """Shared share of two sets, 0..1."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0


def clusters(texts: Sequence[str], threshold: float = 0.8) -> list[int]:
    """For each text the index of the first text of its cluster; texts of a cluster are linked by pairs at least `threshold` alike."""
    sets = [shingles(text) for text in texts]
    parent = list(range(len(texts)))
    buckets: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for i, shingle_set in enumerate(sets):
        bins = signature(shingle_set)
        for band in range(0, BINS, ROWS):
            bucket = buckets[band, bins[band : band + ROWS]]
            for j in bucket[-BUCKET_LOOKBACK:]:
                if _root(parent, i) != _root(parent, j) and jaccard(shingle_set, sets[j]) >= threshold:
                    _join(parent, i, j)
            bucket.append(i)
    return [_root(parent, i) for i in range(len(texts))]


def signature(shingle_set: frozenset[int]) -> tuple[int, ...]:
    """BINS minima. An empty bin takes the next filled one to its right, offset by the distance (Shrivastava and Li's densification)."""
    bins = [-1] * BINS
    for value in shingle_set:
        place, rest = value % BINS, value // BINS
        if bins[place] < 0 or rest < bins[place]:
            bins[place] = rest
    filled = list(bins)
    for place in range(BINS):
        step = 0
        while bins[(place + step) % BINS] < 0:
            step += 1
        filled[place] = bins[(place + step) % BINS] + (step << 32)
    return tuple(filled)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _join(parent: list[int], i: int, j: int) -> None:
    a, b = _root(parent, i), _root(parent, j)
    parent[max(a, b)] = min(a, b)
