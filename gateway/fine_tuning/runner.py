"""Which jobs have a process: the controller's duty. Starts one for each job that needs it, sees how it ends, tries again, brings what was trained into service.

One per data directory, held by a lock. A process lives below a guard, so that it ends (with a checkpoint) when the controller does, whatever ends that; the
next controller waits for what is left and goes on. Not here: training (training/job.py), the way into the engine (ending.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from gateway.batches.supervisor import only_one
from gateway.config.models import Config
from gateway.fine_tuning import ending, webhook
from gateway.store import fine_tuning, job_files
from gateway.store.fine_tuning import Job
from serving import leftovers
from serving.database import reading, writing
from serving.process import Server

log = logging.getLogger("breakeven.fine_tuning")

# Deaths in a row without a step further; then something is wrong that trying again does not mend.
MOST_FAILURES = 5
# A process that is asked to end saves a checkpoint first; a 7B adapter is written in seconds.
GRACE_S = 60.0
# Reading files needs no GPU: so many jobs may do it while one trains.
_READERS = 2
_LONGEST_PAUSE_S = 60.0
_BUSY_S = 2.0
_INTERRUPTED = (130, 143)


@dataclass(slots=True)
class _Running:
    server: Server
    task: asyncio.Task[int]


@dataclass(slots=True)
class Trainer:
    """`once` again and again, `close` at the end: jobs under way save a checkpoint, and the next process goes on."""

    database: Engine
    clock: Callable[[], float]
    environ: Mapping[str, str]
    _running: dict[str, _Running] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _lock: int | None = None

    async def once(self, config: Config) -> None:
        """Look, and do what is to be done. StateError while another process has this directory's jobs."""
        if self._lock is None:
            root = job_files.root(config.server.data_dir)
            self._lock = await asyncio.to_thread(only_one, root, "the fine-tuning jobs")
            for record in root.glob(f"*/{job_files.RECORD}"):
                said = await asyncio.to_thread(leftovers.sweep, record, GRACE_S)
                if said is not None:
                    log.warning("a training process of an earlier run was waited for")
        ended = {job_id: each.task.result() for job_id, each in self._running.items() if each.task.done()}
        jobs = await asyncio.to_thread(self._look, config, ended)
        for job_id in ended:
            del self._running[job_id]
        now = self.clock()
        ready = [job for job in jobs if max(job.retry_at or 0.0, self._not_before.get(job.id, 0.0)) <= now]
        for job in choose(ready, [job for job in jobs if job.id in self._running]):
            await self._start(config, job)
        await self._announce(config, now)

    async def close(self) -> None:
        """End the processes: they save, and go on with the next controller."""
        await asyncio.gather(*(each.server.stop() for each in self._running.values()))
        await asyncio.gather(*(each.task for each in self._running.values()))
        self._running.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _start(self, config: Config, job: Job) -> None:
        work, section = job_files.work(config.server.data_dir, job.id), config.training
        argv = [section.python or sys.executable, "-m", "breakeven", "train", "--job", job.id, "--json", "-c", str(config.source)]
        server = await Server.start(argv, dict(section.env), work / job_files.RECORD, work / job_files.LOG, GRACE_S)
        self._running[job.id] = _Running(server, asyncio.create_task(server.wait(), name=f"job {job.id}"))

    def _look(self, config: Config, ended: Mapping[str, int]) -> list[Job]:
        now = self.clock()
        with reading(self.database) as conn:
            found = fine_tuning.unfinished(conn)
        for job in found:
            if job.id in ended:
                self._ended(config, job, ended[job.id], now)
            elif job.status == "loading" and job.id not in self._running:
                ending.finish(self.database, config, job, self.environ, now)
        self._sweep(config, {job.id for job in found}, set(self._running) - set(ended), now)
        with reading(self.database) as conn:
            return [job for job in fine_tuning.unfinished(conn) if job.status in fine_tuning.WORK or job.id in self._running]

    def _ended(self, config: Config, job: Job, code: int, now: float) -> None:
        """A process ended. What it says is in the database; a job that it left in the middle is tried again."""
        self._not_before[job.id] = now + (_BUSY_S if code == 0 else 0.0)
        if code == 0 or code in _INTERRUPTED or job.status not in fine_tuning.WORK:
            return
        reason = why(code, self._tail(config, job))
        failures, pause = job.failures + 1, min(2.0**job.failures, _LONGEST_PAUSE_S)
        with writing(self.database) as conn:
            if failures >= MOST_FAILURES:
                message = f"The job failed: its process ended {failures} times without getting further; the last time {reason}"
                fine_tuning.move(conn, job.id, "failed", now, error={"code": "server_error", "message": message, "param": None}, failures=failures)
                fine_tuning.say(conn, job.id, message, now, "error")
                return
            fine_tuning.put(conn, job.id, failures=failures, retry_at=now + pause)
            said = f"The training process ended ({reason}); it goes on from its last checkpoint in {pause:g} s (try {failures + 1} of {MOST_FAILURES})"
            fine_tuning.say(conn, job.id, said, now, "warn")

    def _tail(self, config: Config, job: Job) -> str:
        try:
            lines = (job_files.work(config.server.data_dir, job.id) / job_files.LOG).read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""

    def _sweep(self, config: Config, unfinished: set[str], running: set[str], now: float) -> None:
        """What ended jobs leave on the disk; a process that has not seen yet that its job ended keeps it for that long."""
        root = job_files.root(config.server.data_dir)
        for entry in root.iterdir():
            if entry.is_dir() and entry.name not in unfinished and entry.name not in running:
                with reading(self.database) as conn:
                    job = fine_tuning.get(conn, entry.name)
                if job is not None and job.status in fine_tuning.ENDS:
                    ending.clear(self.database, config, job, now)

    async def _announce(self, config: Config, now: float) -> None:
        hook = config.training.webhook
        for job in await asyncio.to_thread(self._to_announce, now):
            problem = None if hook is None else await webhook.send(hook, job, now)
            tries = job.webhook_tries + 1
            later = None if problem is None else webhook.next_try(tries, now)
            if problem is not None:
                log.warning("the webhook about %s was not taken (try %d of %d): %s", job.id, tries, webhook.MOST_TRIES, problem)
            await asyncio.to_thread(self._announced, job, later, tries)

    def _to_announce(self, now: float) -> list[Job]:
        with reading(self.database) as conn:
            return fine_tuning.to_announce(conn, now)

    def _announced(self, job: Job, later: float | None, tries: int) -> None:
        with writing(self.database) as conn:
            fine_tuning.put(conn, job.id, webhook_at=later, webhook_tries=tries)


def choose(ready: Sequence[Job], running: Sequence[Job]) -> list[Job]:
    """Which jobs get a process now: files are read beside everything else, but one job trains at a time, the one that has begun before the next."""
    busy = {job.id for job in running}
    waiting = [job for job in ready if job.id not in busy and job.status in fine_tuning.WORK]
    readers = [job for job in waiting if job.status == "validating_files"][: max(0, _READERS - sum(job.status == "validating_files" for job in running))]
    if any(job.status in {"queued", "running"} for job in running):
        return readers
    trainers = sorted((job for job in waiting if job.status != "validating_files"), key=lambda job: (job.status != "running", job.created_at))
    return [*readers, *trainers[:1]]


def why(code: int, last: str) -> str:
    """How a process ended, in words."""
    if code > 128:
        number = code - 128
        return f"it was killed by signal {number}" + (", which is what a machine without memory does: use a smaller batch_size, or nf4" if number == 9 else "")
    return f"exit code {code}" + (f": {last}" if last else "")
