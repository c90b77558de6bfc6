"""The race of two calls, tick by tick of the event loop: every order of answers, failures, the client leaving, the deadline and the server stopping.

The calls are scripted here, so that two things can happen in the very same tick; with real sockets see test_hedge.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import hedge
from gateway.asgi import ClientGone
from gateway.attempt import Failed
from gateway.call import Call
from gateway.guard import Guard
from router.errors import UpstreamError, UpstreamTimeout

Outcome = Literal["answers", "fails", "refuses"]
Event = Literal["nothing", "client_gone", "total", "stop"]
CALL = UpstreamError("no", code="upstream_reset")


@dataclass
class Script:
    """What a call does after so many ticks; and how many ticks it takes to clean up when it is cut off."""

    outcome: Outcome
    ticks: int
    cleanup: int


@dataclass
class World:
    first: Script
    second: Script
    event: Event
    at: int
    run: Any = field(default_factory=lambda: SimpleNamespace(calls=[], upstream_s=0.0, hedged=False))

    async def attempt(self, run: Any, guard: Guard, name: str, rest: tuple[str, ...], hedge_nanousd: int | None = None) -> Call | Failed | None:
        script = self.first if hedge_nanousd is None else self.second
        call = Call(SimpleNamespace(candidate=SimpleNamespace(backend=name)), "", 0.0, 0.0, hedge_nanousd=hedge_nanousd)  # type: ignore[arg-type]
        run.calls.append(call)
        try:
            await ticks(script.ticks)
        except asyncio.CancelledError:
            reason = guard.caught()
            await ticks(script.cleanup)
            call.error = reason or "interrupted"
            if reason == "client_gone":
                raise ClientGone from None
            if reason == "total":
                return Failed(UpstreamTimeout("late", phase="total"), goes_on=False)
            raise
        if script.outcome == "answers":
            return call
        call.error = script.outcome
        return Failed(CALL, goes_on=script.outcome == "fails")

    def second_leg(self, run: Any, guard: Guard, order: tuple[str, ...]) -> list[hedge._Leg]:
        return [hedge._Leg(run, guard, "two", (), 7)]


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def play(world: World) -> tuple[object, int]:
    """What came of the race (a result or an exception), and how many cancellations the exchange's task still has on it."""
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    guards: list[Guard] = []

    async def exchange() -> object:
        guard = Guard(receive, 60_000.0)
        guards.append(guard)
        try:
            return await hedge.race(world.run, guard, ("one", "two"), 0.0)
        except (ClientGone, UpstreamError) as error:
            return error
        finally:
            guard.stop()

    task = asyncio.create_task(exchange())
    for _ in range(world.at):
        await asyncio.sleep(0)
    if not task.done() and guards:
        if world.event == "client_gone":
            guards[0].interrupt("client_gone")
        elif world.event == "total":
            guards[0].interrupt("total")
        elif world.event == "stop":
            task.cancel()
    done, _ = await asyncio.wait([task], timeout=30)
    assert done, "the race never ended"
    left = [each.get_name() for each in asyncio.all_tasks() if each.get_name().startswith("hedged")]
    assert left == []
    return ("cancelled" if task.cancelled() else task.result()), task.cancelling()


scripts = st.builds(Script, st.sampled_from(["answers", "fails", "refuses"]), st.integers(0, 14), st.integers(0, 3))


@settings(max_examples=400, deadline=None)
@given(scripts, scripts, st.sampled_from(["nothing", "client_gone", "total", "stop"]), st.integers(1, 20))
def test_every_order_of_events(first: Script, second: Script, event: Event, at: int) -> None:
    """The race always ends; nothing outlives it; there is one winner or one verdict, and every other call says why it has no answer."""
    check(World(first, second, event, at))


def test_every_order_of_ends() -> None:
    """As above, with nothing from outside: every pair of outcomes at every pair of ticks."""
    outcomes: tuple[Outcome, ...] = ("answers", "fails", "refuses")
    both = 0
    for one, two, early, late in product(outcomes, outcomes, range(14), range(5)):
        world = World(Script(one, early, 1), Script(two, late, 1), "nothing", 1)
        check(world)
        both += len(world.run.calls) == 2
    assert both > 300


def check(world: World) -> None:
    """Play it and look at what came of it."""
    first, second, event = world.first, world.second, world.event
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hedge, "attempt", world.attempt)
        patch.setattr(hedge, "_second", world.second_leg)
        patch.setattr(hedge, "end", lambda run, call: None)
        patch.setattr(hedge, "lost", lambda run, call: None)
        found, cancelling = asyncio.run(play(world))
    if isinstance(found, Call):
        assert found.error is None
        assert world.run.calls[-1] is found
        assert all(call.error is not None for call in world.run.calls[:-1])
        assert world.run.hedged == (found.backend.candidate.backend == "two")
    elif isinstance(found, Failed):
        answerers = [script for script in (first, second)[: len(world.run.calls)] if script.outcome == "answers"]
        assert not answerers or first.outcome == "refuses" or event == "total", "a call that would have answered was given up"
        assert all(call.error is not None for call in world.run.calls)
    elif found == "cancelled":
        assert event == "stop"
    else:
        assert isinstance(found, ClientGone if event == "client_gone" else UpstreamTimeout)
        assert cancelling == 0
    if event == "nothing":
        assert isinstance(found, Call | Failed)
        assert cancelling == 0


async def test_a_bug_in_a_call_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no error of an upstream reaches the edge, and the other call is cut off first."""
    world = World(Script("answers", 50, 0), Script("answers", 50, 0), "nothing", 0)

    async def broken(run: Any, guard: Guard, name: str, rest: tuple[str, ...], hedge_nanousd: int | None = None) -> Call | Failed | None:
        if hedge_nanousd is not None:
            raise ZeroDivisionError
        return await world.attempt(run, guard, name, rest)

    monkeypatch.setattr(hedge, "attempt", broken)
    monkeypatch.setattr(hedge, "_second", world.second_leg)

    async def stays() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    guard = Guard(stays, 60_000.0)
    with pytest.raises(ZeroDivisionError):
        await hedge.race(world.run, guard, ("one", "two"), 0.0)
    guard.stop()
    assert [call.error for call in world.run.calls] == ["hedge_lost"]
