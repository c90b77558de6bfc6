"""How far the database is behind the spool: bytes, and the age of the oldest record it does not have. Reads only; the offsets are ingest.py's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from gateway.store import records, segments
from gateway.store.tables import spool_offsets

# Where the oldest record's time is looked for: a snapshot, which has none, may come before it.
_LOOK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Backlog:
    """`size` in bytes; `since` is when the oldest record was written, epoch seconds; None: there is none, or it cannot be read."""

    size: int
    since: float | None


def offsets(conn: Connection) -> dict[str, int]:
    """How far each spool file is in the database."""
    return {row.file: row.offset for row in conn.execute(select(spool_offsets))}


def backlog(directory: Path, read: Mapping[str, int]) -> Backlog:
    """What the files of `directory` hold beyond `read`. Blocking."""
    size, times = 0, []
    for found in segments.listed(directory).values():
        for segment in found:
            with suppress(FileNotFoundError):  # the ingester was faster
                offset, end = read.get(segment.path.name, 0), segment.path.stat().st_size
                if end > offset:
                    size += end - offset
                    times.append(_time(segment.path, offset))
    return Backlog(size, min((time for time in times if time is not None), default=None))


def _time(path: Path, offset: int) -> float | None:
    with path.open("rb") as file:
        file.seek(offset)
        lines = file.read(_LOOK_BYTES).split(b"\n")[:-1]
    for line in lines:
        with suppress(ValueError):
            match records.decode(line):
                case records.Admit(time=time):
                    return time
                case records.Settle(exchange=exchange):
                    return exchange.time + exchange.total_ms / 1000.0
                case _:
                    pass
    return None
