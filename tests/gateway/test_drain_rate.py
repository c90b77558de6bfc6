"""How long a queue takes, from how fast it went."""

from __future__ import annotations

import pytest

from gateway.drain_rate import DrainRate


def seen(every_s: float, count: int, begin: float = 100.0) -> tuple[DrainRate, float]:
    rate, now = DrainRate(), begin
    for _ in range(count):
        rate = rate.observe(now)
        now += every_s
    return rate, now - every_s


@pytest.mark.parametrize(("every_s", "count"), [(0.1, 50), (0.01, 3000), (2.0, 8), (0.5, 200)])
def test_the_rate_is_the_rate(every_s: float, count: int) -> None:
    """Short or long watched, within a third of the truth."""
    rate, now = seen(every_s, count)
    assert rate.per_second(now) == pytest.approx(1.0 / every_s, rel=0.34)


def test_waits_are_bounded_and_follow_the_queue() -> None:
    """Ten times as many ahead is ten times the wait, from one second to a minute; nothing known is one second; a stall is a minute."""
    rate, now = seen(0.1, 100)
    assert rate.wait_s(200, now) == pytest.approx(10 * rate.wait_s(20, now))
    assert rate.wait_s(1, now) == 1.0
    assert rate.wait_s(10**6, now) == 60.0
    assert rate.wait_s(10, now + 5000.0) == 60.0
    assert DrainRate().wait_s(1000, now) == 1.0
    assert DrainRate().observe(now).wait_s(1000, now) == 1.0


def test_after_a_silence_it_begins_anew() -> None:
    """What was an hour ago says nothing about now."""
    rate, now = seen(0.1, 100)
    assert rate.observe(now + 3600.0) == DrainRate(1.0, now + 3600.0, now + 3600.0)
