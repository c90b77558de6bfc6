"""One HTTP exchange of the sandbox over ASGI: its body, answers, pauses that notice a client that goes away, and the connection itself where a fault needs it.

A fault must do what no ASGI message can: cut a stream without ending it, reset a connection. The server's transport is therefore taken from the `send` that
uvicorn passes (its bound request cycle holds it); any other server is refused with a sentence.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[str, str]]
MAX_BODY = 64 * 1024 * 1024


class Gone(Exception):
    """The client closed its connection."""


class Ended(Exception):
    """A fault closed the connection on purpose."""


class Call:
    """One request. Use as an async context manager around everything after the body was read."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[None] | None = None

    def header(self, name: str) -> str | None:
        """A request header by its lower-case name."""
        return self._headers.get(name)

    async def body(self) -> bytes:
        """The whole request body. Raises Gone, ValueError when it is larger than 64 MiB."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MAX_BODY:
                raise ValueError("the request body is larger than 64 MiB")
            if not message.get("more_body"):
                return b"".join(parts)

    async def __aenter__(self) -> Call:
        self._watch = asyncio.create_task(self._until_gone())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])

    async def pause(self, seconds: float) -> None:
        """Wait, or raise Gone as soon as the client is."""
        if self._watch is None:
            raise RuntimeError("a Call is a context manager: enter it first")
        if seconds > 0:
            await asyncio.wait([self._watch], timeout=seconds)
        if self._watch.done():
            raise Gone

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes, more: bool = True) -> None:
        """Send some of the body; `more` False ends it."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """A whole answer."""
        await self.start(status, [("content-length", str(len(body))), *headers])
        await self.write(body, more=False)

    async def hang_up(self) -> None:
        """Close the connection after what was sent, without ending the answer. Raises Ended."""
        self._transport().close()
        await self._closed()

    async def reset(self) -> None:
        """Close the connection with a TCP RST: whatever was not read is lost. Raises Ended."""
        transport = self._transport()
        # Linger of zero seconds makes close() send RST instead of FIN.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await self._closed()

    async def _closed(self) -> None:
        """Wait until the server knows, or it would complain that the answer was never completed."""
        if self._watch is not None:
            await asyncio.wait([self._watch], timeout=5)
        raise Ended

    def _transport(self) -> asyncio.Transport:
        transport: asyncio.Transport | None = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is None:
            raise RuntimeError("this fault needs the connection itself: run the sandbox on uvicorn, without middleware")
        return transport

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
