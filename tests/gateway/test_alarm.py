"""Deadlines that are far away: seen by a sweep in time, kept exactly, and forgotten when they are taken back."""

from __future__ import annotations

import asyncio

from gateway import alarm
from gateway.alarm import Alarm
from gateway.guard import Guard, Reason


async def waits(guard: Guard) -> Reason | None:
    try:
        await asyncio.sleep(30.0)
    except asyncio.CancelledError:
        return guard.caught()
    return None


async def test_a_far_deadline_is_kept() -> None:
    """A deadline beyond what is near needs no timer when it is set, and still interrupts when it has come, not before."""
    bell, loop = Alarm(), asyncio.get_running_loop()
    guard, began = Guard(None, 60_000.0, alarm=bell), loop.time()
    guard.expect("idle", (alarm.NEAR_S + 0.2) * 1000.0)
    assert guard._timer is None
    assert await waits(guard) == "idle"
    assert loop.time() - began >= alarm.NEAR_S + 0.19
    guard.stop()


async def test_a_deadline_that_comes_nearer_is_kept() -> None:
    """After a timer of its own was moved far back, a deadline in between is still seen: the timer that is there is too late for it."""
    bell = Alarm()
    guard = Guard(None, 60_000.0, alarm=bell)
    guard.expect("first_token", 20.0)
    guard.relax()
    await asyncio.sleep(0.05)  # the timer looked, and goes for the total now
    guard.expect("idle", (alarm.NEAR_S + 0.1) * 1000.0)
    assert await waits(guard) == "idle"
    guard.stop()


async def test_a_near_deadline_has_its_own_timer() -> None:
    """What the sweep could come too late for does not wait for it."""
    guard = Guard(None, 60_000.0, alarm=Alarm())
    guard.expect("first_token", 10.0)
    assert await waits(guard) == "first_token"
    guard.stop()


async def test_what_is_stopped_is_forgotten() -> None:
    """A sweep wakes nobody who has stopped, keeps nothing of it, and itself ends when there is nothing left to look at."""
    bell = Alarm()
    guard = Guard(None, 60_000.0, alarm=bell)
    guard.expect("idle", 20_000.0)
    assert bell._sleepers == {guard}
    assert bell._timer is not None
    guard.stop()
    assert not bell._sleepers
    await asyncio.sleep(alarm.SWEEP_S + 0.1)
    assert bell._timer is None
    assert guard.reason is None
