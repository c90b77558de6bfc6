"""The reading half of the ledger: from the workers' spool files into the database, exactly once. The only writer of `spool_offsets` and `open_admits`.

Here: reading whole records, one transaction per piece of a file, what to do with damaged records and with the files of dead workers.
Not here: what a row looks like (exchanges.py and its neighbours), the file format (records.py), what is in a piece of a file (pieces.py).

Exactly once: rows and the offset up to which they were read are committed together, and rows are keyed, so reading a piece twice changes nothing.
A file is deleted when its writer has moved on and all of it is committed. One ingester per directory, held by a lock.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError

from gateway.store import bulk, captures, decisions, drift, exchanges, gpu, pieces, records, responses, segments, shape
from gateway.store.bulk import Writer
from gateway.store.pieces import Piece
from gateway.store.segments import Segment
from gateway.store.tables import open_admits, spool_offsets
from router.errors import LedgerError, StateError
from router.types import Exchange
from serving.database import reading, writing

log = logging.getLogger("breakeven.ledger")

# Some nine hundred requests: other writers wait for SQLite no longer than one such transaction takes.
CHUNK_BYTES = 1024 * 1024
_CURRENT = records.Header(records.FORMAT, shape.EXCHANGE, shape.DECISION)
# What a value raises that the driver, the column or the row cannot hold. Anything else (locked, full, gone) is the database's trouble and is tried again.
_UNSTORABLE = (DataError, IntegrityError, InterfaceError, OverflowError, TypeError)


class Ingester:
    """Moves spool records into the database. Not for concurrent use; `corrupt` and `torn` count since it was made.

    corrupt: records that could not be read or stored; each is kept in `<directory>/corrupt/` and logged as an error.
    on_rows: told of the exchanges of each piece once they are in the database; it must neither raise nor wait.
    torn: unfinished last records of dead workers, which is what a kill leaves behind; their requests were never admitted or show as interrupted.
    """

    def __init__(self, engine: Engine, directory: Path, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.corrupt = 0
        self.torn = 0
        self._engine = engine
        self._directory = directory
        self._chunk_bytes = chunk_bytes
        self._refused: set[str] = set()
        self.on_rows: Callable[[Sequence[Exchange]], None] = _nobody
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory / "ingest.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StateError(f"another process already ingests {directory}; only one may") from error
        with reading(engine) as conn:
            self._offsets = {row.file: row.offset for row in conn.execute(select(spool_offsets))}
            # Other hosts on the same database have spools, and open requests, of their own.
            mine = open_admits.c.generation.in_(list(segments.listed(directory)))
            self._open = {row.id: row.generation for row in conn.execute(select(open_admits.c.id, open_admits.c.generation).where(mine))}

    def close(self) -> None:
        """Let another process ingest."""
        os.close(self._lock)

    @property
    def open(self) -> int:
        """Admitted requests whose outcome is not in the database yet."""
        return len(self._open)

    def run_once(self) -> int:
        """Bring in everything that is whole in the files now: how many exchanges. Raises LedgerError when the database refuses; nothing is lost then."""
        with self._refusals():
            return sum(self._drain(found) for found in segments.listed(self._directory).values())

    def recover(self, alive: Collection[str] = ()) -> int:
        """Finish the generations whose process is gone: how many requests are written off as `interrupted`.

        A generation is finished when its lock is free, unless its worker's name is in `alive` (for file systems without locks). Cheap: call it every second.
        """
        with self._refusals():
            return sum(
                self._bury(generation)
                for generation, found in segments.listed(self._directory).items()
                if found[0].worker not in alive and segments.dead(self._directory, generation)
            )

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            raise LedgerError(f"the database refuses the ledger ({error.orig}); its rows stay in {self._directory} and are tried again") from error

    def _bury(self, generation: str) -> int:
        # Listed again: what it wrote between our last look and its death counts.
        final = segments.listed(self._directory)[generation]
        self._drain(final)
        lost = self._write_off(generation)
        self._finish(final)
        return lost

    def _drain(self, found: Sequence[Segment]) -> int:
        rows = 0
        for segment in found:
            end = segment.path.stat().st_size
            rows += self._read(segment, end)
            if segment is not found[-1]:
                # A newer file was there before this one was read, so nothing more comes here.
                self._finish([segment])
        return rows

    def _read(self, segment: Segment, end: int) -> int:
        rows = 0
        offset = self._offsets.get(segment.path.name, 0)
        if offset >= end:
            return 0
        with segment.path.open("rb") as file:
            header = self._header(segment, file.readline())
            while header is not None and offset < end:
                file.seek(offset)
                content = pieces.whole_lines(file, self._chunk_bytes)
                if not content:
                    break
                offset += len(content)
                with _uncollected():
                    piece = pieces.parse(content, header, offset)
                    self._store(segment, piece)
                    rows += len(piece.lines)
                    del piece
        return rows

    def _header(self, segment: Segment, line: bytes) -> records.Header | None:
        """What the file says of itself; None for a file of a newer version, which is left alone."""
        header = _CURRENT
        with suppress(ValueError):  # a damaged header is counted with the records; the files of this version can be read without
            found = records.decode(line.rstrip(b"\n"))
            header = found if isinstance(found, records.Header) else header
        if header.format <= records.FORMAT:
            return header
        if segment.path.name not in self._refused:
            self._refused.add(segment.path.name)
            log.error("%s was written by a newer version (format %d) and stays as it is; upgrade to ingest it", segment.path, header.format)
        return None

    def _store(self, segment: Segment, piece: Piece) -> None:
        settled = piece.rows.ids
        closed = sorted(self._open.keys() & settled)
        with writing(self._engine) as conn:
            unstorable = _insert(conn, piece)
            self._track(conn, segment.generation, piece.opened, closed)
            conn.execute(delete(spool_offsets).where(spool_offsets.c.file == segment.path.name))
            conn.execute(spool_offsets.insert().values(file=segment.path.name, offset=piece.end))
            self._set_aside(segment, piece.damaged + [piece.lines[n] for n in unstorable])
        self._offsets[segment.path.name] = piece.end
        self._open.update((admit.id, segment.generation) for admit in piece.opened)
        for key in closed:
            del self._open[key]
        self.on_rows(piece.exchanges())

    def _track(self, conn: Connection, generation: str, opened: Sequence[records.Admit], closed: Sequence[str]) -> None:
        for some in bulk.chunks(closed):
            conn.execute(delete(open_admits).where(open_admits.c.id.in_(some)))
        bulk.insert_new(conn, open_admits, [(a.id, generation, a.time, a.route, a.endpoint, a.key_id) for a in opened])

    def _set_aside(self, segment: Segment, lines: Sequence[bytes]) -> None:
        if lines:
            aside = self._directory / "corrupt" / segment.path.name
            aside.parent.mkdir(exist_ok=True)
            with aside.open("ab") as file:
                file.write(b"".join(line + b"\n" for line in lines))
            self.corrupt += len(lines)
            log.error("%d damaged ledger records of %s are kept in %s", len(lines), segment.path.name, aside)

    def _write_off(self, generation: str) -> int:
        mine = [key for key, owner in self._open.items() if owner == generation]
        if mine:
            with writing(self._engine) as conn:
                rows = conn.execute(select(open_admits).where(open_admits.c.generation == generation)).all()
                lost = [exchanges.interrupted(row.id, row.time, row.route, row.endpoint, row.key_id) for row in rows]
                exchanges.insert(conn, lost)
                conn.execute(delete(open_admits).where(open_admits.c.generation == generation))
            log.warning("%d requests were interrupted by the death of worker %s; their costs are unknown", len(mine), generation)
            self.on_rows(lost)
        for key in mine:
            del self._open[key]
        return len(mine)

    def _finish(self, found: Sequence[Segment]) -> None:
        """Delete files that are wholly in the database. The offsets go last: without its file an offset is harmless."""
        done = [segment for segment in found if segment.path.name not in self._refused]
        if not done:
            return
        for segment in done:
            if segment.path.stat().st_size > self._offsets.get(segment.path.name, 0):
                self.torn += 1
                log.warning("%s ends in an unfinished record, as a killed process leaves it", segment.path.name)
            segment.path.unlink()
        with writing(self._engine) as conn:
            conn.execute(delete(spool_offsets).where(spool_offsets.c.file.in_([segment.path.name for segment in done])))
        for segment in done:
            self._offsets.pop(segment.path.name, None)


def _nobody(_rows: Sequence[Exchange]) -> None:
    """Nobody wants to know of new rows."""


def catch_up(engine: Engine, directory: Path) -> None:
    """Bring in what dead workers left, before others begin. Where that cannot be done now, the controller will do it."""
    try:
        ingester = Ingester(engine, directory)
    except (StateError, OSError) as error:
        log.warning("the ledger is not caught up with before the start: %s", error)
        return
    try:
        ingester.run_once()
        ingester.recover()
    except LedgerError as error:
        log.warning("the ledger is not caught up with before the start: %s", error.message)
    finally:
        ingester.close()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Rows are thousands of small tuples in no cycle: looking for cycles among them took a fifth of the time."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def _insert(conn: Connection, piece: Piece) -> list[int]:
    """Store a piece; which of its settles cannot be stored. For those an `interrupted` row stands, so that each admitted request has one."""
    decisions.insert_snapshots(conn, piece.snapshots)
    responses.insert(conn, piece.responses)
    drift.insert_samples(conn, piece.samples)
    kept = decisions.keep_shape(conn, piece.header.decision)
    # Rows that are there already (read twice, after an older database was restored) are refused by the quicker way.
    for into in (bulk.insert_fresh, bulk.insert_new):
        with suppress(*_UNSTORABLE), conn.begin_nested():
            _insert_settles(conn, piece, kept, into)
            return []
    log.warning("a piece of the ledger holds a value that cannot be stored; its %d rows are stored one by one", len(piece.lines))
    unstorable = []
    for number in range(len(piece.lines)):
        try:
            with conn.begin_nested():
                _insert_settles(conn, piece.only(number), kept, bulk.insert_new)
        except _UNSTORABLE:
            unstorable.append(number)
            e = piece.exchanges()[number]
            with suppress(*_UNSTORABLE), conn.begin_nested():
                exchanges.insert(conn, [exchanges.interrupted(e.id, e.time, e.route, e.endpoint, e.key_id)])
    return unstorable


def _insert_settles(conn: Connection, piece: Piece, decision_shape: str, into: Writer) -> None:
    exchanges.insert_rows(conn, piece.rows, into)
    decisions.insert(conn, piece.decisions, decision_shape, into)
    captures.insert(conn, piece.captures)
    gpu.reopen_runs(conn, piece.rows.local)
