"""One batch from its first state to its last: check the file, send the lines, keep each answer as it comes, make the files.

Whatever ends this process, another one goes on from what is on disk: the database has the state, the journal has the answers. Only lines that were under
way are sent again. Not here: which batches run (supervisor.py), how the files become the client's (ending.py), the way of a line (sender.py).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine

from gateway.batches import answers, pace, sender
from gateway.batches.answers import Answer
from gateway.batches.ending import end, fail
from gateway.batches.frames import Asked, Said
from gateway.batches.journal import Journal
from gateway.batches.lines import Line, Scan, request_of, scan
from gateway.batches.pace import Pace, Verdict
from gateway.store import batches, content, files
from gateway.store.batches import Batch
from router.errors import RequestError, UpstreamError
from serving.database import reading, writing

log = logging.getLogger("breakeven.batches")

_TICK_S = 0.1
_PROGRESS_S = 0.5
# A batch has a day: no latency below that is worth money.
_PATIENT_MS = "86400000"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch works: the database, the data directory, the clock (epoch seconds)."""

    database: Engine
    data_dir: Path
    clock: Callable[[], float]

    def work(self, batch_id: str) -> Path:
        """The batch's own directory."""
        return self.data_dir / "batches" / batch_id


class Runner:
    """Runs one batch. `batch` is the furthest the database said of it (`seen` by the supervisor, or written here); `pace.share` is the supervisor's too."""

    def __init__(self, batch: Batch, place: Place) -> None:
        self.batch = batch
        self.pace = Pace()
        self._place = place
        self._refused: list[dict[str, Any]] | None = None

    async def run(self) -> None:
        """To the end, or until cancelled. OSError and SQLAlchemyError leave everything as it is: run it again."""
        path = await asyncio.to_thread(self._input)
        found = Scan() if path is None else await asyncio.to_thread(scan, path, self.batch.endpoint)
        if self.batch.status == "validating" and not await self._begin(path, found):
            return
        if path is None:
            self.refuse("file_not_found", "The batch's input is not on this host's disk any more.")
        journal = await asyncio.to_thread(Journal, self._place.work(self.batch.id))
        try:
            if self.batch.status == "in_progress" and path is not None:
                todo = [line for line in found.lines if line.custom_id not in journal.done]
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    await _Sending(self, journal, descriptor, todo).run()
                finally:
                    os.close(descriptor)
            left = [line for line in found.lines if line.custom_id not in journal.done]
            await asyncio.to_thread(end, self._place, self.batch, journal, left, self._refused)
        finally:
            journal.close()

    def seen(self, batch: Batch) -> None:
        """What a look at the database found. It may have begun before this runner wrote more: a batch never goes back."""
        if batches.may_follow(self.batch.status, batch.status):
            self.batch = batch

    @property
    def stopping(self) -> bool:
        """Whether no more lines are sent: cancelled, out of time, or the key opens nothing any more."""
        return self.batch.status != "in_progress" or self._refused is not None or self._place.clock() >= self.batch.expires_at

    @property
    def place(self) -> Place:
        """Where it works."""
        return self._place

    def refuse(self, code: str, message: str) -> None:
        """Stop for a reason the client should see."""
        self._refused = [{"code": code, "message": message, "param": None, "line": None}]

    def _input(self) -> Path | None:
        """The batch's own name for its input, so that the client may delete the file meanwhile. None when it is gone."""
        own = self._place.work(self.batch.id) / "input.jsonl"
        if not own.exists():
            try:
                with reading(self._place.database) as conn:
                    source = files.path(conn, self._place.data_dir, self.batch.input_file_id, self._place.clock())
            except RequestError:
                return None
            own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            content.second_name(source, own)
        return own

    async def _begin(self, path: Path | None, found: Scan) -> bool:
        """From `validating` on. False: the file is wrong and the batch has failed."""
        problems = found.problems
        if path is None:
            problems = [
                {"code": "file_not_found", "message": f"The input file {self.batch.input_file_id} was deleted.", "param": "input_file_id", "line": None}
            ]

        def move() -> Batch:
            if problems:
                fail(self._place, self.batch, problems)
            else:
                with writing(self._place.database) as conn:
                    batches.move(conn, self.batch.id, "in_progress", self._place.clock(), total=len(found.lines))
            with reading(self._place.database) as conn:
                return batches.owned(conn, self.batch.id, self.batch.key_id)

        self.batch = await asyncio.to_thread(move)
        return self.batch.status != "failed"


class _Sending:
    """The lines of a batch on their way: `waiting` for their first try, `later` for another (by the loop's time), `running`."""

    def __init__(self, runner: Runner, journal: Journal, descriptor: int, todo: Iterable[Line]) -> None:
        self.runner, self.journal, self.descriptor = runner, journal, descriptor
        self.waiting = deque(todo)
        self.later: list[tuple[float, Line]] = []
        self.running: dict[asyncio.Task[Said | UpstreamError], Line] = {}
        self.failures: dict[int, int] = {}
        self._loop = asyncio.get_running_loop()
        self._shown = (journal.answered, journal.failed)
        self._show_at = 0.0

    async def run(self) -> None:
        """Until every line is answered, or the batch is to stop and none is under way."""
        try:
            while self.running or (not self.runner.stopping and (self.waiting or self.later)):
                if not self.runner.stopping:
                    self._start()
                if self.running:
                    done, _ = await asyncio.wait(self.running, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        self._settle(self.running.pop(task), task.result())
                else:
                    await asyncio.sleep(_TICK_S)
                await self._progress()
        finally:
            for task in self.running:
                task.cancel()
            await asyncio.gather(*self.running, return_exceptions=True)

    def _start(self) -> None:
        now = self._loop.time()
        while self.runner.pace.free(len(self.running), now):
            if self.later and self.later[0][0] <= now:
                line = heapq.heappop(self.later)[1]
            elif self.waiting:
                line = self.waiting.popleft()
            else:
                return
            self.running[self._loop.create_task(self._ask(line))] = line

    async def _ask(self, line: Line) -> Said | UpstreamError:
        batch = self.runner.batch
        _, body = request_of(os.pread(self.descriptor, line.length, line.offset))
        try:
            return await sender.ask(self.runner.place.data_dir, Asked(batch.key_id, batch.endpoint, headers(batch), body))
        except UpstreamError as error:
            return error

    def _settle(self, line: Line, said: Said | UpstreamError) -> None:
        if isinstance(said, UpstreamError):
            self._missed(line, said)
            return
        match pace.judge(said.status, self.failures.get(line.number, 0)):
            case Verdict.DONE:
                self._keep(line, Answer(said.status, said.headers.get("x-request-id", ""), said.body))
                self.runner.pace.went_well()
            case Verdict.AGAIN:
                self._failed(line, said.retry_after_s)
            case Verdict.LATER:
                self._put_off(line, said.retry_after_s)
            case Verdict.REFUSED:
                self.runner.refuse("invalid_api_key", "The key that made this batch was revoked or has expired; its other requests were not sent.")

    def _missed(self, line: Line, error: UpstreamError) -> None:
        """No answer came. A worker that ended may have ended because of this very line, so that is not tried for ever."""
        if error.code == sender.AWAY:
            self._put_off(line, None)
        elif self.failures.get(line.number, 0) + 1 < pace.MOST_TRIES:
            self._failed(line, None)
        else:
            said = {"error": {"message": "The gateway ended each time it had this request.", "type": "server_error", "param": None, "code": "internal_error"}}
            self._keep(line, Answer(500, "", orjson.dumps(said)))

    def _failed(self, line: Line, asked_s: float | None) -> None:
        self.failures[line.number] = failures = self.failures.get(line.number, 0) + 1
        heapq.heappush(self.later, (self._loop.time() + pace.wait_s(failures, asked_s), line))

    def _put_off(self, line: Line, asked_s: float | None) -> None:
        now = self._loop.time()
        heapq.heappush(self.later, (now + self.runner.pace.slow_down(asked_s, now), line))

    def _keep(self, line: Line, answer: Answer) -> None:
        text = answers.answered(self.runner.batch.id, line.number, line.custom_id, answer)
        self.journal.answer(line.custom_id, text, ok=200 <= answer.status < 300)
        self.failures.pop(line.number, None)

    async def _progress(self) -> None:
        """Show how far it is and make it safe, twice a second."""
        counts = (self.journal.answered, self.journal.failed)
        if counts == self._shown or self._loop.time() < self._show_at:
            return
        self._shown, self._show_at = counts, self._loop.time() + _PROGRESS_S

        def write() -> None:
            self.journal.flush()
            with writing(self.runner.place.database) as conn:
                batches.count(conn, self.runner.batch.id, *counts)

        await asyncio.to_thread(write)


def headers(batch: Batch) -> dict[str, str]:
    """What every line is sent with: the batch's wishes, its tag, all the time there is, and the lowest priority."""
    tags = ",".join(part for part in (f"batch={batch.id}", batch.headers.get("x-breakeven-tags")) if part)
    return {"x-breakeven-slo-ms": _PATIENT_MS, "x-breakeven-priority": "low", **batch.headers, "x-breakeven-tags": tags}
