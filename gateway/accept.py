"""Taking connections, beside the event loop's own server: many in one turn.

uvloop 0.23 accepts one connection a turn. With hundreds of streams under way on a busy machine a turn takes tens of milliseconds, and new clients would wait
for many seconds although whoever is in is served at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

# A turn's worth: enough for any rush, too few to keep those waiting who are in, or to leave nothing of it to the other workers.
_AT_ONCE = 16
# Until then somebody may have let go of a descriptor.
_FULL_S = 0.2
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Accepts from a listening socket in the running loop until `close`; the socket itself stays open. `make` makes the protocol of a connection."""

    __slots__ = ("_listening", "_loop", "_make", "_tasks", "_timer")

    def __init__(self, listening: socket.socket, make: Callable[[], asyncio.BaseProtocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening.dup()  # a descriptor of its own: the loop's server has the other one
        self._listening.setblocking(False)
        self._make = make
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._watch()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listening.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._listening.close()

    def _watch(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _FULL:
                    continue  # that client has left already
                self._loop.remove_reader(self._listening.fileno())
                self._timer = self._loop.call_later(_FULL_S, self._watch)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._take(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()
