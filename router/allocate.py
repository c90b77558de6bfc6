"""Exact spreading of whole amounts: to the last nano-dollar the parts sum to the bill. Not here: closing minutes and writing rows (gateway.store)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def minute_allocation(gpu_nanousd: int, seconds_up: float, requests: Sequence[Work], window: tuple[float, float] | None = None) -> tuple[dict[str, int], int]:
    """Who pays how much of a GPU bill of `gpu_nanousd` for `seconds_up` seconds: ({id: nano-dollars}, idle), summing exactly to the bill.

    Busy is the union of the intervals in flight; its share of the bill is spread by work, the rest is idle. With `window` (start, end) requests are cut to
    it, and their work with them, so that a long request pays in each minute it ran in. Attempts of one id add up.
    """
    cut = [part for part in (_cut(request, window) for request in requests) if part is not None]
    busy_s = min(_union(((start, end) for _, start, end, _ in cut)), seconds_up)
    if busy_s <= 0.0 or seconds_up <= 0.0:
        return {}, gpu_nanousd
    busy_nanousd = gpu_nanousd if busy_s == seconds_up else round(gpu_nanousd * (busy_s / seconds_up))
    amounts: dict[str, int] = {}
    for (name, _, _, _), amount in zip(cut, spread(busy_nanousd, [weight for _, _, _, weight in cut]), strict=True):
        amounts[name] = amounts.get(name, 0) + amount
    return amounts, gpu_nanousd - busy_nanousd


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
