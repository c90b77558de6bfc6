"""Which batches run: looks at the database twice a second, starts and stops runners, shares the places among them. A duty of the controller.

One per data directory, held by a lock: two would send every line twice. Not here: what a runner does (runner.py).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sqlalchemy import Engine

from gateway.batches.pace import MOST_AT_ONCE
from gateway.batches.runner import Place, Runner
from gateway.store import batches
from gateway.store.batches import Batch
from router.errors import StateError
from serving.database import reading

log = logging.getLogger("breakeven.batches")

MOST_RUNNING = 8
# Lines under way of all batches together; the workers take fewer while clients ask.
_PLACES = 32
_LONGEST_PAUSE_S = 60.0


class Batches:
    """`once` again and again, `close` at the end: what was under way is sent again by the next process."""

    def __init__(self, database: Engine, data_dir: Path, clock: Callable[[], float]) -> None:
        self._place = Place(database, data_dir, clock)
        self._runners: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # id -> (seconds to wait after the next failure, not before this instant)
        self._failing: dict[str, tuple[float, float]] = {}
        self._lock: int | None = None

    async def once(self) -> None:
        """Look, and start what should run. StateError while another process has this directory's batches."""
        # before the look: a runner that ends during it still counts as running, or its batch would be started again from what it was before
        self._reap()
        found = await asyncio.to_thread(self._unfinished)
        for batch in found:
            runner = self._runners.get(batch.id)
            if runner is not None:
                runner.seen(batch)
        now = self._place.clock()
        ready = [batch for batch in found if self._failing.get(batch.id, (0.0, 0.0))[1] <= now]
        for batch in choose(ready, self._tasks.keys(), MOST_RUNNING):
            runner = self._runners[batch.id] = Runner(batch, self._place)
            self._tasks[batch.id] = asyncio.create_task(runner.run(), name=f"batch {batch.id}")
        share = max(1, min(MOST_AT_ONCE, _PLACES // max(1, len(self._runners))))
        for runner in self._runners.values():
            runner.pace.share = share

    async def close(self) -> None:
        """Stop all runners; nothing that was answered is lost."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._runners.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _reap(self) -> None:
        for batch_id, task in [(batch_id, task) for batch_id, task in self._tasks.items() if task.done()]:
            del self._tasks[batch_id], self._runners[batch_id]
            error = None if task.cancelled() else task.exception()
            if error is None:
                self._failing.pop(batch_id, None)
                continue
            pause = min(2.0 * self._failing.get(batch_id, (0.5, 0.0))[0], _LONGEST_PAUSE_S)
            self._failing[batch_id] = (pause, self._place.clock() + pause)
            log.error("batch %s stands still and is tried again in %.0f s: %s", batch_id, pause, error, exc_info=error)

    def _unfinished(self) -> list[Batch]:
        first = self._lock is None
        if first:
            self._lock = only_one(self._place.data_dir / "batches", "the batches")
        with reading(self._place.database) as conn:
            found = batches.unfinished(conn)
        if first:
            _sweep(self._place.data_dir / "batches", {batch.id for batch in found})
        return found


def choose(found: Sequence[Batch], running: Collection[str], most: int) -> list[Batch]:
    """Which batches to start, oldest first, so that at most `most` run; a key that has none running comes before one that has."""
    keys = [batch.key_id for batch in found if batch.id in running]
    waiting = [batch for batch in found if batch.id not in running]
    chosen: list[Batch] = []
    while waiting and len(running) + len(chosen) < most:
        following = min(waiting, key=lambda batch: keys.count(batch.key_id))
        waiting.remove(following)
        keys.append(following.key_id)
        chosen.append(following)
    return chosen


def only_one(directory: Path, what: str) -> int:
    """The lock that says who runs what is in a directory: its descriptor, to be closed at the end. StateError while another process has it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StateError(f"another process already runs {what} of {directory}; only one may") from error
    return lock


def _sweep(directory: Path, unfinished: Collection[str]) -> None:
    """What is left of batches that ended: their last step was interrupted after its transaction."""
    for entry in directory.iterdir():
        if entry.is_dir() and entry.name not in unfinished:
            shutil.rmtree(entry, ignore_errors=True)
