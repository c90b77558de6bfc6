"""Two candidates at once, before the first byte: where the first takes too long, the next is called beside it; who answers first wins, the other is cut off.

Each call has a task and a guard of its own; the exchange's task only waits for them, and none of them outlives `race`. Not here: whether it is worth its
dollars (router.hedge), one candidate (attempt.py), failing over (exchange.py).
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Literal

from gateway.asgi import ClientGone
from gateway.attempt import Failed, attempt, end, lost, predicted_ms
from gateway.budget import expected, reserve
from gateway.call import Call
from gateway.guard import Guard, Reason
from gateway.run import Run
from router.errors import UpstreamTimeout
from router.hedge import Purse, correct, earn, may_hedge, pay

_EMPTY = Purse()
LOST: Literal["hedge_lost"] = "hedge_lost"


def delay_ms(run: Run) -> float | None:
    """After how long without a first byte the exchange is hedged; None: it is not. It has a second candidate."""
    config = run.plan.hedge
    if config is None or run.plan.pinned or run.decision is None:
        return None
    if config.after_ms != "p95":
        return config.after_ms
    return run.gateway.fleet.board.p95_ms(run.decision.order[0], predicted_ms(run, run.decision.order[0]), stream=run.ask.stream)


async def race(run: Run, guard: Guard, order: tuple[str, ...], wait_ms: float) -> Call | Failed | None:
    """As `attempt` for the first of `order`; when it has not answered after `wait_ms`, another of `order` is called too. The winner is the last of `run.calls`.

    A hedge never makes it worse: when it fails the first is waited for, and what the first says is final where nothing may follow it.
    """
    began, before = perf_counter(), run.upstream_s
    guard.expect("total", guard.left_ms)
    legs = [_Leg(run, guard, order[0], order[1:])]
    found: Call | Failed | None = None
    cut: Reason | None = LOST
    try:
        await asyncio.wait([legs[0].task], timeout=wait_ms / 1000.0)
        if not legs[0].task.done():
            legs += _second(run, guard, order)
        found = await _first_of(legs)
    except asyncio.CancelledError:
        cut = guard.caught()
        if cut is None:
            raise
        if cut == "client_gone":
            raise ClientGone from None
        found = Failed(_late(began), goes_on=False)
    finally:
        await _stop(guard, legs, cut, began)
        run.upstream_s = before + perf_counter() - began
    _place(run, found, legs)
    return found


def book(run: Run) -> None:
    """Once the exchange is settled: what its calls came to fills the route's purse, and what its hedge came to is taken from it."""
    config, purses, now = run.plan.hedge, run.gateway.fleet.board.purses, run.gateway.clock()
    if config is None or run.plan.pinned:
        return
    purse = purses.get(run.plan.name, _EMPTY)
    purse = earn(purse, sum(call.cost_nanousd or 0 for call in run.calls if call.hedge_nanousd is None), config.spend, now)
    for call in run.calls:
        if call.hedge_nanousd is not None and call.cost_nanousd is not None:
            purse = correct(purse, call.hedge_nanousd, call.cost_nanousd)
    purses[run.plan.name] = purse


class _Leg:
    """One of the calls, as a task."""

    __slots__ = ("guard", "name", "task")

    def __init__(self, run: Run, guard: Guard, name: str, rest: tuple[str, ...], hedge_nanousd: int | None = None) -> None:
        self.name = name
        self.guard: Guard | None = None
        self.task = asyncio.get_running_loop().create_task(self._call(run, guard, rest, hedge_nanousd), name=f"hedged {name}")

    async def _call(self, run: Run, guard: Guard, rest: tuple[str, ...], hedge_nanousd: int | None) -> Call | Failed | None:
        self.guard = guard.leg()
        try:
            return await attempt(run, self.guard, self.name, rest, hedge_nanousd)
        finally:
            self.guard.stop()

    @property
    def found(self) -> Call | Failed | None:
        """What came of it; None while nothing did, and where it was cut off."""
        return None if not self.task.done() or self.task.cancelled() or self.task.exception() is not None else self.task.result()

    def interrupt(self, reason: Reason | None) -> None:
        """Cut it off. None: the server is being stopped."""
        if self.guard is None or reason is None:
            self.task.cancel()
        else:
            self.guard.interrupt(reason)


async def _first_of(legs: list[_Leg]) -> Call | Failed | None:
    """The first that answers, the earlier called one where both just did; else the failure that nothing may follow, else the first's."""
    pending = {leg.task for leg in legs}
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        ended = [leg.task.result() for leg in legs if leg.task.done()]
        for found in ended:
            if isinstance(found, Call):
                return found
        first = legs[0].found
        if isinstance(first, Failed) and not first.goes_on:
            return first
    failed = [leg.found for leg in legs]
    final = (found for found in failed if isinstance(found, Failed) and not found.goes_on)
    return next(final, next((found for found in failed if found is not None), None))


async def _stop(guard: Guard, legs: list[_Leg], reason: Reason | None, began: float) -> None:
    """Cut off whoever is still at it, and wait until they are gone, whatever happens to the exchange meanwhile; then that is raised."""
    for leg in legs:
        if not leg.task.done():
            leg.interrupt(reason)
    again: asyncio.CancelledError | None = None
    while pending := [leg.task for leg in legs if not leg.task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as cancelled:
            again = cancelled
    for leg in legs:
        if not leg.task.cancelled():
            leg.task.exception()  # noted: what the loser ran into is in its call
    if again is None:
        return
    late = guard.caught()
    if late is None:
        raise again
    if late == "client_gone":
        raise ClientGone
    raise _late(began)


def _second(run: Run, guard: Guard, order: tuple[str, ...]) -> list[_Leg]:
    """The hedge, started: the next candidate that is free for it and whose dollars are there. Empty where there is none."""
    now, plan, purses = run.gateway.clock(), run.plan, run.gateway.fleet.board.purses
    live, first = run.gateway.fleet.live(plan, now), plan.backends[order[0]].candidate
    for position, name in enumerate(order[1:], start=1):
        candidate, cost = plan.backends[name].candidate, expected(run, name)
        if not may_hedge(run.features, first, candidate, live[name], now):
            continue
        purse = pay(purses.get(plan.name, _EMPTY), cost, now)
        if purse is not None and reserve(run, name, now):
            purses[plan.name] = purse
            return [_Leg(run, guard, name, order[position + 1 :], cost)]
    return []


def _place(run: Run, found: Call | Failed | None, legs: list[_Leg]) -> None:
    """Put the winner last, let go of the others, and learn how long the first was waited for."""
    for leg in legs:
        other = leg.found
        if isinstance(other, Call) and other is not found:  # it answered in the same moment
            other.error = LOST
            end(run, other)
    if isinstance(found, Call):
        run.calls.remove(found)
        run.calls.append(found)
        run.hedged = found.hedge_nanousd is not None
    for call in run.calls:
        if call.error == LOST and call.hedge_nanousd is None:
            lost(run, call)


def _late(began: float) -> UpstreamTimeout:
    return UpstreamTimeout(f"No candidate answered within {(perf_counter() - began) * 1000.0:.0f} ms", phase="total")
