"""Which examples to keep where there are more than are wanted: some as they come, some because nothing like them is there yet.

Public: `pick(examples, limit) -> list[Example]`. Pure: the same examples give the same choice on every machine, in whatever order they come.

Half of the choice is a uniform sample (by content hash), so that what is frequent stays frequent; the other half is farthest-first traversal (the greedy
2-approximation of k-centre, Gonzalez 1985; Sener and Savarese 2018 use it to choose training data), so that what is rare is there at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.chat import Example
from training.duplicates import shingles, signature


def pick(examples: Sequence[Example], limit: int) -> list[Example]:
    """At most `limit` of the examples, in the order they came. Distance is one minus the estimated Jaccard similarity of the questions."""
    if len(examples) <= limit:
        return list(examples)
    by_hash = sorted(range(len(examples)), key=lambda i: examples[i].digest)
    chosen = by_hash[: limit - limit // 2]
    prints = np.array([signature(shingles(example.question)) for example in examples], dtype=np.int64)
    nearest = np.full(len(examples), -1.0)
    for index in chosen:
        nearest = _closer(nearest, prints, index)
    taken = set(chosen)
    for _ in range(limit - len(chosen)):
        far = min((i for i in by_hash if i not in taken), key=lambda i: nearest[i])
        taken.add(far)
        nearest = _closer(nearest, prints, far)
    return [example for i, example in enumerate(examples) if i in taken]


def _closer(nearest: NDArray[np.float64], prints: NDArray[np.int64], index: int) -> NDArray[np.float64]:
    """The similarity of each example to the most similar chosen one, once `index` is chosen too."""
    alike: NDArray[np.float64] = (prints == prints[index]).mean(axis=1)
    return np.maximum(nearest, alike)
