"""A hosted provider in virtual time: latency that scatters, drifts and sometimes straggles, rate limits, a prompt cache, and the faults of a scenario.

Whatever happens to a request is drawn from the seed, its number and its attempt, so every policy that calls at the same instant meets the same answer.
"""

from __future__ import annotations

from math import exp, inf, pi, sin
from typing import Literal, NamedTuple

from router.simulation import chance
from router.simulation.trace import Ask

FaultKind = Literal["error", "hang", "slow", "quota", "stall"]
CACHE_S = 300.0
# A stream that says nothing for so long is given up (the gateway's idle timeout is of this order).
STALL_S = 15.0
_STEP = 128
_LEAST_CACHED = 1024


class HostedShape(NamedTuple):
    """How a provider answers: medians and spreads. `rpm`, `tpm`: its rate limits (0: none)."""

    ttft_ms: float = 380.0
    ttft_sigma: float = 0.35
    prefill_us: float = 25.0
    tpot_ms: float = 11.0
    tpot_sigma: float = 0.25
    drift: float = 0.15
    straggler_share: float = 0.01
    straggler_factor: float = 8.0
    rpm: float = 0.0
    tpm: float = 0.0


class Fault(NamedTuple):
    """From `since` to `until`: answers 503 (`error`), no byte at all (`hang`), everything `value` times slower (`slow`), the quota times `value` (`quota`),
    of a share of `value` nothing after the first token (`stall`). `replica`: whose fault it is, of an engine."""

    since: float
    until: float
    kind: FaultKind
    value: float = 1.0
    replica: int = 0


class Said(NamedTuple):
    """What a call comes to: `status` 200 with both times, an error status after `total_s`, or 0: nothing ever comes. `retry_after_s` with a 429.

    An error status with a first token: the stream stalls after it, and is given up `total_s` after the call.
    """

    status: int
    ttft_s: float
    total_s: float
    cached: int = 0
    retry_after_s: float = 0.0


class Provider:
    """The state that calls share: rate limits and warm prompts."""

    def __init__(self, shape: HostedShape, faults: tuple[Fault, ...], seed: int) -> None:
        self.shape, self._faults, self._seed = shape, faults, seed
        self._requests = _Bucket(shape.rpm)
        self._tokens = _Bucket(shape.tpm)
        self._warm: dict[int, float] = {}

    def call(self, ask: Ask, number: int, attempt: int, now: float) -> Said:
        """One call that starts now."""
        quota = slow = 1.0
        stall = 0.0
        for fault in self._faults:
            if fault.since <= now < fault.until:
                if fault.kind == "error":
                    return Said(503, inf, 0.05)
                if fault.kind == "hang":
                    return Said(0, inf, inf)
                if fault.kind == "slow":
                    slow *= fault.value
                elif fault.kind == "stall":
                    stall = fault.value
                else:
                    quota *= fault.value
        wait = max(self._requests.wait_s(1.0, quota, now), self._tokens.wait_s(ask.input + ask.output, quota, now))
        if wait > 0.0:
            return Said(429, inf, 0.05, retry_after_s=max(1.0, round(wait)))
        self._requests.take(1.0)
        self._tokens.take(ask.input + ask.output)
        cached = self.cached(ask, now)
        self._warm[ask.conversation] = now
        ttft, total = self.times(ask, number, attempt, now, cached)
        if stall and chance.uniform(self._seed, 11, number, attempt) < stall:
            return Said(504, ttft * slow, ttft * slow + STALL_S, cached)
        return Said(200, ttft * slow, total * slow, cached)

    def cached(self, ask: Ask, now: float) -> int:
        """How many of its tokens the prompt cache holds (OpenAI: from 1,024 on, in steps of 128)."""
        if ask.shared < _LEAST_CACHED or now - self._warm.get(ask.conversation, -inf) > CACHE_S:
            return 0
        return ask.shared // _STEP * _STEP

    def times(self, ask: Ask, number: int, attempt: int, now: float, cached: int) -> tuple[float, float]:
        """Seconds to the first token and to the end, without faults."""
        shape, seed = self.shape, self._seed
        level = exp(shape.drift * (sin(2 * pi * now / 900.0 + seed) + chance.normal(seed, 7, int(now // 60.0)) * 0.5))
        first = chance.lognormal(shape.ttft_ms, shape.ttft_sigma, seed, 8, number, attempt) * level + (ask.input - cached) * shape.prefill_us / 1000.0
        if chance.uniform(seed, 9, number, attempt) < shape.straggler_share:
            first *= shape.straggler_factor
        each = chance.lognormal(shape.tpot_ms, shape.tpot_sigma, seed, 10, number, attempt) * level
        return first / 1000.0, (first + each * max(ask.output - 1, 0)) / 1000.0


class _Bucket:
    """A minute's allowance that refills evenly; 0: no limit."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._level = per_minute
        self._at = 0.0

    def wait_s(self, amount: float, quota: float, now: float) -> float:
        if not self._per_minute:
            return 0.0
        limit = self._per_minute * quota
        self._level = min(limit, self._level + (now - self._at) * limit / 60.0)
        self._at = now
        return max(0.0, min(amount, limit) - self._level) * 60.0 / limit

    def take(self, amount: float) -> None:
        self._level -= amount
