"""Whether the traffic or the answers of an adapter version are still what it was judged on, and what follows: levels, with hysteresis. Pure; the clock is an
argument.

    none -> notify -> shadow -> stop -> retrain, and back to none

Requests are looked at in blocks of `BLOCK`. A look compares the newest `SPANS` blocks with the baseline, feature by feature (router/divergence.py), and asks
the detectors of rates (router/alarm.py). A level is reached by so many looks in a row that find something (`RISE`) and left by `CALM` looks in a row that
find nothing near it. Each strand (what comes in, what goes out, pace and price, agreement with the hosted model) has its level; the version's is the highest.

The budget of false alarms is stated per million requests: each look, span and feature gets its part of one half, the detectors of rates the other half, so
that by the union bound no sum over any number of looks exceeds it. Not here: counting (gateway/drift/), acting (the controller).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

Level = Literal["none", "notify", "shadow", "stop", "retrain"]
Strand = Literal["input", "output", "pace", "pairs"]
LEVELS: tuple[Level, ...] = ("none", "notify", "shadow", "stop", "retrain")
STRANDS: tuple[Strand, ...] = ("input", "output", "pace", "pairs")

# Requests of one look.
BLOCK = 32
# How many of the newest blocks are compared: 64 requests find a great change at once, 1024 find a small one.
SPANS = (2, 8, 32)
# Pairs of one look: they are rare.
PAIRS = 8
# Looks in a row that must find something for each level.
RISE: Mapping[Level, int] = {"notify": 1, "shadow": 2, "stop": 4, "retrain": 12}
# Looks in a row that find nothing half as large before the level is left.
CALM = 8
_NEAR = 0.5
# The router weighs latency and cost in every decision by itself: that they changed is worth knowing, not worth stopping.
HIGHEST: Mapping[Strand, Level] = {"input": "retrain", "output": "retrain", "pace": "notify", "pairs": "retrain"}
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one strand is: its level, how many looks in a row found something, and how many found nothing near it."""

    level: Level = "none"
    streak: int = 0
    calm: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """The natural logarithms of one over the chance that each single comparison, and each rate's detector per request, may be wrong."""

    look: float
    rate: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature at one look. `value` against `threshold` says whether chance can explain it; `changed` against the least change that matters, whether it
    matters (None: the detectors of rates look for changes that matter in the first place)."""

    value: float
    threshold: float
    changed: float | None = None


def budget(false_alarms: float, features: int, rates: int) -> Budget:
    """Spend `false_alarms` per million requests on `features` that are compared over every span at each look, and on `rates`."""
    each_look = false_alarms / 2.0 * BLOCK / _MILLION / (features * len(SPANS))
    each_request = false_alarms / 2.0 / _MILLION / max(1, rates)
    return Budget(-log(each_look), -log(each_request))


def fires(finding: Finding, least: float) -> bool:
    """Whether a feature differs beyond chance, by at least the share `least` of requests."""
    return finding.value >= finding.threshold and (finding.changed is None or finding.changed >= least)


def is_near(finding: Finding, least: float) -> bool:
    """Whether a feature is still so close to firing that a level is not left: half of the change that matters, and half of what chance can explain."""
    beyond = finding.value >= _NEAR * finding.threshold
    return beyond and (finding.changed is None or finding.changed >= _NEAR * least)


def step(before: Standing, found: Sequence[Finding], least: float, strand: Strand) -> Standing:
    """The standing after one more look, which found these."""
    if any(fires(each, least) for each in found):
        streak = before.streak + 1
        return Standing(_higher(before.level, _reached(streak, HIGHEST[strand])), streak)
    if any(is_near(each, least) for each in found):
        return Standing(before.level, 0)
    calm = before.calm + 1
    return Standing() if calm >= CALM or before.level == "none" else Standing(before.level, 0, calm)


def overall(standings: Mapping[Strand, Standing]) -> Level:
    """The highest level of the strands."""
    return max((standing.level for standing in standings.values()), key=LEVELS.index, default="none")


def risen(before: Level, after: Level) -> bool:
    """Whether `after` is the higher level."""
    return LEVELS.index(after) > LEVELS.index(before)


def looks_to(level: Level) -> int:
    """How many looks in a row must find something for a level."""
    return RISE.get(level, 0)


def _reached(streak: int, highest: Level) -> Level:
    level: Level = "none"
    for each in LEVELS[1 : LEVELS.index(highest) + 1]:
        if streak >= RISE[each]:
            level = each
    return level


def _higher(one: Level, other: Level) -> Level:
    return one if LEVELS.index(one) >= LEVELS.index(other) else other
