"""Engine work that no exchange of ours explains: what vLLM's counters saw in a minute, less what our calls account for. Pure.

Here: when a call's tokens may have been counted, and what is left over. Not here: reading counters (serving/counters.py), paying for it (allocate.py).

vLLM counts a prompt when its prefill is done, and every generated token as it comes. When exactly a call's prefill was done is known for streams
(the first token) and for the others only to lie within the call; near the edge of a minute the count may have been read on either side of it. Whatever may
have been ours is taken to be ours, and a small rest is taken for noise, so that work is called foreign only when it must be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Counters are read this near to the full minute at worst, in seconds.
LAG_S = 1.5
# A rest smaller than this share of what was seen is not told from noise.
NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Tokens:
    """Work in tokens: computed prompt tokens (cached ones cost nothing) and generated tokens. Fractions arise where a call is cut at a minute's edge."""

    prefill: float = 0.0
    decode: float = 0.0

    def weighed(self, decode_weight: float) -> float:
        """In prompt tokens: a generated one costs `decode_weight` of them."""
        return self.prefill + self.decode * decode_weight


@dataclass(frozen=True, slots=True)
class Call:
    """One call to an engine: epoch seconds (`first`: its first token; None: not a stream), and its tokens."""

    started: float
    ended: float
    first: float | None
    tokens: Tokens


def explained(calls: Iterable[Call], window: tuple[float, float], lag_s: float = LAG_S) -> Tokens:
    """The most of the work in `window` (epoch seconds) that these calls can account for."""
    low, high = window[0] - lag_s, window[1] + lag_s
    prefill = decode = 0.0
    for call in calls:
        done = call.ended if call.first is None else min(call.first, call.ended)
        prefill += call.tokens.prefill if call.started <= high and done >= low else 0.0
        begun = call.started if call.first is None else done
        decode += call.tokens.decode * _share(begun, call.ended, low, high)
    return Tokens(prefill, decode)


def unexplained(seen: Tokens, ours: Tokens) -> Tokens:
    """What is left of the work that was seen, kind by kind; nothing where the rest may be noise."""
    return Tokens(_rest(seen.prefill, ours.prefill), _rest(seen.decode, ours.decode))


def _rest(seen: float, ours: float) -> float:
    rest = seen - ours
    return rest if rest > NOISE * seen else 0.0


def _share(start: float, end: float, low: float, high: float) -> float:
    if end <= start:
        return 1.0 if low <= start <= high else 0.0
    return max(min(end, high) - max(start, low), 0.0) / (end - start)
