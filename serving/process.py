"""A vLLM server as a child of a guard (serving/guard.py): start it, learn when it ends, end it. Not here: whether it answers (replica.py)."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from serving import guard

# What the server may take beyond its drain time to leave; then the whole group is killed.
MARGIN_S = 5.0
_TAIL_BYTES = 16_384
_KEPT_LOG_BYTES = 64 << 20


def free_port() -> int:
    """A port that was free a moment ago. If someone takes it first the server ends, and its next start gets another."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """One running server. It ends when the controller does, however that ends: the guard sees the pipe close."""

    def __init__(self, process: asyncio.subprocess.Process, control: int, log: Path) -> None:
        self._process = process
        self._control = control
        self.log = log

    @classmethod
    async def start(cls, argv: Sequence[str], env: Mapping[str, str], record: Path, log: Path, grace_s: float) -> Server:
        """Launch `argv` below a guard, with `env` added to the environment. `record` is the guard's file, `log` takes both outputs."""
        log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(log)
        read, control = os.pipe()
        try:
            command = [sys.executable, "-E", "-S", guard.__file__, str(record), str(log), str(grace_s), str(read), "--", *argv]
            process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **env}, pass_fds=(read,), start_new_session=True, stdin=asyncio.subprocess.DEVNULL
            )
        except BaseException:
            os.close(control)
            raise
        finally:
            os.close(read)
        return cls(process, control, log)

    @property
    def pid(self) -> int:
        """The guard's pid."""
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, once the server and everything it started is gone."""
        return await self._process.wait()

    async def stop(self) -> int:
        """Let answers in flight finish, then end everything. Safe to call twice, and after it ended by itself."""
        if self._control >= 0:  # a signal could reach the guard before it is ready for one; the closed pipe cannot be missed
            os.close(self._control)
            self._control = -1
        return await self._process.wait()

    def tail(self) -> list[str]:
        """The last lines of its log."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()
        except OSError:
            return []


def _rotate(log: Path) -> None:
    """Keep the log of the run before: it says why that one ended."""
    if log.exists():
        old = log.with_suffix(".log.1")
        log.replace(old)
        if old.stat().st_size > _KEPT_LOG_BYTES:
            old.unlink()
