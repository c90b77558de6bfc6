"""Predicted latency of one request on one candidate, and the chance that it misses its aim. Not here: learning the inputs (router.estimate), prices.

Model: an unhurried request takes `ttft + output * tpot`. An engine serves `slots` requests at full speed; with more in flight each waits its turn, so
work stretches by (in flight + 1) / slots. Totals scatter log-normally around the prediction, which is their mean.
"""

from __future__ import annotations

from math import erfc, log, sqrt
from typing import NamedTuple

from router.types import Candidate, Features, Live, Slo

_SQRT2 = sqrt(2.0)


class Prediction(NamedTuple):
    """Mean time to first token and to the end, milliseconds, and the sigma of their logarithm."""

    ttft_ms: float
    total_ms: float
    sigma: float


def slowdown(live: Live) -> float:
    """By how much one more request is stretched by those in flight; 1 while there are free slots or where `slots` is unknown (0).

    Who learns `ttft_ms` and `tpot_ms` divides what was observed by this, or load counts twice.
    """
    load = live.in_flight + live.others_in_flight
    if live.slots <= 0 or load < live.slots:
        return 1.0
    return (load + 1) / live.slots


def predict(candidate: Candidate, live: Live, output_tokens: float) -> Prediction | None:
    """The prediction for `output_tokens` expected tokens per answer; None while the backend has never been observed.

    The `n` answers of one request are generated side by side, so they do not add up. Hosted providers are taken not to slow down by our own calls.
    """
    if live.ttft_ms is None or live.tpot_ms is None:
        return None
    service = live.ttft_ms + output_tokens * live.tpot_ms
    wait = service * (slowdown(live) - 1.0) if candidate.kind == "local" else 0.0
    return Prediction(live.ttft_ms + wait, service + wait, live.log_sigma)


def p_late(mean_ms: float, sigma: float, limit_ms: float) -> float:
    """P(latency > limit) of a log-normal with this mean and log-sigma."""
    if mean_ms <= 0.0:
        return 0.0
    if limit_ms <= 0.0:
        return 1.0
    if sigma <= 0.0:
        return 1.0 if mean_ms > limit_ms else 0.0
    z = (log(limit_ms / mean_ms) + 0.5 * sigma * sigma) / sigma
    return 0.5 * erfc(z / _SQRT2)


def limits(features: Features, slo: Slo) -> tuple[float | None, float | None]:
    """(first token, total) aims in milliseconds for this request: only a stream shows its first token, and a request may bring its own total."""
    total = slo.total_ms if features.slo_total_ms is None else features.slo_total_ms
    return (slo.ttft_ms if features.stream else None, total)


def p_miss(prediction: Prediction | None, ttft_limit: float | None, total_limit: float | None, target: float) -> float:
    """The chance to miss either aim. 0 without aims; 1 - target for a backend never observed: it is taken to be just good enough, so it gets its first call.

    A late first token and a late end go together, so the larger of the two is taken, not their sum.
    """
    if ttft_limit is None and total_limit is None:
        return 0.0
    if prediction is None:
        return 1.0 - target
    first = 0.0 if ttft_limit is None else p_late(prediction.ttft_ms, prediction.sigma, ttft_limit)
    whole = 0.0 if total_limit is None else p_late(prediction.total_ms, prediction.sigma, total_limit)
    return max(first, whole)
