"""Whether an answer came so late that something is wrong with its backend: the slow calls that a circuit breaker counts.

Late is measured against yardsticks, never in absolute terms: what is usual for the backend, and what the route aims at. An answer within reach of either is
not slow; a backend that is always a little late is dear (router.policy prices the misses), not broken.
"""

from __future__ import annotations

from router.types import Slo

# So many times the larger yardstick. Published brown-outs of hosted models are three- to tenfold, ordinary stragglers seldom exceed threefold.
FAR = 4.0
# The aim of a route that states none: a delay that nobody notices, so that a backend of five milliseconds may hiccup without being called broken.
UNNOTICED_MS = 250.0
# One observation counts as at most so many times what was usual, and as one of at most so many: a brown-out is not taken for the new usual by the time it is
# to be recognised (a dozen answers), and a change that stays is, within some dozens.
_MOST = 1.5
_MEMORY = 25


def usual(known: float | None, seen: int, x: float) -> float:
    """What is usual, after one more observation; `seen` were made before it."""
    if not known:
        return x
    return known + (min(x, _MOST * known) - known) / min(seen + 1, _MEMORY)


def is_slow(slo: Slo, waited_ms: float, usual_ms: float | None, *, whole: bool) -> bool:
    """Whether `waited_ms` was far too long, for the first token of a stream or a `whole` answer. False where there is nothing to compare with.

    The aim is the route's alone, not the one a client brings: who wishes for a millisecond must not open circuits.
    """
    aim = slo.total_ms if whole or slo.ttft_ms is None else slo.ttft_ms
    if usual_ms is None and aim is None:
        return False
    return waited_ms > FAR * max(usual_ms or 0.0, UNNOTICED_MS if aim is None else aim)
