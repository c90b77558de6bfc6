"""The detector of a rate: what it finds, how soon, and that it does not find what is not there."""

from __future__ import annotations

import random
from math import log

from router import alarm


def run(rate: float, usual: float, surprise: float, most: int, seed: int) -> int | None:
    """After how many requests it alarms; None: not within `most`."""
    rng, wealth, limit = random.Random(seed), alarm.NOTHING, alarm.threshold(surprise)
    for number in range(1, most + 1):
        wealth = alarm.observe(wealth, rng.random() < rate, usual, limit)
        if alarm.evidence(wealth) >= limit:
            return number
    return None


def test_a_risen_rate_is_found_soon() -> None:
    """From 2 % to 30 % within a hundred requests, from 2 % to 10 % within some hundreds, at a mean run of 10^9 requests without an alarm."""
    assert all((found := run(0.3, 0.02, log(1e9), 200, seed)) is not None and found <= 100 for seed in range(20))
    assert all(run(0.1, 0.02, log(1e9), 1500, seed) is not None for seed in range(10))


def test_a_usual_rate_is_not_found() -> None:
    """With a mean run of at least 2,000 requests, 100 runs of 200 at the highest usual rate alarm in at most a tenth of the cases: it is far fewer."""
    alarms = sum(run(0.1, 0.1, log(2000.0), 200, seed) is not None for seed in range(100))
    assert alarms <= 10


def test_no_bet_gains_while_nothing_has_changed() -> None:
    """Each bet's expected factor is 1 at the highest usual rate and below it under it."""
    from math import exp

    for usual in (0.01, 0.2, 0.6):
        limit = alarm.threshold(20.0)
        up, down = alarm.observe(alarm.NOTHING, True, usual, limit), alarm.observe(alarm.NOTHING, False, usual, limit)
        for gain, loss in zip(up, down, strict=True):
            assert usual * exp(gain) + (1 - usual) * exp(loss) <= 1.0 + 1e-9
            assert usual / 2 * exp(gain) + (1 - usual / 2) * exp(loss) <= 1.0 + 1e-9


def test_what_is_beyond_the_threshold_is_forgotten() -> None:
    """After a thousand events the wealth is hardly above the limit, and some hundreds of good requests bring it down."""
    limit, wealth = alarm.threshold(20.0), alarm.NOTHING
    for _ in range(1000):
        wealth = alarm.observe(wealth, True, 0.05, limit)
    assert alarm.evidence(wealth) <= limit + 5.0
    for _ in range(500):
        wealth = alarm.observe(wealth, False, 0.05, limit)
    assert alarm.evidence(wealth) <= limit / 2


def test_a_rate_of_one_cannot_rise() -> None:
    """Where everything is an event already, nothing is bet."""
    assert alarm.observe((3.0,) * len(alarm.STEPS), True, 1.0, 10.0) == alarm.NOTHING
