"""A client's connection: bytes become requests, within bounds that a patient or a hostile sender cannot stretch. httptools parses, uvicorn listens and drains.

uvicorn's own protocol would take a head without end, answer in plain text, lose the body of a request that offers an upgrade (Java's client does), and not
notice that a pipelining client left. What is sent back is http_cycle.py's; who may ask for what is the application's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, cast

import httptools
import uvicorn
from typing_extensions import override
from uvicorn.server import ServerState

from gateway import http_target
from gateway.asgi import App, Scope
from gateway.http_cycle import Cycle, refusal
from gateway.http_edge import Edge

# More of a body than this, or more requests ahead, are left in the kernel until they are taken.
_MOST_UNREAD = 64 * 1024
_MOST_WAITING = 32


def protocol(edge: Edge) -> Callable[..., HttpConnection]:
    """The factory of connections, as `uvicorn.Config(http=...)` takes it."""

    def connection(config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], _loop: object = None) -> HttpConnection:
        return HttpConnection(edge, config, server_state, app_state)

    return connection


class HttpConnection(asyncio.Protocol):
    """One connection of a client. Requests that come before the one in front is answered wait for their turn."""

    def __init__(self, edge: Edge, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        if not config.loaded:
            config.load()
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.write_paused = False
        self._edge = edge
        self._app = cast("App", config.loaded_app)
        self._state = server_state
        self._app_state = app_state
        self._parser = httptools.HttpRequestParser(self)
        self._server: tuple[str, int] | None = None
        self._client: tuple[str, int] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects = False
        self._coming: Cycle | None = None  # its body is being read, or may be
        self._answering: Cycle | None = None
        self._waiting: deque[Cycle] = deque()
        self._in_head = self._in_body = self._read_paused = self._ending = self._deaf = self._last = self._began = False
        self._fed = self._framing = 0
        self._since = self.loop.time()
        self._why: tuple[int, str, str] | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def draining(self) -> bool:
        """Whether answers should say that this connection ends with them."""
        return self._last or self._edge.draining()

    @property
    def default_head(self) -> bytes:
        """The headers every answer has, as lines."""
        return self._edge.lines(self._state.default_headers)

    # What asyncio calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server, self._client = _address(transport, "sockname"), _address(transport, "peername")
        self._state.connections.add(cast("Any", self))
        self._edge.watch(self, self.loop)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(cast("Any", self))
        self._edge.forget(self)
        for cycle in (self._answering, self._coming, *self._waiting):
            if cycle is not None and not cycle.complete:
                cycle.give_up()
        self._waiting.clear()
        self.resume_writing()

    @override
    def data_received(self, data: bytes) -> None:
        if self._ending or self._deaf:
            return
        self._fed, self._began = len(data), False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            self._without_upgrade(data[offered.args[0] :])
        except httptools.HttpParserError:
            self._malformed()
        else:
            if (self._in_head or self._in_body) and not self._began:
                self._count(len(data))

    @override
    def pause_writing(self) -> None:
        self.write_paused = True

    @override
    def resume_writing(self) -> None:
        self.write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written."""
        while self.write_paused:
            if self._drained is None or self._drained.done():
                self._drained = self.loop.create_future()
            await asyncio.shield(self._drained)

    def resume_reading(self) -> None:
        """What waited was taken."""
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    # What uvicorn calls.

    def shutdown(self) -> None:
        """The server stops: end when what was asked is answered. Who has only just connected is about to ask."""
        if self._answering is not None:
            for cycle in (self._answering, *self._waiting):
                cycle.keep_alive = False
        elif self._url and not self._in_head and not self._ending:
            self.transport.close()
        self._last = True

    # What httptools calls; the names are its own.

    def on_message_begin(self) -> None:
        self._url, self._headers, self._expects, self._coming = b"", [], False, None
        self._in_head, self._in_body, self._began, self._framing = True, False, True, 0
        self._since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        if len(headers) >= self._edge.bounds.headers:
            self._stop(431, f"The request has more than {self._edge.bounds.headers} header fields.", "headers_too_large")
        if not self._in_head:
            self._headers = [*headers, (name, value)]  # a trailer: counted, and nothing the application sees
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        if self._fed > self._edge.bounds.head_bytes and len(self._url) + sum(len(n) + len(v) for n, v in self._headers) > self._edge.bounds.head_bytes:
            self._stop(*self._large_head)
        if len(self._waiting) >= self._edge.bounds.pipelined:
            self._stop(400, "Too many requests are sent ahead on this connection.", "invalid_http")
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            self._stop(505, "This gateway speaks HTTP/1.1.", "invalid_http")
        cycle = Cycle(self, self._scope(version), keep_alive=self._parser.should_keep_alive(), expects=self._expects and version == "1.1")
        self._coming, self._since = cycle, self.loop.time()
        if self._answering is None:
            self._start(cycle)
        else:
            self._waiting.append(cycle)

    def on_body(self, body: bytes) -> None:
        cycle = self._coming
        self._framing -= 9 * len(body)
        if cycle is None or cycle.complete or cycle.late:
            return
        cycle.add(body)
        if cycle.unread > _MOST_UNREAD or len(self._waiting) > _MOST_WAITING:
            self._pause_reading()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._since = self.loop.time()
        if self._coming is not None:
            self._coming.end()
        if len(self._waiting) > _MOST_WAITING:
            self._pause_reading()

    # What cycles call.

    def answered(self, cycle: Cycle) -> None:
        """A cycle has sent its last byte: the next one, or the end."""
        self._state.total_requests += 1
        self._answering = None
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self._end(whole=cycle.whole and not self._deaf)
            return
        self.resume_reading()
        if self._waiting:
            self._start(self._waiting.popleft())

    def refuse(self, status: int, said: str, code: str) -> None:
        """Answer in place of the application, and end."""
        self._edge.refused(code)
        if not self.transport.is_closing():
            self.transport.write(refusal(status, said, code, self.default_head))
            self._end(whole=False)

    def cut(self) -> None:
        """End at once, which is how HTTP says that an answer is not whole."""
        self._ending = True
        self.transport.close()

    # What the edge calls.

    def check(self, now: float) -> None:
        """End what takes too long."""
        bounds, waited = self._edge.bounds, now - self._since
        if self._ending or self.transport.is_closing():
            if waited > (bounds.flush_s if self.transport.get_write_buffer_size() else bounds.linger_s):
                self.transport.abort()
        elif self._in_body and self._coming is not None:
            if waited > bounds.body_s + self._coming.received / bounds.least_rate and not self._read_paused:
                self._late(self._coming)
        elif self._answering is not None:
            return
        elif self._in_head:
            if waited > bounds.head_s:
                self.refuse(408, "The head of the request took too long to arrive.", "request_timeout")
        elif waited > (bounds.keep_alive_s if self._url else bounds.sweep_s if self._last else bounds.head_s):
            self._since = now
            self.transport.close()

    def _late(self, cycle: Cycle) -> None:
        if cycle.complete:
            self.cut()  # the answer is out, and the rest of a body that nobody wants does not end
        else:
            cycle.give_up(late=True)

    def _start(self, cycle: Cycle) -> None:
        self._answering = cycle
        task = self.loop.create_task(cycle.run_asgi(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def _scope(self, version: str) -> Scope:
        found = http_target.split(self._url)
        if found is None:
            self._stop(400, "The request's target must be a path that begins with / or a whole URL.", "invalid_http")
        raw, path, query = found
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": raw,
            "query_string": query,
            "headers": self._headers,
            "state": self._app_state.copy(),
        }

    def _count(self, size: int) -> None:
        """Bound what is read beside bodies."""
        self._framing += size
        if self._in_head and self._framing > self._edge.bounds.head_bytes:
            self._why = self._large_head
            self._malformed()
        elif self._in_body and self._framing > self._edge.bounds.framing_bytes:
            self._malformed()

    @property
    def _large_head(self) -> tuple[int, str, str]:
        return 431, f"The request's head is larger than {self._edge.bounds.head_bytes // 1024} KiB.", "headers_too_large"

    def _stop(self, status: int, said: str, code: str) -> NoReturn:
        """Inside the parser: stop parsing with this refusal."""
        self._why = (status, said, code)
        raise ValueError(code)

    def _malformed(self) -> None:
        """Nothing that follows can be understood. What was asked before is still answered."""
        status, said, code = self._why or (400, "The request is not valid HTTP.", "invalid_http")
        front, broken = self._answering, self._coming if self._in_body else None
        if broken is not None and broken.complete:
            self.cut()
        elif front is None:
            self.refuse(status, said, code)
        elif front is broken:
            front.give_up()
            self.cut() if front.started else self.refuse(status, said, code)
        else:
            if broken is not None and broken in self._waiting:
                self._waiting.remove(broken)
            (self._waiting[-1] if self._waiting else front).keep_alive = False
            self._deaf = True

    def _without_upgrade(self, rest: bytes) -> None:
        """The client offered another protocol, which we decline by going on; the parser has stopped before the body and has to be told of it."""
        cycle = self._coming
        if cycle is None or cycle.scope["method"] == "CONNECT":
            self._malformed()
            return
        framing = [pair for pair in cycle.scope["headers"] if pair[0] in {b"content-length", b"transfer-encoding"}]
        cycle.whole, self._in_body = False, True
        self._parser = httptools.HttpRequestParser(_Body(self))
        try:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % pair for pair in framing))
            if rest:
                self._parser.feed_data(rest)
        except httptools.HttpParserError:
            self._malformed()

    def body_over(self) -> None:
        """After a declined upgrade: the body is here, and what follows is parsed as ever."""
        self.on_message_complete()
        self._parser = httptools.HttpRequestParser(self)

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def _end(self, *, whole: bool) -> None:
        """Close. Where the client may still be sending, close our half and wait for its end: a reset would take the answer away from it."""
        self._ending = True
        self._since = self.loop.time()
        if whole or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.resume_reading()
            self.transport.write_eof()


class _Body:
    """What a parser calls that is to see a body only: the head it is fed is ours."""

    __slots__ = ("_connection", "_over", "on_body")

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._over = False
        self.on_body = connection.on_body

    def on_message_begin(self) -> None:
        if self._over:
            raise ValueError("a request was sent ahead of the answer to an offered upgrade")

    def on_message_complete(self) -> None:
        self._over = True
        self._connection.body_over()


def _address(transport: asyncio.BaseTransport, which: str) -> tuple[str, int] | None:
    found = transport.get_extra_info(which)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) else None
