"""Sets of whole minutes as sorted, disjoint ranges `(first, end)`, end not included. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int]
Spans = Sequence[Span]


def of_units(starts: Iterable[int], step: int) -> list[Span]:
    """The minutes of units that begin at `starts` and last `step` minutes."""
    found: list[Span] = []
    for start in sorted(starts):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], start + step))
        else:
            found.append((start, start + step))
    return found


def aligned(spans: Spans, step: int) -> list[Span]:
    """The whole units of `step` minutes that lie in `spans`."""
    inside = ((-(-first // step) * step, end // step * step) for first, end in spans)
    return [(first, end) for first, end in inside if first < end]


def without(spans: Spans, others: Spans) -> list[Span]:
    """What is in `spans` and not in `others`."""
    left: list[Span] = []
    for first, end in spans:
        at = first
        for cut, cut_end in others:
            if cut_end <= at:
                continue
            if cut >= end:
                break
            if cut > at:
                left.append((at, cut))
            at = max(at, cut_end)
        if at < end:
            left.append((at, end))
    return left


def inside(spans: Spans, first: int, end: int) -> list[Span]:
    """What of `spans` lies in one range."""
    return [(max(start, first), min(stop, end)) for start, stop in spans if max(start, first) < min(stop, end)]


def joined(spans: Spans, most: int) -> list[Span]:
    """At most so many ranges that hold all of `spans`: the newest are joined, with the gaps between them."""
    return list(spans) if len(spans) <= most else [*spans[: most - 1], (spans[most - 1][0], spans[-1][1])]
