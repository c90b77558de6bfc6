"""A TCP proxy between the gateway and a backend that cuts the streams of marked requests in their middle, as a dying provider does."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

MARK = b"Break off."  # scripts/report.py asks it
AFTER = 8  # events of server-sent events that still get through, role and opening events included


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
        self.port = 0
        self.cut = 0

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._connection, "127.0.0.1", 0), self._loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
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
                seen = state.seen
                if seen.count(b"data:") > AFTER:
                    end = -1
                    for _ in range(AFTER + 1):
                        end = seen.index(b"data:", end + 1)
                    # Whole events only: what the client gets is right as far as it goes.
                    end = max(before, seen.rindex(b"\n\n", 0, end) + 2) if b"\n\n" in seen[:end] else end
                    writer.write(seen[before:end])
                    await writer.drain()
                    self.cut += 1
                    return
            writer.write(data)
            await writer.drain()


async def _upwards(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: _State) -> None:
    while data := await reader.read(65536):
        if data.startswith((b"POST ", b"GET ")):
            state.marked, state.seen = False, b""  # the next request on a kept connection
        state.marked = state.marked or MARK in data
        writer.write(data)
        await writer.drain()
