"""Exact spreading of whole amounts: to the last nano-dollar the parts sum to the bill. Not here: closing minutes and writing rows (gateway.store)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# (id, start, end, prefill work, decode work): seconds on one clock; work in any unit, the same for all.
Work = tuple[str, float, float, float, float]
# Work is weighed in millionths: fine enough for any share of a minute, and whole, so that the spread is exact.
_GRAIN = 1_000_000


def spread(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts proportional to `weights`, summing exactly to it (largest remainder, earlier parts first among equals).

    Weights that are all zero count as equal. Raises ValueError for negative weights, and for no weights with something to spread.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative")
    if not weights:
        if total:
            raise ValueError("there is something to spread, but nobody to spread it over")
        return []
    whole = sum(weights)
    shares = weights if whole else [1] * len(weights)
    whole = whole or len(weights)
    parts, rests = [], []
    for weight in shares:
        part, rest = divmod(abs(total) * weight, whole)
        parts.append(part)
        rests.append(rest)
    left = abs(total) - sum(parts)
    for i in sorted(range(len(parts)), key=lambda i: -rests[i])[:left]:
        parts[i] += 1
    return parts if total >= 0 else [-part for part in parts]


@dataclass(frozen=True, slots=True)
class Others:
    """Work on an engine that no request of ours explains: how much (in the unit of the requests' work), and for how many seconds the engine was seen busy."""

    work: float = 0.0
    busy_s: float = 0.0


NOBODY = Others()


class Minute(NamedTuple):
    """Who carries a minute's bill, in nano-dollars: amounts by id, what work of others used, what nobody used. They sum exactly to the bill."""

    amounts: dict[str, int]
    foreign: int
    idle: int


def minute_allocation(
    gpu_nanousd: int, seconds_up: float, requests: Sequence[Work], window: tuple[float, float] | None = None, others: Others = NOBODY
) -> Minute:
    """Who pays how much of a GPU bill of `gpu_nanousd` for `seconds_up` seconds.

    Busy is the union of the intervals in flight; its share of the bill is spread by work, the rest is idle. With `window` (start, end) requests are cut to
    it, and their work with them, so that a long request pays in each minute it ran in. Attempts of one id add up.

    Work of `others` never makes a request dearer: it is taken to be spread evenly over the seconds the engine was busy; while requests were in flight it
    pays beside them by work, the busy seconds beyond that it pays alone.
    """
    cut = [part for part in (_cut(request, window) for request in requests) if part is not None]
    if seconds_up <= 0.0:
        return Minute({}, 0, gpu_nanousd)
    own_s, busy_s = busy_seconds(requests, seconds_up, window), busy_seconds(requests, seconds_up, window, others)
    own, busy = _part(gpu_nanousd, own_s, seconds_up), _part(gpu_nanousd, busy_s, seconds_up)
    if own_s <= 0.0:
        return Minute({}, busy, gpu_nanousd - busy)
    weights = [weight for _, _, _, weight in cut]
    beside = round(max(others.work, 0.0) * own_s / busy_s * _GRAIN)
    parts = spread(own, [*weights, beside] if beside else weights)
    amounts: dict[str, int] = {}
    for (name, _, _, _), amount in zip(cut, parts, strict=False):  # the part beside them is the others'
        amounts[name] = amounts.get(name, 0) + amount
    return Minute(amounts, busy - sum(amounts.values()), gpu_nanousd - busy)


def busy_seconds(requests: Sequence[Work], seconds_up: float, window: tuple[float, float] | None = None, others: Others = NOBODY) -> float:
    """For how many of `seconds_up` seconds there was work: the requests', and the others' where they did any."""
    own = _union((part[1], part[2]) for part in (_cut(request, window) for request in requests) if part is not None)
    return min(max(own, others.busy_s) if others.work > 0.0 else own, seconds_up)


def _part(nanousd: int, seconds: float, of: float) -> int:
    return nanousd if seconds == of else round(nanousd * (seconds / of))


def _cut(request: Work, window: tuple[float, float] | None) -> tuple[str, float, float, int] | None:
    name, start, end, prefill, decode = request
    work = max(prefill, 0.0) + max(decode, 0.0)
    if window is None:
        return (name, start, end, round(work * _GRAIN)) if end >= start else None
    low, high = max(start, window[0]), min(end, window[1])
    if high < low:
        return None
    share = (high - low) / (end - start) if end > start else 1.0
    return name, low, high, round(work * share * _GRAIN)


def _union(intervals: Iterable[tuple[float, float]]) -> float:
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        covered += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return covered
