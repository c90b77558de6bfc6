"""Counts of one stream of requests: the baseline it is measured against, and its newest blocks. Plain numbers; time comes with the samples.

Blocks wait a while before the baseline takes them, so that what is just beginning to change does not become what it is compared with. The baseline is full
after so many requests and a whole day; from then on it stays as it is. Blocks that grow old go to the hour of the week they belong to as well, for some weeks;
once there are days, each block is compared with its own hour of the day, once there are weeks, with its own hour of the week.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Any

from gateway.drift.features import Layout
from router.divergence import Difference, difference
from router.drift import BLOCK, SPANS

# Requests a baseline has before anything is compared with it, and when it is full.
LEAST = 8 * BLOCK
FULL = 64 * BLOCK
# Requests of an hour: fewer would say too little, even where the thresholds take account of it.
LEAST_HOUR = 2 * BLOCK
FULL_S = 86_400.0
# Blocks that wait before they may become baseline.
DELAY = 8
# For how long hours of the week are filled, and after what time those of a day and of a week are used.
SEASON_S = 28 * 86_400.0
DAILY_FROM_S = 3 * 86_400.0
WEEKLY_FROM_S = 14 * 86_400.0
_HOUR_S = 3600.0
_WEEK_HOURS = 168
_DAY_HOURS = 24
# Epoch time began on a Thursday.
_MONDAY_HOURS = 72


@dataclass(slots=True)
class Counts:
    """So many requests, counted."""

    n: int
    counts: list[int]

    def take(self, other: Counts) -> None:
        """Add others."""
        self.n += other.n
        self.counts = list(map(add, self.counts, other.counts))


@dataclass(slots=True)
class Block:
    """`BLOCK` requests; `hour` of the week in which the last of them came."""

    hour: int
    counts: list[int]


@dataclass(slots=True)
class Track:
    """One stream. `began` is the time of its first request; `hours` the baselines by hour of the week, `stale` which of them changed, `mixed` what they
    come to for each span until the next block."""

    layout: Layout
    baseline: Counts
    partial: Counts
    blocks: deque[Block] = field(default_factory=deque)
    began: float | None = None
    last: float = 0.0
    hours: dict[int, Counts] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    mixed: dict[int, tuple[float, Sequence[float]] | None] = field(default_factory=dict)

    def add(self, sample: Sequence[Any], time: float) -> bool:
        """Count a sample; whether a block is whole with it."""
        self.began = time if self.began is None else self.began
        self.last = max(self.last, time)
        self.layout.add(self.partial.counts, sample)
        self.partial.n += 1
        if self.partial.n < BLOCK:
            return False
        self.blocks.append(Block(hour_of_week(time), self.partial.counts))
        self.mixed.clear()
        self.partial = Counts(0, [0] * self.layout.width)
        return True

    def learn(self, quiet: bool) -> None:
        """Let the baseline take what may become part of it. `quiet`: nothing is wrong, so that what was seen is what is usual."""
        self.mixed.clear()
        while self.blocks:
            young = self.baseline.n < LEAST
            filling = self.baseline.n < FULL or self.age_s < FULL_S
            if not (young or (len(self.blocks) > DELAY and filling and quiet)):
                break
            block = self.blocks.popleft()
            self.baseline.take(Counts(BLOCK, block.counts))
            self._keep_hour(block)
        while len(self.blocks) > SPANS[-1]:
            block = self.blocks.popleft()
            if quiet:
                self._keep_hour(block)

    def roll(self) -> None:
        """Keep the newest blocks alone: for a stream that is measured against nothing."""
        while len(self.blocks) > SPANS[-1]:
            self.blocks.popleft()

    @property
    def age_s(self) -> float:
        """Seconds from its first request to its last."""
        return 0.0 if self.began is None else self.last - self.began

    @property
    def ready(self) -> bool:
        """Whether there is a baseline to compare with."""
        return self.baseline.n >= LEAST

    def differences(self, numbers: Sequence[int], surprise: float) -> list[tuple[Difference, int]]:
        """For each of these features (by number) its differences over all spans, each with its span in requests."""
        found: list[tuple[Difference, int]] = []
        for span in SPANS:
            if not self.ready or len(self.blocks) < span:
                break
            current, usual = self.newest(span), self.usual(span)
            for number in numbers:
                sizes = (float(usual[0]), float(span * BLOCK))
                each = difference(self.layout.features[number], self.layout.part(usual[1], number), self.layout.part(current, number), sizes, surprise)
                found.append((each, span * BLOCK))
        return found

    def newest(self, span: int) -> list[int]:
        """The counts of the newest blocks."""
        total = [0] * self.layout.width
        for position in range(len(self.blocks) - span, len(self.blocks)):
            total = list(map(add, total, self.blocks[position].counts))
        return total

    def usual(self, span: int) -> tuple[float, Sequence[float]]:
        """What the newest blocks are compared with, and how many requests that is: their own hours of the week where those are known, else the baseline."""
        return self._seasonal(span) or (self.baseline.n, self.baseline.counts)

    def is_seasonal(self, span: int) -> bool:
        """Whether the newest blocks are compared with their own hours of the week."""
        return self._seasonal(span) is not None

    def _seasonal(self, span: int) -> tuple[float, Sequence[float]] | None:
        if span not in self.mixed:
            self.mixed[span] = self._mix(span)
        return self.mixed[span]

    def _mix(self, span: int) -> tuple[float, Sequence[float]] | None:
        """The hours of the newest blocks, mixed as they are mixed in those; their number is what the scarcest of them allows."""
        if self.age_s < DAILY_FROM_S:
            return None
        weights: dict[int, float] = {}
        for position in range(len(self.blocks) - span, len(self.blocks)):
            hour = self.blocks[position].hour
            weights[hour] = weights.get(hour, 0.0) + 1.0 / span
        known: dict[int, Counts] = {}
        for hour in weights:
            found = self._hour(hour)
            if found is None:
                return None
            known[hour] = found
        n = min(known[hour].n / weight for hour, weight in weights.items())
        total = [0.0] * self.layout.width
        for hour, weight in weights.items():
            share = weight * n / known[hour].n
            total = [before + share * count for before, count in zip(total, known[hour].counts, strict=True)]
        return n, total

    def _hour(self, hour: int) -> Counts | None:
        """What is usual in this hour of the week, else of the day; None where too little is known."""
        own = self.hours.get(hour)
        if own is not None and own.n >= LEAST_HOUR and self.age_s >= WEEKLY_FROM_S:
            return own
        total = Counts(0, [0] * self.layout.width)
        for same in range(hour % _DAY_HOURS, _WEEK_HOURS, _DAY_HOURS):
            if same in self.hours:
                total.take(self.hours[same])
        return total if total.n >= LEAST_HOUR else None

    def _keep_hour(self, block: Block) -> None:
        if self.age_s > SEASON_S:
            return
        kept = self.hours.setdefault(block.hour, Counts(0, [0] * self.layout.width))
        kept.take(Counts(BLOCK, block.counts))
        self.stale.add(block.hour)


def fresh(layout: Layout) -> Track:
    """A stream that nothing is known of."""
    return Track(layout, Counts(0, [0] * layout.width), Counts(0, [0] * layout.width))


def seeded(ring: Track, now: float) -> Track:
    """A stream whose baseline is what another one saw last."""
    made = fresh(ring.layout)
    for block in ring.blocks:
        made.baseline.take(Counts(BLOCK, block.counts))
    made.began = now if made.baseline.n else None
    return made


def hour_of_week(time: float) -> int:
    """0 to 167, from Monday 00:00 UTC on."""
    return (int(time // _HOUR_S) + _MONDAY_HOURS) % _WEEK_HOURS


def to_body(track: Track) -> dict[str, Any]:
    """All but the hours, JSON-safe; zeros at the end of counts are left out."""
    return {
        "names": [(feature.name, feature.size) for feature in track.layout.features],
        "baseline": [track.baseline.n, _cut(track.baseline.counts)],
        "partial": [track.partial.n, _cut(track.partial.counts)],
        "blocks": [[block.hour, _cut(block.counts)] for block in track.blocks],
        "began": track.began,
        "last": track.last,
    }


def of_body(layout: Layout, body: Mapping[str, Any], hours: Mapping[int, tuple[int, Sequence[int]]]) -> Track:
    """A stream as it was kept; a fresh one where other features were counted then."""
    if [tuple(each) for each in body["names"]] != [(feature.name, feature.size) for feature in layout.features]:
        return fresh(layout)
    full: Callable[[Sequence[int]], list[int]] = lambda counts: [*counts, *[0] * (layout.width - len(counts))]  # noqa: E731 - one line, used below alone
    return Track(
        layout,
        Counts(body["baseline"][0], full(body["baseline"][1])),
        Counts(body["partial"][0], full(body["partial"][1])),
        deque(Block(hour, full(counts)) for hour, counts in body["blocks"]),
        body["began"],
        body["last"],
        {hour: Counts(n, full(counts)) for hour, (n, counts) in hours.items()},
    )


def _cut(counts: Sequence[int]) -> list[int]:
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return list(counts[:end])
