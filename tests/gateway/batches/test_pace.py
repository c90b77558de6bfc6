"""How fast a batch goes, and what is tried again."""

from __future__ import annotations

import pytest

from gateway.batches.pace import MOST_AT_ONCE, MOST_TRIES, Pace, Verdict, judge, wait_s


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, Verdict.DONE), (400, Verdict.DONE), (404, Verdict.DONE), (401, Verdict.REFUSED), (429, Verdict.LATER), (503, Verdict.LATER)]
    + [(status, Verdict.AGAIN) for status in (408, 500, 502, 504)],
)
def test_what_an_answer_means(status: int, verdict: Verdict) -> None:
    """Limits and overload are waited out for ever, failures are tried a few times."""
    assert judge(status, 0) is verdict
    assert judge(status, MOST_TRIES - 1) is (Verdict.DONE if verdict is Verdict.AGAIN else verdict)


def test_waits() -> None:
    """Twice as long each time or what the answer asks, whichever is more, up to a bound; a day of waiting is no number too large."""
    assert [wait_s(times) for times in (1, 2, 3, 10, 2000)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert [wait_s(2, asked) for asked in (0.0, 0.2, 7.0, 900.0)] == [1.0, 1.0, 7.0, 30.0]


def test_it_quickens_and_slows() -> None:
    """One more at a time after as many good answers as are under way; half as many, once per moment, when there is no room; never more than its share."""
    pace = Pace()
    assert pace.free(3, 0.0)
    assert not pace.free(4, 0.0)
    for _ in range(500):
        pace.went_well()
    assert pace.free(MOST_AT_ONCE - 1, 0.0)
    assert not pace.free(MOST_AT_ONCE, 0.0)
    assert [pace.slow_down(2.0, 0.0) for _ in range(10)] == [2.0] * 10
    assert not pace.free(0, 1.9)
    assert pace.free(MOST_AT_ONCE // 2 - 1, 2.0)
    assert not pace.free(MOST_AT_ONCE // 2, 2.0)
    waits = [pace.slow_down(None, float(moment)) for moment in range(100, 1000, 100)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert pace.free(0, 2000.0)
    assert not pace.free(1, 2000.0)
    pace.went_well()
    assert pace.slow_down(None, 2000.0) == 0.5
    pace.limit, pace.share = 16.0, 2
    assert pace.free(1, 3000.0)
    assert not pace.free(2, 3000.0)
