"""Hedges, decided: who may be called beside a candidate that does not answer, and what that may cost. Not here: calling both (gateway.hedge).

The dollars are a token bucket per route: hosted spending of its requests earns a share of itself, a hedge pays what it is expected to cost, and what it came
to is corrected afterwards. It starts empty and is forgotten by half every ten minutes, so hedges never cost more than their share of what was spent before.
"""

from __future__ import annotations

from math import exp2
from typing import NamedTuple

from router.headroom import is_short
from router.types import Candidate, Features, Live

# As many answers must have been seen before their 95th percentile means anything.
LEAST_SEEN = 20
_HALF_LIFE_S = 600.0


class Purse(NamedTuple):
    """Nano-dollars that hedges of one route may still cost; negative where they cost more than was expected."""

    nanousd: int = 0
    at: float = 0.0


def earn(purse: Purse, spent_nanousd: int, share: float, now: float) -> Purse:
    """After the route has spent so much on hosted calls other than hedges."""
    return Purse(_faded(purse, now) + int(spent_nanousd * share), max(now, purse.at))


def pay(purse: Purse, nanousd: int, now: float) -> Purse | None:
    """After paying for a hedge; None where that is not there. What costs nothing is always there."""
    kept = _faded(purse, now)
    return Purse(kept - nanousd, max(now, purse.at)) if kept >= nanousd or nanousd <= 0 else None


def correct(purse: Purse, paid_nanousd: int, came_to_nanousd: int) -> Purse:
    """After a hedge that was paid for with one amount came to another."""
    return purse._replace(nanousd=purse.nanousd + paid_nanousd - came_to_nanousd)


def may_hedge(features: Features, first: Candidate, other: Candidate, live: Live, now: float) -> bool:
    """Whether `other`, whose state is `live`, may be called beside `first`. A hedge tries no luck (its circuit is closed) and displaces nobody's work."""
    if not live.healthy or live.breaker != "closed" or (live.retry_at is not None and now < live.retry_at) or is_short(features, live):
        return False
    if other.kind == "hosted":
        return other.price is not None  # what cannot be priced cannot be kept within bounds
    # The same engine is slow under every name, and another one has room only while a slot is free.
    return other.owner != first.owner and live.in_flight + live.others_in_flight < live.slots


def _faded(purse: Purse, now: float) -> int:
    if purse.nanousd <= 0:
        return purse.nanousd
    return int(purse.nanousd * exp2(-max(now - purse.at, 0.0) / _HALF_LIFE_S))
