"""The order in which examples are trained on: by seed and epoch, batches of similar length.

Public: `order(lengths, batch_size, seed, epoch) -> list[int]`. Pure, so a resumed run sees the same order as an uninterrupted one, which the samplers of
transformers that draw from torch's global generator do not promise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

POOL = 50  # batches sorted together: large enough for little padding, small enough that a batch's company changes every epoch (transformers uses 50 too)


def order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[int]:
    """A permutation of the examples' indices. Cut into runs of `batch_size`, each run holds examples of similar length; runs come in random order.

    The one short batch, if any, comes last: anywhere else it would shift the cut of every later one.
    """
    rng = random.Random(f"{seed}:{epoch}")  # noqa: S311 - a reproducible order, not a secret
    indices = list(range(len(lengths)))
    rng.shuffle(indices)
    pool = POOL * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(indices), pool):
        chunk = sorted(indices[start : start + pool], key=lambda i: lengths[i])
        batches += [chunk[at : at + batch_size] for at in range(0, len(chunk), batch_size)]
    short = [batch for batch in batches if len(batch) < batch_size]
    full = [batch for batch in batches if len(batch) == batch_size]
    rng.shuffle(full)
    return [i for batch in (*full, *short) for i in batch]
