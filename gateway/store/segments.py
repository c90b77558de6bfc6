"""Spool files on disk: their names, their order, and how one process sees that another is dead.

Here: naming, listing, creating, the lock. Not here: what is in them (records.py), when to rotate (spool.py), when to delete (ingest.py).

A **generation** is one life of one worker process; its files are `<worker>.<token>.<sequence>.spool`. The process holds an exclusive flock on its
newest file for as long as it lives, so the kernel says when it died, whatever became of its process id. A file appears under its name only
when it is locked and has its header, and the older file is unlocked only after that: who gets the lock of the newest file holds a dead generation.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(?P<worker>[A-Za-z0-9_-]+)\.(?P<token>[0-9a-f]+)\.(?P<sequence>\d{6,})\.spool")
WORKER_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of one generation."""

    generation: str
    sequence: int
    path: Path

    @property
    def worker(self) -> str:
        """The name the writing process gave itself."""
        return self.generation.split(".", 1)[0]


def listed(directory: Path) -> dict[str, list[Segment]]:
    """The files of each generation, oldest first."""
    found: dict[str, list[Segment]] = {}
    for path in directory.iterdir():
        match = _NAME.fullmatch(path.name)
        if match:
            generation = f"{match['worker']}.{match['token']}"
            found.setdefault(generation, []).append(Segment(generation, int(match["sequence"]), path))
    return {generation: sorted(segments) for generation, segments in sorted(found.items())}


def create(directory: Path, generation: str, sequence: int, head: bytes, *, fsync: bool) -> tuple[Path, int]:
    """Make a file that holds `head` and is locked by this process: its path and its descriptor, open for appending. Raises OSError."""
    path = directory / f"{generation}.{sequence:06d}.spool"
    hidden = directory / f".{path.name}"
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_whole(descriptor, head)
        hidden.rename(path)
        if fsync:
            os.fsync(descriptor)
            _sync_directory(directory)
    except OSError:
        os.close(descriptor)
        hidden.unlink(missing_ok=True)
        raise
    return path, descriptor


def write_whole(descriptor: int, data: bytes) -> None:
    """One write() of all of `data`. Raises OSError, also when the disk took only a part of it (it is full then)."""
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def dead(directory: Path, generation: str) -> bool:
    """Whether the process that wrote this generation is gone. Nothing is written to its files after this has once been true."""
    segments = listed(directory).get(generation, [])
    if not segments or not _unlocked(segments[-1].path):
        return False
    # Between the listing and the lock it may have moved on to a newer file, which is then visible and locked.
    again = listed(directory).get(generation, [])
    return again == segments


def _unlocked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
