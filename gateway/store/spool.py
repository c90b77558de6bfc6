"""The write-ahead half of the ledger: each worker process appends what it admits and settles to files of its own.

Here: writing, rotation, the backlog limit, what happens when the disk refuses. Not here: the record format (records.py), file names and locks
(segments.py), reading and the database (ingest.py).

`admit` comes before anything is done for a request; when it raises, the request must not be served. `settle` never raises for a full or broken disk:
the record is kept in memory, tried again by every later call, and admissions stop until it is written. Records are with the kernel when the call returns,
so the death of the process loses nothing; `together` makes one write() of several. `fsync=True` also survives a power loss, at the price of the disk's flush.
Belongs to one thread (the worker's event loop), and is made after the fork.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from gateway.store import records, segments
from gateway.store.captures import Capture
from gateway.store.drift import Sample
from gateway.store.responses import Stored
from router.errors import LedgerError
from router.types import Decision, Exchange

log = logging.getLogger("breakeven.ledger")

DEFAULT_MAX_BACKLOG_BYTES = 512 * 1024 * 1024
ROTATE_BYTES = 8 * 1024 * 1024
# Records that one write() takes.
_MOST_TOGETHER = 64


class Spool:
    """One worker's spool. `worker` names the process for people (letters, digits, - and _); a restarted worker is a new generation."""

    def __init__(self, directory: Path, worker: str, max_backlog_bytes: int = DEFAULT_MAX_BACKLOG_BYTES, *, fsync: bool = False) -> None:
        if not segments.WORKER_NAME.fullmatch(worker):
            raise ValueError(f"worker name {worker!r}: use letters, digits, - and _")
        self.generation = f"{worker}.{secrets.token_hex(6)}"
        self._directory = directory
        self._max_backlog = max_backlog_bytes
        # A quarter, so that the file being written, which is never deleted, cannot fill the backlog by itself.
        self._rotate_at = min(ROTATE_BYTES, max_backlog_bytes // 4)
        self._fsync = fsync
        self._sequence = 0
        self._older: dict[Path, int] = {}
        self._pending: deque[bytes] = deque()
        self._known: set[str] = set()
        self._torn = self._held = False
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._path, self._file = segments.create(directory, self.generation, 0, records.header(), fsync=fsync)
        except OSError as error:
            raise LedgerError(f"the ledger cannot write to {directory}: {error.strerror or error}; make it writable and free some space") from error
        self._size = len(records.header())

    @property
    def backlog_bytes(self) -> int:
        """Bytes in this worker's files, as far as it has seen them deleted by the ingester."""
        return self._size + sum(self._older.values())

    @property
    def pending(self) -> int:
        """Settled records that the disk has not taken yet."""
        return len(self._pending)

    def admit(self, exchange_id: str, time: float, route: str | None, endpoint: str, key_id: str | None) -> None:
        """Write ahead that a request is let in. Raises LedgerError: the request must be refused (503)."""
        if self._pending and self.flush():
            raise LedgerError("the ledger's disk does not take records: free some space or repair it")
        if self.backlog_bytes > self._max_backlog:
            self._recount()
            if self.backlog_bytes > self._max_backlog:
                raise LedgerError(
                    f"the ledger's spool is full ({self.backlog_bytes} bytes wait for the database); see why the controller does not ingest them",
                    code="ledger_full",
                )
        try:
            self._append(records.admit(records.Admit(exchange_id, time, route, endpoint, key_id)))
            self._sync()
        except OSError as error:
            raise LedgerError(f"the ledger's disk does not take records: {error.strerror or error}; free some space or repair it") from error

    def settle(self, exchange: Exchange, decision: Decision | None = None, capture: Capture | None = None) -> None:
        """Write the one outcome of an admitted request. A capture must be redacted already (captures.redacted)."""
        self._keep(records.settle(exchange, decision, capture))

    def snapshot(self, digest: str, body: Mapping[str, object]) -> None:
        """Keep a decision's slow-moving input, once per digest; call it before the first settle whose decision names the digest."""
        if digest not in self._known:
            self._known.add(digest)
            self._keep(records.snapshot(digest, body))

    def measured(self, sample: Sample) -> None:
        """Write what was measured of a settled request for drift."""
        self._keep(records.measured(sample))

    def keep(self, item: Stored) -> None:
        """Write a stored answer of /v1/responses, before its client has all of it."""
        self._keep(records.stored(item))

    @contextmanager
    def together(self) -> Generator[None, None, None]:
        """What is settled inside is written when it is left, in as few write() as it takes. Nothing in it may wait, and nothing be admitted."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.flush()

    def flush(self) -> int:
        """Try again to write what the disk refused; how many records are still in memory. Nothing to do in the normal case."""
        while self._pending:
            some = list(islice(self._pending, _MOST_TOGETHER))
            try:
                self._append(some[0] if len(some) == 1 else b"".join(some))
            except OSError as error:
                log.error("the ledger's disk refuses records, %d wait in memory: %s", len(self._pending), error)  # noqa: TRY400 - the errno says it all
                return len(self._pending)
            for _ in some:
                self._pending.popleft()
        try:
            self._sync()
        except OSError as error:
            # The record is in the kernel's hands; only the promise about power losses cannot be kept.
            log.error("the ledger's disk does not flush: %s", error)  # noqa: TRY400
        return 0

    def close(self) -> None:
        """Write what is pending and let the ingester finish these files. Raises LedgerError when records are lost with this process."""
        lost = self.flush()
        os.close(self._file)
        if lost:
            raise LedgerError(f"{lost} ledger records could not be written before the process ended; their requests will show as interrupted")

    def _keep(self, line: bytes) -> None:
        self._pending.append(line)
        if not self._held:
            self.flush()

    def _append(self, lines: bytes) -> None:
        data = b"\n" + lines if self._torn else lines
        try:
            segments.write_whole(self._file, data)
        except OSError:
            self._cut_back(data)
            raise
        self._torn = False
        self._size += len(data)
        if self._size >= self._rotate_at:
            self._rotate()

    def _sync(self) -> None:
        if self._fsync:
            os.fdatasync(self._file)

    def _cut_back(self, data: bytes) -> None:
        """Remove a half-written record. The ingester reads whole lines: it has not taken that one, but perhaps those before it, which stay and are done."""
        size = self._size
        try:
            size = os.fstat(self._file).st_size
            whole = data.rfind(b"\n", 0, size - self._size) + 1
            for _ in range(data.count(b"\n", 0, whole) - self._torn):
                self._pending.popleft()
            self._torn = self._torn and not whole
            self._size += whole
            os.ftruncate(self._file, self._size)
        except OSError:
            # The next record starts on a line of its own, and the ingester reports the damaged one.
            self._torn, self._size = True, size

    def _rotate(self) -> None:
        try:
            path, descriptor = segments.create(self._directory, self.generation, self._sequence + 1, records.header(), fsync=self._fsync)
        except OSError as error:
            log.warning("the ledger goes on in its old file, a new one cannot be made: %s", error)
            return
        os.close(self._file)
        self._older[self._path] = self._size
        self._path, self._file = path, descriptor
        self._sequence += 1
        self._size = len(records.header())

    def _recount(self) -> None:
        self._older = {path: size for path, size in self._older.items() if path.exists()}
