"""The upstream of the benchmark, a process of its own: answers a small chat at once, streams as fast as its loop turns or one event every 20 ms.

`python -m gateway.bench.upstream` writes its port on stdout and serves until it is killed. It does as little per request as Python allows, for its time counts
in every figure alike; it knows nothing of faults (gateway/sandbox/ does).
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from typing import cast

import httptools
import uvloop
from typing_extensions import override

from gateway.bench import messages

_ANSWER, _HEAD, _END = messages.answer(), messages.stream_head(), messages.stream_end()


class Upstream(asyncio.Protocol):
    """One connection of a gateway, or of a client that asks directly."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._timer: asyncio.Handle | None = None
        self._left = 0
        self._pace_s = self._next = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by httptools: the request is here."""
        body, self._body = self._body, b""
        pace_s = messages.pace_of(body)
        if pace_s is None:
            self._transport.write(_ANSWER)
            return
        self._transport.write(_HEAD)
        self._left, self._pace_s, self._next = messages.CHUNKS, pace_s, self._loop.time() + pace_s
        self._timer = self._loop.call_at(self._next, self._event) if pace_s else self._loop.call_soon(self._event)

    def _event(self) -> None:
        self._transport.write(messages.stamped(time.monotonic_ns() // 1000))
        self._left -= 1
        if not self._left:
            self._timer = None
            self._transport.write(_END)
            return
        self._next += self._pace_s  # of the plan, not of now: a late event does not make the next one late
        self._timer = self._loop.call_at(self._next, self._event) if self._pace_s else self._loop.call_soon(self._event)


async def _serve() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        server = await asyncio.get_running_loop().create_server(Upstream, sock=listening)
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
