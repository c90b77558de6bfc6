"""How fast a batch goes: how many lines at a time, when to wait, which answers are worth another try. Pure; `now` is an argument.

Additive increase, multiplicative decrease: as TCP shares a wire without knowing its width, a batch shares its key's limits and the fleet's capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MOST_AT_ONCE = 16
# An answer that another try may better is asked for so often in all; limits and overload are waited out for as long as the batch has.
MOST_TRIES = 4
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_START = 4.0


class Verdict(Enum):
    """What an answer means for its line."""

    DONE = "done"
    AGAIN = "again"
    LATER = "later"
    REFUSED = "refused"


def judge(status: int, failures: int) -> Verdict:
    """What an answer means after so many failures of the same line before it.

    DONE: keep it, whatever it is. AGAIN: ask once more. LATER: not now, and all go slower. REFUSED: the batch's key opens nothing any more."""
    if status == 401:
        return Verdict.REFUSED  # an upstream's 401 reaches clients as a 502: this one is the gateway's own
    if status in {429, 503}:
        return Verdict.LATER
    if status >= 500 or status == 408:
        return Verdict.AGAIN if failures + 1 < MOST_TRIES else Verdict.DONE
    return Verdict.DONE


def wait_s(times: int, asked_s: float | None = None) -> float:
    """Seconds to wait after so many misses in a row: twice as long each time, or what the answer asks if that is more. Never more than half a minute."""
    return min(max(_FIRST_WAIT_S * 2.0 ** min(times - 1, 16), asked_s or 0.0), _LONGEST_WAIT_S)


@dataclass(slots=True)
class Pace:
    """`share` is what the other running batches leave of all places."""

    share: int = MOST_AT_ONCE
    limit: float = _START
    _refusals: int = 0
    _not_before: float = 0.0

    def free(self, running: int, now: float) -> bool:
        """Whether one more line may be sent."""
        return now >= self._not_before and running < max(1, min(int(self.limit), self.share))

    def went_well(self) -> None:
        """An answer came: a little more at a time."""
        self._refusals = 0
        self.limit = min(float(MOST_AT_ONCE), self.limit + 1.0 / self.limit)

    def slow_down(self, asked_s: float | None, now: float) -> float:
        """Refused for want of room: half as many at a time, and none for so many seconds. Several refusals of one moment count once."""
        if now >= self._not_before:
            self.limit = max(1.0, self.limit / 2.0)
            self._refusals += 1
        wait = wait_s(self._refusals, asked_s)
        self._not_before = max(self._not_before, now + wait)
        return wait
