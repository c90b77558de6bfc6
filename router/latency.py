"""Predicted latency of one request on one candidate, and the chance that it misses its aim. Not here: learning the inputs (router.estimate), prices.

Model: an unhurried request takes `ttft + output * tpot`. The first token waits for the prompt tokens ahead of it and its own; every other token is the slower
the more requests are in flight; both are straight lines through what was observed. An engine serves `slots` requests at once; with more in flight each waits
its turn, so work stretches by (in flight + 1) / slots. Times scatter log-normally around the prediction, which is their mean.
"""

from __future__ import annotations

from math import erfc, log, sqrt
from typing import NamedTuple

from router.types import Candidate, Features, Live, Slo

_SQRT2 = sqrt(2.0)
# However far a line is followed below what was observed, this share of the mean remains.
_LEAST = 0.1
# As many answers the assumption weighs that a backend is just good enough: what few or old ones said must not keep it from ever being asked again.
PRIOR_ANSWERS = 8.0


class Prediction(NamedTuple):
    """Mean time to first token and to the end, milliseconds, and the sigmas of their logarithms; `ttft_sigma` 0: the same as the total's."""

    ttft_ms: float
    total_ms: float
    sigma: float
    ttft_sigma: float = 0.0


def slowdown(live: Live) -> float:
    """By how much one more request is stretched by those in flight; 1 while there are free slots or where `slots` is unknown (0).

    Who learns `ttft_ms` and `tpot_ms` divides what was observed by this, or load counts twice.
    """
    load = live.in_flight + live.others_in_flight
    if live.slots <= 0 or load < live.slots:
        return 1.0
    return (load + 1) / live.slots


def predict(candidate: Candidate, live: Live, output_tokens: float, prompt_tokens: float = 0.0) -> Prediction | None:
    """The prediction for a prompt of so many tokens and `output_tokens` expected per answer; None while the backend has never been observed.

    The `n` answers of one request are generated side by side, so they do not add up. Hosted providers are taken not to slow down by our own calls.
    """
    if live.ttft_ms is None or live.tpot_ms is None:
        return None
    first, each = live.ttft_ms, live.tpot_ms
    if live.prompt_ms:
        first = max(first + live.prompt_ms * (prompt_tokens + live.ahead_tokens - live.usual_prompt), _LEAST * first)
    if candidate.kind != "local":
        return Prediction(first, first + output_tokens * each, live.log_sigma, live.ttft_sigma)
    if live.load_ms:
        load = live.in_flight + live.others_in_flight + 1
        each = max(each + live.load_ms * ((min(load, live.slots) if live.slots else load) - live.usual_load), _LEAST * each)
    service = first + output_tokens * each
    wait = service * (slowdown(live) - 1.0)
    return Prediction(first + wait, service + wait, live.log_sigma, live.ttft_sigma)


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


def p_miss(prediction: Prediction | None, ttft_limit: float | None, total_limit: float | None, target: float, evidence: float | None = None) -> float:
    """The chance to miss either aim. 0 without aims; 1 - target for a backend never observed: it is taken to be just good enough, so it gets its first call.

    A late first token and a late end go together, so the larger of the two is taken, not their sum. `evidence` weighs it against that assumption.
    """
    if ttft_limit is None and total_limit is None:
        return 0.0
    if prediction is None:
        return 1.0 - target
    first = 0.0 if ttft_limit is None else p_late(prediction.ttft_ms, prediction.ttft_sigma or prediction.sigma, ttft_limit)
    whole = 0.0 if total_limit is None else p_late(prediction.total_ms, prediction.sigma, total_limit)
    return weighed(max(first, whole), target, evidence)


def weighed(p: float, target: float, evidence: float | None) -> float:
    """A predicted chance to miss, held against the assumption of `p_miss` by what it rests on."""
    return p if evidence is None else (evidence * p + PRIOR_ANSWERS * (1.0 - target)) / (evidence + PRIOR_ANSWERS)


def unweighed(p: float, target: float, evidence: float | None) -> float:
    """What `weighed` makes `p` of; outside 0..1 where nothing does."""
    if evidence is None:
        return p
    return (p * (evidence + PRIOR_ANSWERS) - PRIOR_ANSWERS * (1.0 - target)) / evidence if evidence else 2.0
