"""Drift on ticket-like traffic: no alarm over long stationary runs, and how many requests each kind of shift takes until routing there is stopped."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from math import log

import pytest

from gateway.drift.watch import Rules, Watch
from tests.gateway.drift import streams
from tests.proof.dated import note

pytestmark = pytest.mark.proof

RUNS, REQUESTS, LOOSE_RUNS, LOOSE_REQUESTS = 200, 5_000, 40, 4_000
SEEDS = 40
# Kinds of shift, and within how many requests the first level must be reached; those that only notify are marked.
BOUNDS = {"language": 96, "intent": 384, "schema": 1024, "keys": 96, "refusals": 512, "cut": 768, "longer": 96, "slower": 96}
ONLY_NOTIFIED = {"slower"}


def feed(watch: Watch, pool: Sequence[streams.Sample], rng: random.Random, n: int, start: float, over: Callable[[Watch], bool]) -> int:
    """So many requests, forty seconds apart, until `over`: after how many."""
    stream = streams.stream(pool, rng)
    for number in range(1, n + 1):
        sample, time = next(stream), start + 40.0 * number
        watch.incoming(sample, time)
        watch.outgoing(sample, time)
        if over(watch):
            return number
    return n + 1


def alarmed(watch: Watch) -> bool:
    return watch.level != "none"


@pytest.mark.timeout(900)
def test_nothing_is_reported_over_stationary_runs() -> None:
    """200 runs of 5,000 requests each (a million), each with a baseline of its own: none raises a level. A budget ten thousand times larger is kept as well."""
    pool = streams.usual()
    alarms = sum(feed(Watch(Rules(learn_s=0.0)), pool, random.Random(seed), REQUESTS, 0.0, alarmed) <= REQUESTS for seed in range(RUNS))
    # The exact 95 % upper limit where nothing was seen.
    highest = -log(0.05) / RUNS if not alarms else None
    loose = Rules(false_alarms=100.0, min_change=0.0, learn_s=0.0)
    loosely = sum(feed(Watch(loose), pool, random.Random(seed), LOOSE_REQUESTS, 0.0, alarmed) <= LOOSE_REQUESTS for seed in range(LOOSE_RUNS))
    note(
        f"drift, stationary: {RUNS} runs of {REQUESTS} requests: {alarms} false alarms (95 % upper limit per run {highest:.3f}; promised: at most "
        f"{0.01 * REQUESTS / 1e6:.5f}). "
        f"With a budget of 100 per million and no least change: {loosely} of {LOOSE_RUNS} runs of {LOOSE_REQUESTS}; promised: at most "
        f"{LOOSE_RUNS * LOOSE_REQUESTS / 1e4:.0f}.",
    )
    assert alarms == 0
    assert loosely <= LOOSE_RUNS * LOOSE_REQUESTS * 100.0 / 1e6


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", BOUNDS)
def test_a_shift_is_found_in_time(kind: str) -> None:
    """Each of 40 streams with the shift reaches its first level within the stated number of requests, and where it may, stops routing 96 later."""
    usual = Watch(Rules(learn_s=0.0))
    feed(usual, streams.usual(), random.Random(5), 4000, 0.0, lambda _: False)
    pool, began, end = streams.shifted(kind), 160_000.0, "notify" if kind in ONLY_NOTIFIED else "stop"
    first, stopped = [], []
    for seed in range(SEEDS):
        watch, rng = copy.deepcopy(usual), random.Random(1000 + seed)
        found = feed(watch, pool, rng, 4000, began, alarmed)
        first.append(found)
        stopped.append(found if end == "notify" else found + feed(watch, pool, rng, 4000, began + 40.0 * found, lambda w: w.level == "stop"))
    first.sort()
    stopped.sort()
    said = f"first level after {first[SEEDS // 2]} requests in the median, {first[-1]} at most; "
    note(f"drift, {kind}: " + said + ("only told" if end == "notify" else f"routing stopped after {stopped[SEEDS // 2]}, {stopped[-1]} at most"))
    assert first[-1] <= BOUNDS[kind]
