"""How many requests one process answers at a time, and who waits meanwhile. Who is next is decided in fair_queue.py; here it is waited.

A request that finds a free place takes it: one comparison, one addition. Only where there is none does it queue, and then it leaves the queue for a place,
at its deadline, when another has more right to wait, or the moment its client leaves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from gateway.asgi import ClientGone, Receive
from gateway.body import Bodies
from gateway.drain_rate import DrainRate
from gateway.fair_queue import FairQueue, Priority, Ticket
from router.errors import LimitError

if TYPE_CHECKING:
    from gateway.metrics import Metrics

_Verdict = Literal["in", "full", "late", "gone"]


class _Waiter(Ticket):
    """A ticket whose request waits for `verdict`."""

    __slots__ = ("verdict",)

    def __init__(self, key: str, priority: Priority, verdict: asyncio.Future[_Verdict]) -> None:
        super().__init__(key, priority)
        self.verdict = verdict


class Admission:
    """A bound on requests under way and one on those that wait. What `enter` let in must `leave`. `draining`: the process is about to end."""

    __slots__ = ("_metrics", "_most", "_queue", "_rate", "bodies", "draining", "running")

    def __init__(self, most: int, most_waiting: int, metrics: Metrics) -> None:
        self._most = most
        self._queue: FairQueue[_Waiter] = FairQueue(most_waiting)
        self._rate = DrainRate()
        self._metrics = metrics
        self.bodies = Bodies()
        self.running = 0
        self.draining = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def resize(self, most: int, most_waiting: int) -> None:
        """Take other bounds into force. Nobody who is in or waits is sent away for it."""
        self._most, self._queue.bound = most, most_waiting
        self._fill()

    async def enter(self, key: str, priority: Priority, within_s: float, receive: Receive) -> float:
        """Let a request in, at the latest after `within_s`: the seconds it waited. `receive` tells that its client left: its body must have been read.

        LimitError 503 `overloaded` with the time the queue takes, or ClientGone.
        """
        if self.running < self._most:
            self.running += 1
            return 0.0
        return await self._wait(key, priority, within_s, receive)

    def leave(self) -> None:
        """Give the place back; it is the next one's at once."""
        self.running -= 1
        if self._queue:
            self._fill()

    def _fill(self) -> None:
        while self.running < self._most:
            waiter = self._queue.take()
            if waiter is None:
                return
            if waiter.verdict.done():
                continue  # its task was cancelled in this very turn
            self.running += 1
            self._rate = self._rate.observe(asyncio.get_running_loop().time())
            waiter.verdict.set_result("in")

    async def _wait(self, key: str, priority: Priority, within_s: float, receive: Receive) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiter = _Waiter(key, priority, loop.create_future())
        out = self._queue.offer(waiter)
        if out is waiter:
            raise self._shed(priority, "full")
        if out is not None and not out.verdict.done():
            out.verdict.set_result("full")
        timer = loop.call_later(within_s, self._end, waiter, "late")
        watcher = loop.create_task(self._watch(waiter, receive))
        try:
            verdict = await waiter.verdict
        except asyncio.CancelledError:
            if waiter.verdict.cancelled():
                self._queue.remove(waiter)
            elif waiter.verdict.result() == "in":
                self.leave()
            raise
        finally:
            timer.cancel()
            watcher.cancel()
        waited_s = loop.time() - began
        self._metrics.observe("breakeven_queue_seconds", waited_s, priority, verdict)
        if verdict == "in":
            return waited_s
        if verdict == "gone":
            raise ClientGone
        raise self._shed(priority, verdict)

    async def _watch(self, waiter: _Waiter, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._end(waiter, "gone")

    def _end(self, waiter: _Waiter, verdict: _Verdict) -> None:
        if self._queue.remove(waiter) and not waiter.verdict.done():
            waiter.verdict.set_result(verdict)

    def _shed(self, priority: Priority, why: Literal["full", "late"]) -> LimitError:
        self._metrics.count("breakeven_shed_requests", priority, why)
        wait_s = self._rate.wait_s(len(self._queue) + 1, asyncio.get_running_loop().time())
        said = "as many wait as may" if why == "full" else "this request has waited as long as an answer could still have been of use"
        message = f"The gateway is answering as many requests as it can, and {said}; try again in {wait_s:.0f} s."
        return LimitError(message, retry_after_s=wait_s, status=503, code="overloaded")
