"""The numbers behind limits in memory that all workers of a host share: exact among them, however many there are. Implements `gateway.lease.Source`.

A row per account, found by the hash of its name, in a file that is mapped into each worker. What all change (what was spent, a rate's use) is in shared
words, changed under a file lock that the kernel frees when its holder dies; what is under way is in a column per worker, which only that worker writes, so
that its successor can take back what it had reserved when it was killed. With one worker there is no lock.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from pathlib import Path

from router.errors import LimitError

_WORD = 8
_HEAD = 2  # words: rows in use, columns
_NAME = 2
_SHARED = 2
_OWN = 2
_MOST_ROWS = 262_144
# What all calls under way may come to beyond a budget, should every one of them cost what it can at most. docs/decisions/0017-budgets.md has the why.
_LEASE = 20


class Pool:
    """One per process. `make` the file once, before the fork; without a path it is this process's own."""

    def __init__(self, path: Path | None = None, workers: int = 1, me: int = 0) -> None:
        """Open it as worker `me` of `workers`, and take back what an earlier process in this place left reserved. OSError where it cannot be mapped."""
        self._stride = _NAME + _SHARED + _OWN * workers
        self._workers, self._me = workers, me
        self._file = os.open(path, os.O_RDWR) if path is not None else -1
        self._memory = mmap.mmap(self._file, _size(workers))
        self.words = memoryview(self._memory).cast("q")
        self.reals = memoryview(self._memory).cast("d")
        self._lock: AbstractContextManager[object] = _Lock(self._file) if path is not None and workers > 1 else nullcontext()
        self._rows: dict[tuple[int, int], int] = {}
        with self._lock:
            self._look()
            self._take_back()

    def rate(self, name: str) -> RateRow:
        """As `Source.rate`. LimitError 503 when there are more accounts than rows."""
        return RateRow(self, self._row(name))

    def places(self, name: str) -> PlacesRow:
        """As `Source.places`."""
        return PlacesRow(self, self._row(name))

    def purse(self, name: str) -> PurseRow:
        """As `Source.purse`."""
        return PurseRow(self, self._row(name))

    def alone(self) -> AbstractContextManager[object]:
        """As `Source.alone`; not to be nested."""
        return self._lock

    def overspend(self, nanousd: int) -> int:
        """As `Source.overspend`: one twentieth, once for the host."""
        return nanousd // _LEASE

    def close(self) -> None:
        """Give back what is reserved and unmap it."""
        with self._lock:
            self._take_back()
        self.words.release()
        self.reals.release()
        self._memory.close()
        if self._file >= 0:
            os.close(self._file)

    def mine(self, row: int) -> int:
        """The first of this worker's words in a row."""
        return row + _NAME + _SHARED + _OWN * self._me

    def sum(self, row: int, which: int) -> int:
        """The same word of every worker, added up."""
        words, first = self.words, row + _NAME + _SHARED + which
        if self._workers == 1:
            return words[first]
        return sum(words[first + _OWN * each] for each in range(self._workers))

    def _row(self, name: str) -> int:
        digest = blake2b(name.encode(), digest_size=_NAME * _WORD).digest()
        key = (int.from_bytes(digest[:_WORD], "little", signed=True), int.from_bytes(digest[_WORD:], "little", signed=True))
        found = self._rows.get(key)
        if found is not None:
            return found
        with self._lock:
            self._look()
            return self._rows.get(key) or self._append(key)

    def _append(self, key: tuple[int, int]) -> int:
        count = self.words[0]
        if count >= _MOST_ROWS:
            message = (
                f"This gateway keeps no more than {_MOST_ROWS} limits of keys, routes and tags in memory; start `breakeven serve` anew to forget old ones."
            )
            raise LimitError(message, retry_after_s=60.0, status=503, code="overloaded")
        row = _HEAD + count * self._stride
        self.words[row], self.words[row + 1] = key
        self.words[0] = count + 1
        self._rows[key] = row
        return row

    def _look(self) -> None:
        """Take in the rows that other workers made."""
        for number in range(len(self._rows), self.words[0]):
            row = _HEAD + number * self._stride
            self._rows[(self.words[row], self.words[row + 1])] = row

    def _take_back(self) -> None:
        for row in self._rows.values():
            first = self.mine(row)
            self.words[first] = self.words[first + 1] = 0


class _Lock(AbstractContextManager[object]):
    """A lock between processes, free again when its holder dies."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


class RateRow:
    """Shared words: what is used, in real numbers, and as of when. Nothing used is a row of zeros."""

    __slots__ = ("_at", "_pool", "_used")

    def __init__(self, pool: Pool, row: int) -> None:
        self._pool, self._used, self._at = pool, row + _NAME, row + _NAME + 1

    def level(self, per_minute: int, now: float) -> float:
        """As `Rate.level`."""
        reals = self._pool.reals
        used, at = reals[self._used], reals[self._at]
        if now > at:
            used = max(0.0, used - (now - at) * per_minute / 60.0)
            reals[self._used], reals[self._at] = used, now
        return per_minute - used

    def take(self, amount: float, now: float) -> None:
        """As `Rate.take`, right after `level`."""
        reals = self._pool.reals
        reals[self._used] = max(0.0, reals[self._used] + amount)
        reals[self._at] = max(now, reals[self._at])


class PlacesRow:
    """Own word: how many this worker has under way."""

    __slots__ = ("_mine", "_pool", "_row")

    def __init__(self, pool: Pool, row: int) -> None:
        self._pool, self._row, self._mine = pool, row, pool.mine(row)

    def taken(self) -> int:
        """As `Places.taken`."""
        return self._pool.sum(self._row, 0)

    def take(self, more: int) -> None:
        """As `Places.take`."""
        words = self._pool.words
        words[self._mine] = max(0, words[self._mine] + more)


class PurseRow:
    """Shared words: the period's first instant and what was spent in it. Own words: what is reserved, expected and at most."""

    __slots__ = ("_mine", "_pool", "_row", "_since")

    def __init__(self, pool: Pool, row: int) -> None:
        self._pool, self._row, self._mine, self._since = pool, row, pool.mine(row), row + _NAME

    def spent(self, since: int) -> int:
        """As `Purse.spent`."""
        words = self._pool.words
        return words[self._since + 1] if words[self._since] == since else 0

    def reserved(self) -> tuple[int, int]:
        """As `Purse.reserved`."""
        return self._pool.sum(self._row, 0), self._pool.sum(self._row, 1)

    def reserve(self, expected: int, most: int) -> None:
        """As `Purse.reserve`."""
        words, mine = self._pool.words, self._mine
        words[mine] += expected
        words[mine + 1] += most

    def spend(self, since: int, nanousd: int) -> None:
        """As `Purse.spend`. The money is added before the period is named, so that a kill between the two loses the new period's, and only until the ledger
        says it again."""
        words, at = self._pool.words, self._since
        if since > words[at]:
            words[at + 1] = nanousd
            words[at] = since
        elif since == words[at]:
            words[at + 1] += nanousd

    def raise_to(self, since: int, nanousd: int) -> None:
        """As `Purse.raise_to`."""
        if nanousd > self.spent(since):
            self.spend(since, nanousd - self.spent(since))


def make(workers: int) -> int:
    """A fresh file for so many workers, as a descriptor that children inherit: in memory, so that no disk is waited for or can be full. It goes with the last
    of them; what was spent is in the ledger."""
    file = os.memfd_create("breakeven-limits")
    os.ftruncate(file, _size(workers))
    return file


def path_of(file: int) -> Path:
    """Where this process and its children can open it: each for itself, for a lock belongs to who opened it."""
    return Path(f"/proc/self/fd/{file}")


def _size(workers: int) -> int:
    return (_HEAD + _MOST_ROWS * (_NAME + _SHARED + _OWN * workers)) * _WORD
