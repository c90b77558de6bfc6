"""What the client connections of one server share: their bounds, whether the server drains, and the one clock that ends what takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much and how slowly a client may send. Seconds, bytes, bytes per second."""

    head_bytes: int = 64 * 1024
    headers: int = 100
    pipelined: int = 256
    framing_bytes: int = 64 * 1024
    """Chunk sizes, extensions and trailers beside a body: this much, and eight times the body."""
    head_s: float = 15.0
    """From the first byte of a request to the end of its head, and from connecting to the first byte."""
    body_s: float = 30.0
    least_rate: float = 16 * 1024
    """A body may take `body_s` and then so long as it comes at this rate."""
    keep_alive_s: float = 75.0
    linger_s: float = 5.0
    """How long a closing connection takes what the client still sends, so that the client gets to read why."""
    flush_s: float = 30.0
    """How long a closing connection waits for a client to read what it was sent."""
    sweep_s: float = 1.0


class Watched(Protocol):
    """What the clock looks after."""

    def check(self, now: float) -> None:
        """End what has taken too long at `now`, a time of the loop."""


class Edge:
    """One per server. `draining` says whether answers should end their connections, `refused` counts what the application never sees, by error code."""

    __slots__ = ("_lines", "_lines_of", "_timer", "_watched", "bounds", "draining", "refused")

    def __init__(self, bounds: Bounds, draining: Callable[[], bool], refused: Callable[[str], None]) -> None:
        self.bounds = bounds
        self.draining = draining
        self.refused = refused
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._lines, self._lines_of = b"", list[tuple[bytes, bytes]]()

    def lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Headers that every answer has, as lines. uvicorn makes a new list when it changes them, once a second."""
        if headers is not self._lines_of:
            self._lines, self._lines_of = b"".join(b"%b: %b\r\n" % pair for pair in headers), headers
        return self._lines

    def watch(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> None:
        """Look after a connection until it is forgotten."""
        self._watched.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self.bounds.sweep_s, self._sweep, loop)

    def forget(self, connection: Watched) -> None:
        """It is closed."""
        self._watched.discard(connection)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._watched):
            connection.check(now)
        self._timer = loop.call_later(self.bounds.sweep_s, self._sweep, loop) if self._watched else None
