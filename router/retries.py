"""The retry budget of one route: how many of its requests may ask a second time where the first was refused for load. Pure, a sliding window.

Only what would hit the same overloaded owner again is counted and limited; another provider or engine is not made worse by a failover (docs/decisions/0011).
"""

from __future__ import annotations

from typing import NamedTuple

WINDOW_S = 10.0
SHARE = 0.2
LEAST = 10


class Window(NamedTuple):
    """Counts of the current window and the one before; the sliding count takes of that the part that is not yet `WINDOW_S` old."""

    number: int = 0
    requests: int = 0
    retries: int = 0
    requests_before: int = 0
    retries_before: int = 0


def on_request(window: Window, now: float) -> Window:
    """After one more request came in."""
    number, requests, retries, requests_before, retries_before = _at(window, now)
    return Window(number, requests + 1, retries, requests_before, retries_before)


def on_retry(window: Window, now: float) -> Window | None:
    """After one more retry; None where the budget is used up: `LEAST`, and `SHARE` of the requests, in any ten seconds."""
    number, requests, retries, requests_before, retries_before = _at(window, now)
    part = 1.0 - (now % WINDOW_S) / WINDOW_S
    if retries + retries_before * part >= LEAST + SHARE * (requests + requests_before * part):
        return None
    return Window(number, requests, retries + 1, requests_before, retries_before)


def _at(window: Window, now: float) -> Window:
    number = int(now // WINDOW_S)
    if number <= window.number:  # a clock that steps back changes nothing
        return window
    if number == window.number + 1:
        return Window(number, 0, 0, window.requests, window.retries)
    return Window(number)
