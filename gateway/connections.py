"""The connections of this process to one origin: opened on demand, kept while they are fresh, taken again last in first out.

Not here: what is said over a connection (http1.py), whether a call is repeated (upstream.py).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

import aiohappyeyeballs

from gateway.http1 import Connection
from router.errors import UpstreamError, UpstreamTimeout

# Shorter than the keep-alive of the usual servers (uvicorn's 5 s is the exception that upstream.py's one repeat is for).
KEEP_ALIVE_S = 30.0
# A name is looked up again after this, so that a provider may move.
_LOOKUP_S = 30.0
# Another address of the same name is tried beside the first one after this (RFC 8305).
_NEXT_ADDRESS_S = 0.25


class Origin:
    """Connections to `scheme://host:port`. Make and use it in one event loop."""

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        self._tls = parts.scheme == "https"
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._addresses: Sequence[aiohappyeyeballs.AddrInfoType] = ()
        self._looked_up = float("-inf")
        self._sweeping: asyncio.TimerHandle | None = None

    def take(self) -> Connection | None:
        """The connection used last, if one is open and free."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.open and now - connection.idle_since < KEEP_ALIVE_S:
                return connection
            connection.abort()
        return None

    async def connect(self, who: str, within_ms: float) -> Connection:
        """A new connection. UpstreamTimeout (phase `connect`) or UpstreamError `upstream_unreachable`, which name `who` and no address."""
        try:
            async with asyncio.timeout(within_ms / 1000.0):
                return await self._connect()
        except TimeoutError as error:
            raise UpstreamTimeout(f"{who} could not be connected to in time", phase="connect") from error
        except ssl.SSLCertVerificationError as error:
            raise UpstreamError(f"{who} cannot be reached: its certificate is not valid ({error.verify_message})", code="upstream_unreachable") from error
        except (OSError, UnicodeError) as error:
            raise UpstreamError(f"{who} cannot be reached", code="upstream_unreachable") from error

    def close(self) -> None:
        """Cut every connection, those in use too."""
        for connection in tuple(self._all):
            connection.abort()
        self._idle.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked_up > _LOOKUP_S:
            self._addresses = await loop.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
            self._looked_up = loop.time()
        connected = await aiohappyeyeballs.start_connection(self._addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context, name = (trust(), self._name) if self._tls else (None, None)
            _, made = await loop.create_connection(lambda: Connection(self._free, self._lost), sock=connected, ssl=context, server_hostname=name)
        except BaseException:
            connected.close()
            raise
        self._all.add(made)
        return made

    def _free(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = loop.call_later(KEEP_ALIVE_S, self._sweep)

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        """Close what nobody has used for long; oldest first, so the rest is fresh."""
        loop = asyncio.get_running_loop()
        stale = [each for each in self._idle if loop.time() - each.idle_since >= KEEP_ALIVE_S]
        self._idle = [each for each in self._idle if each not in stale]
        for each in stale:
            each.abort()
        self._sweeping = loop.call_later(KEEP_ALIVE_S, self._sweep) if self._idle else None


@lru_cache(maxsize=1)
def trust() -> ssl.SSLContext:
    """The system's trust (SSL_CERT_FILE and SSL_CERT_DIR included), HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
