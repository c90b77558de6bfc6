"""A bell between the processes of a host: who is rung says so to itself, does what it has to, and answers. One datagram each way.

Metrics use it: the worker that is asked rings the others, so that what it adds up is as of now. A process that does not answer in time is not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

_RING, _DONE = b"ring", b"done"
_SUFFIX = ".bell"


class Bell:
    """One process' bell, a socket in `directory`. `on_ring` is awaited for every ring; it must not raise."""

    def __init__(self, directory: Path, name: str, on_ring: Callable[[], Awaitable[object]]) -> None:
        self._directory = directory
        self._name = name
        self._on_ring = on_ring
        self._waiting: set[str] = set()
        self._answered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._at = -1
        self._socket: socket.socket | None = None

    def hang(self) -> None:
        """Begin to listen. OSError when the directory does not take a socket."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._at = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        (self._directory / f"{self._name}{_SUFFIX}").unlink(missing_ok=True)
        self._socket.bind(self._path(self._name))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._heard, self._socket)

    async def take_down(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            (self._directory / f"{self._name}{_SUFFIX}").unlink(missing_ok=True)
        if self._at >= 0:
            os.close(self._at)
            self._at = -1
        await asyncio.gather(*self._tasks)

    async def ring(self, names: Collection[str], patience_s: float) -> set[str]:
        """Ring these and wait for their answers, at most `patience_s`: who did not answer, those who are not there left out. One ring at a time."""
        self._answered.clear()
        self._waiting = {name for name in names if self._send(_RING, name)}
        if self._waiting:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._answered.wait(), patience_s)
        late, self._waiting = self._waiting, set()
        return late

    def _heard(self, heard: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                said, sender = heard.recvfrom(16)
                name = Path(sender or "").name.removesuffix(_SUFFIX)
                if said == _RING:
                    task = asyncio.get_running_loop().create_task(self._answer(name))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                elif said == _DONE:
                    self._waiting.discard(name)
                    if not self._waiting:
                        self._answered.set()

    async def _answer(self, name: str) -> None:
        await self._on_ring()
        self._send(_DONE, name)

    def _send(self, what: bytes, name: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendto(what, self._path(name))
        except OSError:
            return False  # it is not there, or has so much to do that its queue is full
        return True

    def _path(self, name: str) -> str:
        """By the directory's descriptor: the name of a socket may be no longer than a hundred bytes, a directory's may."""
        return f"/proc/self/fd/{self._at}/{name}{_SUFFIX}"
