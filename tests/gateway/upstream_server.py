"""A scripted OpenAI-compatible server on a real socket, for faults no framework would commit: what it does is a coroutine per request."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

OK = 200


@dataclass
class Seen:
    """One request as the upstream saw it; `closed` is set when the other side hung up before the answer was complete."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def body(self) -> dict[str, Any]:
        return orjson.loads(self.raw)


class Wire:
    """The answering side of one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen, filling: int = 0) -> None:
        self.reader, self.writer, self.seen = reader, writer, seen
        self.keep = True
        self._filling = filling

    async def head(self, status: int = 200, headers: dict[str, str] | None = None, *, length: int | None = None) -> None:
        lines = [f"HTTP/1.1 {status} X"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append(f"content-length: {length}" if length is not None else "transfer-encoding: chunked")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        if self._filling and b'"content":"Hello"' in data:
            data += (b": " + b"~" * 16_000 + b"\n\n") * (self._filling // 16_000)
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def json(self, body: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        if self._filling and status == OK:
            data = data.replace(b"Hello", b"~" * self._filling + b"Hello", 1)
        await self.head(status, {"content-type": "application/json", **(headers or {})}, length=len(data))
        self.writer.write(data)
        await self.writer.drain()

    async def events(self, *events: bytes, pause: float = 0.0, headers: dict[str, str] | None = None) -> None:
        await self.head(200, {"content-type": "text/event-stream", **(headers or {})})
        for event in events:
            await self.chunk(event)
            if pause:
                await asyncio.sleep(pause)
        await self.end()

    async def until_closed(self, timeout: float = 10.0) -> None:
        """Wait for the other side to hang up, and note it."""
        self.keep = False
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                try:
                    while await self.reader.read(65536):
                        pass
                except OSError:
                    pass
                self.seen.closed.set()

    def reset(self) -> None:
        """A TCP reset instead of a close."""
        self.keep = False
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Wire], Awaitable[None]]


def usage(entered: int = 9, made: int = 3) -> dict[str, int]:
    return {"prompt_tokens": entered, "completion_tokens": made, "total_tokens": entered + made}


def completion(text: str = "Hello there", model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage(),
        **more,
    }


def event(delta: object = None, finish: str | None = None, **more: Any) -> bytes:
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", **more}
    body.setdefault("choices", [{"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}])
    return b"data: " + orjson.dumps(body) + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
STOP = event({}, "stop")
DONE = b"data: [DONE]\n\n"
USAGE = event(choices=[], usage=usage())


def words(*texts: str) -> list[bytes]:
    return [event({"content": text}) for text in texts]


async def answers(wire: Wire) -> None:
    """The well-behaved default: whole or streamed, with usage when asked."""
    if wire.seen.path.endswith("/embeddings"):
        await wire.json(
            {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                "model": "e",
                "usage": {"prompt_tokens": 4, "total_tokens": 4},
            }
        )
    elif wire.seen.method != "POST":
        await wire.json({"object": "list", "data": []})
    elif wire.seen.body.get("stream"):
        asked = (wire.seen.body.get("stream_options") or {}).get("include_usage")
        await wire.events(ROLE, *words("Hello", " there"), STOP, *([USAGE] if asked else []), DONE)
    else:
        await wire.json(completion(model=wire.seen.body.get("model", "?")), headers={"x-ratelimit-remaining-requests": "99"})


class UpstreamServer:
    """Runs in a thread of its own. `script` answers requests; a list of scripts answers one request each, the last of them all that follow.

    `tls`: it is called localhost and shows this certificate. `filling`: so many `~` are added to each answer, in a comment or in the text.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, filling: int = 0) -> None:
        self._tls, self._filling = tls, filling
        self.scripts = list(scripts) or [answers]
        self.seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    def script(self, *scripts: Script) -> None:
        self.scripts = list(scripts)

    def __enter__(self) -> UpstreamServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=2**26, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()  # over TLS a close waits for the other side's
        await asyncio.sleep(0.01)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        self._writers.add(writer)
        number = self._connections
        try:
            while True:
                seen = await self._request(reader, number)
                if seen is None:
                    break
                self.seen.append(seen)
                wire = Wire(reader, writer, seen, self._filling)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                try:
                    await script(wire)
                except ConnectionError:
                    seen.closed.set()
                    break
                if not wire.keep:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, number: int) -> Seen | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(method, path, headers, raw, number)
