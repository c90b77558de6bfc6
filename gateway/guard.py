"""What may end an exchange from outside: the client leaving, or a deadline. One timer at most (alarm.py); both reach it as a cancellation. Our own server
calls when a client leaves; for any other way in a task waits for the message that says so.

The exchange asks `guard.reason` when it is cancelled: None means that neither did it (the server is being stopped), so the cancellation goes on.
A call made in a task of its own, beside another (hedge.py), has a guard of its own: a `leg`.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from gateway.alarm import NEAR_S, Alarm
from gateway.asgi import Line, Receive

Phase = Literal["connect", "first_token", "idle", "throughput", "total"]
Reason = Literal["client_gone", "hedge_lost", "connect", "first_token", "idle", "throughput", "total"]


class Guard:
    """Belongs to the task that made it. `expect` sets what is waited for; `stop` must be called, at the latest in a `finally`."""

    __slots__ = ("_alarm", "_line", "_loop", "_phase", "_task", "_timer", "_total", "_watcher", "deadline", "reason", "served")

    def __init__(self, receive: Receive | None, total_ms: float, line: Line | None = None, alarm: Alarm | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a guard watches the task that makes it")
        self._task = task
        self._total = self._loop.time() + total_ms / 1000.0
        self.deadline = self._total
        self._phase: Phase = "total"
        self._timer: asyncio.TimerHandle | None = None
        self._alarm = alarm
        self.reason: Reason | None = None
        self.served = False
        self._line = line
        self._watcher = None if receive is None or line is not None else self._loop.create_task(self._watch(receive))
        if line is not None:
            line.watch(self._left)

    def leg(self) -> Guard:
        """For the current task, which works for the exchange of this guard: the same total, phases of its own, nobody to watch."""
        return Guard(None, self.left_ms, alarm=self._alarm)

    def expect(self, phase: Phase, within_ms: float) -> None:
        """From now on `phase` must pass within so many milliseconds, and never later than the total."""
        self._arm(phase, self._loop.time() + within_ms / 1000.0)

    def extend(self, within_ms: float) -> None:
        """What is waited for has been there and is waited for again, for so many milliseconds from now: at least as long as before."""
        self.deadline = self._loop.time() + within_ms / 1000.0
        if self.deadline >= self._total:
            self.relax()

    def relax(self) -> None:
        """Nothing but the total is waited for (the client is being written to)."""
        self.deadline, self._phase = self._total, "total"

    @property
    def left_ms(self) -> float:
        """Milliseconds until the total deadline; 0 when it has passed."""
        return max(0.0, (self._total - self._loop.time()) * 1000.0)

    def caught(self) -> Reason | None:
        """Call it when cancelled: the reason if this guard did it, and then the task may go on; None if the cancellation is someone else's."""
        if self.reason is None:
            return None
        self._task.uncancel()
        return self.reason

    def rearm(self) -> None:
        """A deadline was handled (another candidate is tried): watch on."""
        self.reason = None
        self.relax()

    def stop(self) -> None:
        """End the watching. Safe to call twice."""
        self.served = True
        if self._line is not None:
            self._line.watch(None)
        if self._watcher is not None:
            self._watcher.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alarm is not None:
            self._alarm.forget(self)

    def near(self) -> None:
        """The deadline is near: a timer of its own keeps it. Called by the alarm."""
        if not self.served and self.reason is None:
            self._set_timer()

    def interrupt(self, reason: Reason) -> None:
        """Cancel the task, for this reason. A second reason before the task has taken note replaces the first, and is no second cancellation."""
        under_way = self.reason is not None
        self.reason = reason
        if not under_way:
            self._task.cancel()

    def _arm(self, phase: Phase, deadline: float) -> None:
        if deadline >= self._total:
            phase, deadline = "total", self._total
        self._phase, self.deadline = phase, deadline
        if self._alarm is not None and deadline > self._loop.time() + NEAR_S:
            self._alarm.add(self)
            return
        self._set_timer()

    def _set_timer(self) -> None:
        # A timer that fires too early looks again, so moving a deadline back costs two assignments; only an earlier one needs a new timer.
        if self._timer is None or self._timer.when() > self.deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self.deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.served or self.reason is not None:
            return
        if self._loop.time() + 0.0005 < self.deadline:
            self._timer = self._loop.call_at(self.deadline, self._tick)
        else:
            self.interrupt(self._phase)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        if not self.served:
            self.interrupt("client_gone")
