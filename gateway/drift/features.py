"""What is counted of requests: the features of each strand, which number of a sample falls into which bin, and what bins mean to people. Pure.

A sample is the row of numbers that sketch.py and the ledger's row give, in the order of SAMPLE. None: that number is not known of this request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

from gateway.drift.sketch import CONTENT, FINISHES, FORMATS, LANGUAGES, RATES
from router.divergence import Feature
from router.drift import Strand

SAMPLE = ("language", "turns", "length", "words", "content", "format", "finish", "events", "chances", "tokens", "ttft_ms", "total_ms", "cost")
TURNS = (1, 2, 3, 4, 6, 9, 14, 24, 49)

INPUT = (
    Feature("language", "classes", len(LANGUAGES)),
    Feature("turns", "ordered", len(TURNS) + 1),
    Feature("length", "ordered", 44),
    Feature("words", "marks", 64),
    Feature("content", "marks", len(CONTENT)),
)
OUTPUT = (Feature("format", "classes", len(FORMATS)), Feature("finish", "classes", len(FINISHES)), Feature("tokens", "ordered", 40))
PACE = (Feature("ttft_ms", "ordered", 80), Feature("total_ms", "ordered", 80), Feature("cost", "ordered", 90))
# Counted beside OUTPUT, and judged one by one (router/alarm.py).
EVENTS = (Feature("events", "marks", len(RATES)), Feature("chances", "marks", len(RATES)))
# Bins of an octave.
_STEPS = {"length": 2, "tokens": 3, "ttft_ms": 4, "total_ms": 4, "cost": 2}
_NAMES = {"language": LANGUAGES, "format": FORMATS, "finish": FINISHES, "content": CONTENT}


@dataclass(frozen=True, slots=True)
class Layout:
    """Features side by side in one list of counts: `begins` where each of them starts."""

    features: tuple[Feature, ...]
    begins: tuple[int, ...]
    width: int

    def part(self, counts: Sequence[float], number: int) -> Sequence[float]:
        """The counts of one feature."""
        begin = self.begins[number]
        return counts[begin : begin + self.features[number].size]

    def place(self, name: str) -> int:
        """The number of a feature."""
        return next(number for number, feature in enumerate(self.features) if feature.name == name)

    def add(self, counts: list[int], sample: Sequence[Any]) -> None:
        """Count a sample."""
        for feature, begin in zip(self.features, self.begins, strict=True):
            value = sample[_PLACES[feature.name]]
            if value is None:
                continue
            if feature.shape == "marks":
                while value:
                    low = value & -value
                    counts[begin + low.bit_length() - 1] += 1
                    value ^= low
            else:
                counts[begin + min(feature.size - 1, value if feature.shape == "classes" else bin_of(feature.name, value))] += 1


_PLACES = {name: place for place, name in enumerate(SAMPLE)}


def layout(*features: Feature) -> Layout:
    """Features one after the other."""
    begins, width = [], 0
    for feature in features:
        begins.append(width)
        width += feature.size
    return Layout(features, tuple(begins), width)


COMES_IN = layout(*INPUT)
GOES_OUT = layout(*OUTPUT, *PACE, *EVENTS)


def strand_of(name: str) -> Strand:
    """The strand that a feature of GOES_OUT or COMES_IN belongs to."""
    if any(feature.name == name for feature in INPUT):
        return "input"
    return "pace" if any(feature.name == name for feature in PACE) else "output"


def bin_of(name: str, value: float) -> int:
    """The bin of a number."""
    if name == "turns":
        return next((place for place, most in enumerate(TURNS) if value <= most), len(TURNS))
    return int(_STEPS[name] * log2(value + 1.0)) if value > 0 else 0


def value_of(name: str, place: int) -> float:
    """The largest number of a bin, for people."""
    if name == "turns":
        return float(TURNS[min(place, len(TURNS) - 1)])
    return round(float(2.0 ** ((place + 1) / _STEPS[name]) - 1.0), 1)


def summary(feature: Feature, counts: Sequence[float], n: float, place: int) -> dict[str, float]:
    """What counts say, short: the middle and the upper end of a number; the shares of the commonest classes; the shares of marks (of words: one bucket's)."""
    total = n if feature.shape == "marks" else sum(counts)
    if total <= 0:
        return {}
    if feature.shape == "ordered":
        return {"p50": value_of(feature.name, _rank(counts, total * 0.5)), "p95": value_of(feature.name, _rank(counts, total * 0.95))}
    if feature.name == "words":
        return {f"bucket {place}": _share(counts[place], total)}
    names = _NAMES[feature.name]
    most = sorted(range(feature.size), key=lambda each: (-counts[each], each))[:4]
    shown = [each for each in most if counts[each]] + ([place] if place not in most else [])
    return {names[each]: _share(counts[each], total) for each in shown}


def _rank(counts: Sequence[float], wanted: float) -> int:
    so_far = 0.0
    for place, count in enumerate(counts):
        so_far += count
        if so_far >= wanted:
            return place
    return len(counts) - 1


def _share(count: float, total: float) -> float:
    return round(count / total, 4)
