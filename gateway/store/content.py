"""The bytes of files on this host's disk: `data_dir/files/<id>`. Written under another name, flushed, renamed: a name that is there is whole.

Here: paths, writing, adopting a finished file, sweeping what nobody knows. Not here: whose a file is and when it expires (files.py), HTTP (gateway/files).
Everything blocks; call it through a thread from async code.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from router.errors import RequestError

# An upload that is interrupted, or a file whose row was never written, is deleted when it has not been touched for so long.
ABANDONED_S = 86_400.0
_CHUNK = 500


def directory(data_dir: Path) -> Path:
    """Where the contents are."""
    return data_dir / "files"


def path(data_dir: Path, identity: str) -> Path:
    """The file of an id that this program made. ValueError for anything that could be another path."""
    if not identity or not all(letter.isalnum() or letter in "-_" for letter in identity):
        raise ValueError(f"{identity!r} is no id")
    return directory(data_dir) / identity


class Incoming:
    """A file that is being written. `keep` it or `discard` it; `most` bytes fit (RequestError 413 beyond)."""

    def __init__(self, data_dir: Path, most: int) -> None:
        self.size = 0
        self._data_dir, self._most = data_dir, most
        place = directory(data_dir) / "incoming"
        self.path = place / secrets.token_hex(12)
        self._descriptor = -1
        with _disk_errors():
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, data: bytes) -> None:
        """Append. RequestError 413 beyond the bound, 507 where the disk is full."""
        self.size += len(data)
        if self.size > self._most:
            raise too_large(self._most)
        with _disk_errors():
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def keep(self, identity: str) -> Path:
        """Make it the content of `identity`, safe from a power loss. The new path."""
        final = path(self._data_dir, identity)
        with _disk_errors():
            os.fsync(self._descriptor)
            self.path.rename(final)
            _flush_directory(final.parent)
        self.discard()
        return final

    def discard(self) -> None:
        """Let go of it; what was not kept is gone. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.path.unlink(missing_ok=True)


def adopt(data_dir: Path, source: Path, identity: str) -> Path:
    """Make a finished file the content of `identity` as well: a second name for the same bytes, or a copy where the disk knows no second names.

    Doing it again changes nothing. `source` stays.
    """
    final = path(data_dir, identity)
    final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with source.open("rb") as file:
        os.fsync(file.fileno())
    second_name(source, final)
    _flush_directory(final.parent)
    return final


def second_name(source: Path, final: Path) -> None:
    """`final` has the bytes of `source`, whichever of the two is deleted first."""
    between = final.with_name(f"{final.name}.{secrets.token_hex(4)}")
    try:
        os.link(source, between)
    except OSError:
        shutil.copyfile(source, between)
    between.replace(final)
    between.unlink(missing_ok=True)  # renaming one name of a file onto another of the same does nothing


def remove(data_dir: Path, identities: Collection[str]) -> None:
    """Delete contents; those that are gone are no error."""
    for identity in identities:
        path(data_dir, identity).unlink(missing_ok=True)


def sweep(data_dir: Path, known: Callable[[Collection[str]], Collection[str]], now: float) -> int:
    """Delete what was abandoned: unfinished files, and finished ones that `known` (given some ids, the ones that have rows) has no row for."""
    place = directory(data_dir)
    if not place.is_dir():
        return 0
    old = [entry for entry in _entries(place) if _untouched_since(entry, now - ABANDONED_S)]
    lost = [entry for entry in old if entry.parent != place]
    named = [entry for entry in old if entry.parent == place]
    for start in range(0, len(named), _CHUNK):
        some = named[start : start + _CHUNK]
        kept = set(known([entry.name for entry in some]))
        lost += [entry for entry in some if entry.name not in kept]
    for entry in lost:
        entry.unlink(missing_ok=True)
    return len(lost)


def too_large(most: int) -> RequestError:
    """The answer for a file beyond the bound."""
    return RequestError(f"The file is too large: it may have {most // (1024 * 1024)} MiB at most.", status=413, code="file_too_large", param="file")


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"The gateway's disk does not take the file ({error.strerror}); ask its operator to free some space."
        raise RequestError(message, status=507, code="insufficient_storage") from error


def _entries(place: Path) -> list[Path]:
    incoming = place / "incoming"
    return [entry for each in (place, incoming) if each.is_dir() for entry in each.iterdir() if entry.is_file()]


def _untouched_since(entry: Path, moment: float) -> bool:
    with suppress(FileNotFoundError):
        return entry.stat().st_ctime < moment
    return False


def _flush_directory(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
