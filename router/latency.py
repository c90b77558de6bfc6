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
# One more request slows those in flight, and those who come while these are still there for that: chosen in the simulator (docs/decisions/0027).
_CROWD = 1.5


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
    first += live.blocked_ms
    if candidate.kind != "local":
        return Prediction(first, first + output_tokens * each, live.log_sigma, live.ttft_sigma)
    if live.load_ms:
        held = live.load_tokens + prompt_tokens
        load = live.in_flight + live.others_in_flight + 1
        if live.slots and load > live.slots:
            held *= live.slots / load  # the others wait outside
        each = max(each + live.load_ms * (held - live.usual_load), _LEAST * each)
    service = first + output_tokens * each
    wait = service * (slowdown(live) - 1.0)
    return Prediction(first + wait, service + wait, live.log_sigma, live.ttft_sigma)


class Work(NamedTuple):
    """What a request is beside the others: `output_share` of its price is for its answer; it slows `crowd` others by `slower_ms` each."""

    output_share: float = 0.0
    crowd: float = 0.0
    slower_ms: float = 0.0


class Risk(NamedTuple):
    """What may go wrong with one request: `p_miss` the chance to miss an aim; `lost` the share of its usual worth that is expected to be lost by that;
    `harm` the same, lost by others at its engine because it is there."""

    p_miss: float
    lost: float
    harm: float = 0.0


_NO_RISK = Risk(0.0, 0.0)


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


def risk(prediction: Prediction | None, aims: tuple[float | None, float | None], target: float, live: Live, work: Work) -> Risk:
    """The risk of missing either of the `aims` (router.latency.limits).

    None without aims; 1 - target for a backend never observed: it is taken to be just good enough, so it gets its first call. A late first token and a late
    end go together, so the larger of the two is taken, not their sum. What was observed is held against that assumption by what it rests on.

    A late end is the fate of long answers, which are worth more than usual ones: `lost` counts them with what they cost.
    """
    ttft_limit, total_limit = aims
    if ttft_limit is None and total_limit is None:
        return _NO_RISK
    if prediction is None:
        return Risk(1.0 - target, 1.0 - target)
    first = 0.0 if ttft_limit is None else p_late(prediction.ttft_ms, prediction.ttft_sigma or prediction.sigma, ttft_limit)
    late = dear = harm = 0.0
    if total_limit is not None:
        late, dear = _late(prediction.total_ms, prediction.sigma, total_limit, work.output_share)
        if work.crowd:
            harm = work.crowd * max(_late(prediction.total_ms + work.slower_ms, prediction.sigma, total_limit, work.output_share)[1] - dear, 0.0)
    evidence = live.evidence
    return Risk(weighed(max(first, late), target, evidence), weighed(max(first, dear), target, evidence), harm)


def crowd(candidate: Candidate, live: Live, prompt_tokens: float, output_tokens: float) -> tuple[float, float]:
    """How many others one more request slows at its engine, and each by how many milliseconds: by reading its prompt, and with every token of theirs while it
    is there, which is about as long as they are. No more than the slots: the others wait, and the batch grows no more (router.shadow)."""
    load = live.in_flight + live.others_in_flight
    if candidate.kind != "local" or not load:
        return 0.0, 0.0
    return _CROWD * (min(load, live.slots) if live.slots else load), output_tokens * live.load_ms * (
        prompt_tokens + output_tokens
    ) + prompt_tokens * live.prompt_ms


def _late(mean_ms: float, sigma: float, limit_ms: float, output_share: float) -> tuple[float, float]:
    """The chance to end late, and the share of the usual worth in those that do: of a log-normal, those beyond z hold what a normal has beyond z - sigma."""
    late = p_late(mean_ms, sigma, limit_ms)
    if not 0.0 < late < 1.0 or not output_share:
        return late, late
    z = (log(limit_ms / mean_ms) + 0.5 * sigma * sigma) / sigma
    return late, late + output_share * (0.5 * erfc((z - sigma) / _SQRT2) - late)


def weighed(p: float, target: float, evidence: float | None) -> float:
    """A predicted chance to miss, held against the assumption of `p_miss` by what it rests on."""
    return p if evidence is None else (evidence * p + PRIOR_ANSWERS * (1.0 - target)) / (evidence + PRIOR_ANSWERS)
