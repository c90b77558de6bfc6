"""A TCP proxy between the gateway and a backend that cuts the streams of marked requests in their middle, as a dying provider does."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

MARK = b"Break off."  # scripts/report.py asks it
AFTER = 8  # events of server-sent events that still get through, role and opening events included
LAST = (b'"finish_reason":"', b"[DONE]")  # a busy engine sends many tokens in one event: the end may come before AFTER


@dataclass
class _State:
    """Of one connection: whether its present request is marked, and what came back for it."""

    marked: bool = False
    seen: bytes = b""


class CuttingProxy:
    """Listens on a loopback port of its own, `port`, in a thread; passes every byte on, but for marked streams."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cutting proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0
        self.cut = 0

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._connection, "127.0.0.1", 0), self._loop).result(10)
        self._server, self.port = server, server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state = _State()
        try:
            there_reader, there = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        up = asyncio.create_task(_upwards(reader, there, state))
        down = asyncio.create_task(self._downwards(there_reader, writer, state))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            there.close()
            writer.close()

    async def _downwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: _State) -> None:
        while data := await reader.read(65536):
            if state.marked:
                before, state.seen = len(state.seen), state.seen + data
                end = _end_of(state.seen)
                if end is not None:
                    writer.write(state.seen[before:end])
                    await writer.drain()
                    self.cut += 1
                    return
            writer.write(data)
            await writer.drain()


def _end_of(seen: bytes) -> int | None:
    """Where to cut what came of a stream: after AFTER events, and before the one that ends the answer; None: not yet."""
    begins = [found.start() for found in re.finditer(b"data:", seen)]
    ends = [seen.rfind(b"data:", 0, at) for word in LAST if (at := seen.find(word)) >= 0]
    return min(ends + begins[AFTER : AFTER + 1], default=None)


async def _upwards(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: _State) -> None:
    while data := await reader.read(65536):
        if data.startswith((b"POST ", b"GET ")):
            state.marked, state.seen = False, b""  # the next request on a kept connection
        state.marked = state.marked or MARK in data
        writer.write(data)
        await writer.drain()
