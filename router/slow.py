"""Whether an answer came so late that something is wrong with its backend: the slow calls that a circuit breaker counts.

Late is measured against this request's own yardsticks, never in absolute terms: what is usual for the backend, and what the route aims at. An answer within
reach of either is not slow; a backend that is always a little late is dear (router.policy prices the misses), not broken.
"""

from __future__ import annotations

from router import latency
from router.types import Candidate, Live, Slo

# So many times the larger yardstick. Published brown-outs of hosted models are three- to tenfold, ordinary stragglers seldom exceed threefold.
FAR = 4.0
# The aim of a route that states none: a delay that nobody notices, so that a backend of five milliseconds may hiccup without being called broken.
UNNOTICED_MS = 250.0


def is_slow(slo: Slo, candidate: Candidate, live: Live, waited_ms: float, output_tokens: float | None) -> bool:
    """Whether `waited_ms` was far too long: until the first token of a stream (`output_tokens` None), or for a whole answer of so many tokens.

    `live` is what was known when the decision was made, so that a slow answer is not its own excuse. False where there is nothing to compare with.
    The aim is the route's alone: a client that wishes for a millisecond must not open circuits.
    """
    aim = slo.total_ms if output_tokens is not None or slo.ttft_ms is None else slo.ttft_ms
    usual = None
    if live.ttft_ms is not None:
        usual = live.ttft_ms + (output_tokens or 0.0) * (live.tpot_ms or 0.0)
        if candidate.kind == "local":
            usual *= latency.slowdown(live)
    if usual is None and aim is None:
        return False
    return waited_ms > FAR * max(usual or 0.0, UNNOTICED_MS if aim is None else aim)
