"""A detector for a rate that must not rise: looks at every single request, and remembers four numbers. Pure.

An e-detector (Shin, Ramdas and Rinaldo 2022) of CUSUM's form. Each request multiplies a wealth that bets on a higher rate; under any rate up to `usual` no bet
gains on average, so that before N requests it reaches 1 / a with a probability of at most N * a: the mean run to a false alarm is at least 1 / a requests,
whatever happens in between and however often one looks. Four bets, on rates that are 5, 10, 20 and 40 points higher, share the stake.
"""

from __future__ import annotations

from math import log

STEPS = (0.05, 0.10, 0.20, 0.40)
_MOST = 0.99
# What goes beyond the threshold is forgotten, so that a rate which is as usual again is believed within some hundreds of requests.
_BEYOND = 4.0

Wealth = tuple[float, ...]
NOTHING: Wealth = (0.0,) * len(STEPS)


def threshold(surprise: float) -> float:
    """The logarithm of the wealth at which a mean run of exp(surprise) requests without a false alarm ends."""
    return surprise + log(len(STEPS))


def observe(wealth: Wealth, event: bool, usual: float, limit: float) -> Wealth:
    """The logarithms of the wealth after one more request. `usual` is the highest rate that counts as nothing new, `limit` the threshold."""
    if usual >= _MOST:
        return NOTHING
    found = []
    for before, step in zip(wealth, STEPS, strict=True):
        bet = min(_MOST, usual + step)
        gain = log(bet / usual) if event else log((1.0 - bet) / (1.0 - usual))
        found.append(min(limit + _BEYOND, max(0.0, before) + gain))
    return tuple(found)


def evidence(wealth: Wealth) -> float:
    """What is compared with the threshold."""
    return max(0.0, *wealth)
