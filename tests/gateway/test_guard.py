"""What may end an exchange from outside: deadlines and the client leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from gateway.guard import Guard, Reason


class Client:
    """A client that stays until it is told to leave."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def ends(guard: Guard, seconds: float = 5.0) -> Reason | None:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        return guard.caught()
    return None


async def test_a_deadline_interrupts_and_the_task_goes_on() -> None:
    """The reason is the phase that was waited for; after handling it, another can be waited for."""
    guard = Guard(Client().receive, 5000.0)
    guard.expect("first_token", 20.0)
    assert await ends(guard) == "first_token"
    guard.rearm()
    guard.expect("idle", 20.0)
    assert await ends(guard) == "idle"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    guard.stop()


async def test_deadlines_move() -> None:
    """A later deadline needs no new timer, an earlier one is kept; relaxed, only the total counts."""
    guard = Guard(Client().receive, 150.0)
    guard.expect("idle", 30.0)
    await asyncio.sleep(0.015)
    guard.expect("idle", 60.0)
    assert await ends(guard, 0.045) is None
    guard.relax()
    assert await ends(guard, 0.04) is None
    guard.expect("idle", 5.0)
    assert await ends(guard) == "idle"
    guard.stop()


async def test_the_total_is_the_last_word() -> None:
    """No phase may pass it, and then it is the reason."""
    guard = Guard(Client().receive, 30.0)
    guard.expect("first_token", 60_000.0)
    assert 0.0 < guard.left_ms <= 30.0
    assert await ends(guard) == "total"
    assert guard.left_ms == 0.0
    guard.stop()


async def test_a_client_that_leaves() -> None:
    """It interrupts whatever is waited for."""
    client = Client()
    guard = Guard(client.receive, 5000.0)
    asyncio.get_running_loop().call_later(0.01, client.gone.set)
    assert await ends(guard) == "client_gone"
    guard.stop()


class Held:
    """A client whose server calls when it leaves."""

    def __init__(self) -> None:
        self.left: Callable[[], None] | None = None

    def watch(self, left: Callable[[], None] | None) -> None:
        self.left = left

    def push(self, body: bytes) -> bool:
        raise AssertionError("a guard sends nothing")


async def test_a_server_that_calls_needs_no_task() -> None:
    """The client that leaves interrupts; nobody else is asked, no task waits, and once it is stopped the server is not kept waiting for it."""
    line, before = Held(), len(asyncio.all_tasks())
    guard = Guard(Client().receive, 5000.0, line)
    assert len(asyncio.all_tasks()) == before
    assert line.left is not None
    asyncio.get_running_loop().call_later(0.01, line.left)
    assert await ends(guard) == "client_gone"
    guard.stop()
    assert line.left is None


async def test_after_it_is_stopped_nothing_happens() -> None:
    """A client that hangs up after its answer is no event."""
    client = Client()
    guard = Guard(client.receive, 20.0)
    guard.expect("idle", 5.0)
    guard.stop()
    guard.stop()
    client.gone.set()
    assert await ends(guard, 0.05) is None
    assert guard.reason is None


async def test_two_reasons_interrupt_once() -> None:
    """A deadline and a client that leaves at the same moment are one cancellation, and the client is the reason."""
    client = Client()
    guard = Guard(client.receive, 5000.0)
    guard.interrupt("idle")
    client.gone.set()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    assert guard.caught() == "client_gone"
    guard.stop()


async def test_someone_elses_cancellation_is_not_ours() -> None:
    """A server that stops cancels the task: the guard has no reason for it."""

    async def work() -> Reason | None:
        guard = Guard(Client().receive, 5000.0)
        try:
            return await ends(guard)
        finally:
            guard.stop()

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    assert await task is None


async def test_a_leg_has_phases_of_its_own_and_the_same_total() -> None:
    """Its deadline ends its own task and not the other's; the total ends both."""
    client = Client()
    guard = Guard(client.receive, 200.0)
    guard.expect("total", guard.left_ms)

    async def work(within_ms: float) -> Reason | None:
        leg = guard.leg()
        leg.expect("first_token", within_ms)
        try:
            return await ends(leg)
        finally:
            leg.stop()

    early, late = asyncio.create_task(work(20.0)), asyncio.create_task(work(60_000.0))
    assert await early == "first_token"
    assert guard.reason is None
    assert await ends(guard) == "total"
    assert await late == "total"
    guard.stop()


async def test_a_leg_is_interrupted_for_a_reason() -> None:
    """The one it is given, also when its own deadline has just passed: one cancellation."""
    guard = Guard(Client().receive, 5000.0)
    legs: list[Guard] = []

    async def work() -> tuple[Reason | None, int]:
        legs.append(guard.leg())
        reason = await ends(legs[0])
        await asyncio.sleep(0.01)
        task = asyncio.current_task()
        return reason, task.cancelling() if task is not None else -1

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    legs[0].interrupt("first_token")
    legs[0].interrupt("hedge_lost")
    assert await task == ("hedge_lost", 0)
    guard.stop()


def test_a_guard_needs_a_task() -> None:
    """Outside a task there is nothing to interrupt."""
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError):
            Guard(Client().receive, 1.0)
    finally:
        loop.close()
