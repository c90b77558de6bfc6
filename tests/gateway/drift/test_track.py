"""Baselines: when they begin, when they are full, what waits, and hours of the week."""

from __future__ import annotations

import random

import pytest

from gateway.drift import features
from gateway.drift.features import COMES_IN, GOES_OUT, SAMPLE, bin_of, summary, value_of
from gateway.drift.sketch import LANGUAGES
from gateway.drift.track import DELAY, FULL, FULL_S, LEAST, Track, fresh, hour_of_week, of_body, seeded, to_body
from gateway.drift.watch import Rules, Watch
from router.drift import BLOCK, SPANS
from tests.gateway.drift import streams

MONDAY = 1795392000.0  # 2026-11-23T00:00:00Z


def fill(one: Track, n: int, start: float, apart_s: float, quiet: bool = True) -> float:
    """So many ordinary requests; the time after them."""
    rng = random.Random(1)
    for number in range(n):
        if one.add(rng.choice(streams.usual()), start + number * apart_s):
            one.learn(quiet)
    return start + n * apart_s


def test_the_first_requests_are_the_baseline_and_later_ones_wait() -> None:
    """256 at once; after that a block waits until eight more have come, and only while nothing is wrong."""
    one = fresh(COMES_IN)
    fill(one, LEAST, 0.0, 1.0)
    assert (one.baseline.n, one.ready, len(one.blocks)) == (LEAST, True, 0)
    end = fill(one, (DELAY + 2) * BLOCK, 256.0, 1.0)
    assert (one.baseline.n, len(one.blocks)) == (LEAST + 2 * BLOCK, DELAY)
    fill(one, 3 * BLOCK, end, 1.0, quiet=False)
    assert (one.baseline.n, len(one.blocks)) == (LEAST + 2 * BLOCK, DELAY + 3)


def test_a_full_baseline_stays_as_it_is() -> None:
    """Full after 2,048 requests and a day; then the newest 1,024 stand beside it."""
    one = fresh(COMES_IN)
    end = fill(one, FULL + 4096, 0.0, FULL_S / 2048 + 1.0)
    kept = list(one.baseline.counts)
    fill(one, 2048, end, 60.0)
    assert one.baseline.counts == kept
    assert FULL <= one.baseline.n <= FULL + 2 * BLOCK
    assert len(one.blocks) == SPANS[-1]


def test_hours_of_the_day_take_over_after_three_days() -> None:
    """Requests at three are compared with those at three, mixed as the newest are: a rhythm of the day is no drift then, something new still is."""
    assert hour_of_week(MONDAY) == 0
    assert hour_of_week(MONDAY + 25 * 3600.0) == 25
    rng, one, days = random.Random(2), Watch(Rules()), set[int]()
    day, night = streams.usual(), streams.shifted("language")
    for number in range(8 * 1440):
        time = MONDAY + number * 60.0
        one.incoming(rng.choice(day if number // 60 % 24 < 12 else night), time)
        assert one.level in {"none", "notify"}
        if one.level != "none":
            days.add(number // 1440)
    assert days <= {0, 1, 2, 3, 4}
    assert all(each["seasonal"] for each in one.shown["input"] if each["window"] == 64)
    for number in range(8 * 1440, 9 * 1440):
        one.incoming(rng.choice(streams.shifted("intent")), MONDAY + number * 60.0)
    assert one.level == "retrain"


def test_what_is_kept_is_read_again() -> None:
    """All counts, without the zeros at the end; other features begin anew."""
    one = fresh(GOES_OUT)
    fill(one, 700, 1000.0, 10.0)
    again = of_body(GOES_OUT, to_body(one), {})
    assert to_body(again) == to_body(one)
    assert again.partial.n == 700 % BLOCK
    other = features.layout(features.INPUT[0])
    assert of_body(other, to_body(one), {}).baseline.n == 0
    ring = fresh(COMES_IN)
    fill(ring, 2000, 0.0, 1.0, quiet=False)
    ring.roll()
    assert seeded(ring, 5.0).baseline.n == len(ring.blocks) * BLOCK
    assert seeded(fresh(COMES_IN), 5.0).began is None


def test_bins_and_their_names() -> None:
    """A number falls into a bin whose end is not below it; zero into the first; summaries name what is there."""
    for name in ("length", "tokens", "ttft_ms", "total_ms", "cost"):
        assert bin_of(name, 0) == 0
        for value in (1, 7, 500, 1e4):
            assert value_of(name, bin_of(name, value)) >= value - 0.1
    assert [bin_of("turns", n) for n in (1, 3, 5, 50)] == [0, 2, 4, 9]
    assert value_of("turns", 4) == 6.0
    counts = [0] * COMES_IN.width
    row = [None] * len(SAMPLE)
    row[SAMPLE.index("language")] = LANGUAGES.index("fr")  # type: ignore[call-overload]
    COMES_IN.add(counts, row)
    assert summary(COMES_IN.features[0], COMES_IN.part(counts, 0), 1, 0) == {"fr": 1.0}
    assert summary(COMES_IN.features[1], COMES_IN.part(counts, 1), 1, 0) == {}
    assert features.strand_of("cost") == "pace"


@pytest.mark.parametrize("kind", ["intent", "schema", "keys", "refusals"])
def test_shifts_are_found(kind: str) -> None:
    """One stream of each; `make proof` has the distribution of delays."""
    rng, one, time = random.Random(8), Watch(Rules(learn_s=0.0)), 0.0
    for pool, n in ((streams.usual(), 3000), (streams.shifted(kind), 1100)):
        for sample, _ in zip(streams.stream(pool, rng), range(n), strict=False):
            time += 40.0
            one.incoming(sample, time)
            one.outgoing(sample, time)
        if pool is streams.usual():
            assert one.level == "none"
    assert one.level in {"stop", "retrain"}
