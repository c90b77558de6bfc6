"""Loops that outlive their errors: run something again and again; when it raises, say so, wait, go on. The task supervisor of the controller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger("breakeven.controller")
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Loop:
    """`work` is called, then again `every_s` seconds after it ended. After an error the pause doubles, up to LONGEST_PAUSE_S, until it works again."""

    name: str
    work: Callable[[], Awaitable[object]]
    every_s: float


async def keep(loop: Loop, stop: asyncio.Event) -> None:
    """Run one loop until `stop`. Errors are logged, each kind once in a row, and never leave."""
    pause, last = loop.every_s, ""
    while not stop.is_set():
        try:
            await loop.work()
        except Exception as error:  # one failing loop must not stop the others
            said = f"{type(error).__name__}: {error}"
            pause = min(max(2 * pause, 0.1), LONGEST_PAUSE_S)
            if said != last:
                log.warning("%s failed and is tried again in %.1f s: %s", loop.name, pause, said, exc_info=error)
            last = said
        else:
            if last:
                log.warning("%s works again", loop.name)
            pause, last = loop.every_s, ""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
