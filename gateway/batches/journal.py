"""What a batch has done so far, on disk as it comes: one file of answers and one of errors, which in the end are the files the client gets.

A line is appended with one write() before it counts as done. The death of the process therefore loses no answer that was received; a power loss can lose
the last second's (`flush`). A line that was cut in the middle is removed when the batch goes on, and its request is sent again.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson

OUTPUT, ERRORS = "output.jsonl", "errors.jsonl"


class Journal:
    """The two files of one batch; made when the batch begins, opened again when it goes on. Blocking, in small amounts.

    `answered` and `failed` count what was sent and came back; `done` has the custom ids of every line in either file.
    """

    def __init__(self, directory: Path) -> None:
        self.answered = 0
        self.failed = 0
        self.done: set[str] = set()
        self.output, self.errors = directory / OUTPUT, directory / ERRORS
        self._dirty = False
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._resume(self.output)
        self._resume(self.errors)
        self._descriptors = {path: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for path in (self.output, self.errors)}

    def answer(self, custom_id: str, line: bytes, *, ok: bool) -> None:
        """Keep the line of a request that was answered."""
        self._append(self.output if ok else self.errors, line)
        self.done.add(custom_id)
        if ok:
            self.answered += 1
        else:
            self.failed += 1

    def give_up(self, custom_id: str, line: bytes) -> None:
        """Keep the line of a request that will not be sent."""
        self._append(self.errors, line)
        self.done.add(custom_id)

    def flush(self) -> None:
        """Make what was appended safe from a power loss."""
        if self._dirty:
            self._dirty = False
            for descriptor in self._descriptors.values():
                os.fdatasync(descriptor)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _append(self, path: Path, line: bytes) -> None:
        self._dirty = True
        view = memoryview(line)
        descriptor = self._descriptors[path]
        begin = os.fstat(descriptor).st_size
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            os.ftruncate(descriptor, begin)
            raise

    def _resume(self, path: Path) -> None:
        """Learn what is done, and cut off what is not whole."""
        if not path.exists():
            return
        good = 0
        with path.open("rb") as file:
            for line in file:
                try:
                    entry = orjson.loads(line)
                    custom_id = entry["custom_id"]
                except (orjson.JSONDecodeError, TypeError, KeyError):
                    break
                if not line.endswith(b"\n"):
                    break
                good += len(line)
                self.done.add(custom_id)
                if entry.get("response") is not None:
                    self.answered += path == self.output
                    self.failed += path == self.errors
        if good < path.stat().st_size:
            os.truncate(path, good)
