"""Deadlines that are far away, for a whole process: nearly all of them are taken back before they come near, so they cost no timer of the event loop.

A sweep looks at them twice a second and tells those whose deadline will have come before the next but one; they set a timer of their own then, which keeps
its time exactly. A timer of the loop, made and cancelled, costs more than all else a request does about its deadlines.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

SWEEP_S = 0.5
# Whoever has a deadline nearer than this may not be seen by a sweep in time.
NEAR_S = 2 * SWEEP_S


class Sleeper(Protocol):
    """Something with a deadline."""

    @property
    def deadline(self) -> float:
        """A time of the loop. It may be moved at any time; to what is near only by who sets a timer at once."""

    def near(self) -> None:
        """The deadline is near: set a timer."""


class Alarm:
    """Belongs to one event loop. What is added must be forgotten."""

    __slots__ = ("_sleepers", "_timer")

    def __init__(self) -> None:
        self._sleepers: set[Sleeper] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, sleeper: Sleeper) -> None:
        """Tell it when its deadline comes near."""
        self._sleepers.add(sleeper)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SWEEP_S, self._sweep, loop)

    def forget(self, sleeper: Sleeper) -> None:
        """It waits for nothing any more."""
        self._sleepers.discard(sleeper)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        until = loop.time() + NEAR_S
        for sleeper in [each for each in self._sleepers if each.deadline <= until]:
            sleeper.near()
        self._timer = loop.call_later(SWEEP_S, self._sweep, loop) if self._sleepers else None
