"""One request and its answer on a client's connection: what the ASGI application receives from and sends to. How bytes become requests is http_server.py's.

An answer's head waits for the first piece of its body, so that a whole answer is one write; a head whose body takes longer is sent in the next turn of the
loop. Everything that goes into a head is checked at once: a line break in a value would be a header of somebody else's making.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway import http_errors
from gateway.asgi import LINE, App, Headers, Message, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.http_server import HttpConnection

log = logging.getLogger("breakeven.http")

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
# A body in pieces larger than this is not copied together with its head or frame.
_JOINED = 64 * 1024
_WITHOUT_BODY = frozenset({204, 304})


class Cycle:
    """Made by a connection once the head of a request is there."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_delivered",
        "_event",
        "_gone",
        "_head",
        "_left",
        "_parts",
        "complete",
        "disconnected",
        "expects",
        "keep_alive",
        "late",
        "received",
        "scope",
        "started",
        "unread",
        "whole",
    )

    def __init__(self, connection: HttpConnection, scope: Scope, *, keep_alive: bool, expects: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects = expects
        """Whether the client waits for `100 Continue` before it sends its body."""
        self._event = asyncio.Event()
        self._parts: list[bytes] = []
        self.unread = 0
        self.received = 0
        self.whole = False
        """Whether all of the request is here."""
        self._delivered = False
        self.late = False
        self.disconnected = False
        self.started = False
        self.complete = False
        self._head = b""
        self._chunked = False
        self._left = 0
        self._gone: Callable[[], None] | None = None

    async def run_asgi(self, app: App) -> None:
        """Answer the request. Whatever the application does, the client gets an answer or its connection ends."""
        self.scope[LINE] = self
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._fail(503, "The gateway is shutting down; send the request again.", "overloaded")
            raise
        except Exception:
            log.exception("%s %s failed", self.scope["method"], self.scope["path"])
            self._fail(500, "The gateway failed to answer; its log has the details.", "internal_error")
        else:
            if not self.complete:
                self._connection.cut()  # it gave up: because the client left, or because what had begun cannot be finished
        finally:
            del self.scope[LINE]  # or each would keep the other until the collector comes

    def add(self, body: bytes) -> None:
        """More of the request's body."""
        self.received += len(body)
        self.unread += len(body)
        self._parts.append(body)
        self._event.set()

    def end(self) -> None:
        """All of the request is here."""
        self.whole = True
        self._event.set()

    def give_up(self, *, late: bool = False) -> None:
        """The rest of the request is not coming: the client left, or is too slow (`late`: it still gets an answer)."""
        if late:
            self.late = True
        else:
            self.disconnected = True
            if self._gone is not None:
                self._gone()
        self._event.set()

    async def receive(self) -> Message:
        """What came of the body, then that the client left; `late` in that message: it only was too slow."""
        if self.expects:
            self.expects = False
            if not self.received:
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.disconnected or self.complete or self.late):
            if self._parts or (self.whole and not self._delivered):
                return self._take()
            self._connection.resume_reading()
            self._event.clear()
            await self._event.wait()
        return {"type": "http.disconnect", "late": self.late and not self.disconnected}

    def watch(self, left: Callable[[], None] | None) -> None:
        """Call `left` when the client leaves; None: nobody asks any more. Reads on, for how else would it be seen that the client left."""
        self._gone = left
        if left is not None:
            self._connection.resume_reading()
            if self.disconnected:
                self._connection.loop.call_soon(left)

    def push(self, body: bytes) -> bool:
        """A piece of the body of a begun answer, written now. False: it was not, for the client takes nothing now, or has left."""
        connection = self._connection
        if connection.write_paused or self.disconnected:
            return False
        if self._chunked and not self._head and len(body) <= _JOINED:
            connection.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        else:
            self._write(body, more=True)
        return True

    def finish(self, status: int, headers: Headers, body: bytes) -> bool:
        """A whole answer in one write. False where anything about it is not as usual: nothing was written, `send` does it."""
        connection = self._connection
        if connection.write_paused or connection.draining or not self.keep_alive or self.disconnected or self.started or self.expects:
            return False
        if len(body) > _JOINED or status in _WITHOUT_BODY or self.scope["method"] == "HEAD" or self.scope["http_version"] == "1.0":
            return False
        head = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        if not head.count(b"\n") == head.count(b"\r") == len(headers) or b"\0" in head:
            raise RuntimeError("a header of the answer holds a line break")
        first = STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        connection.transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (first, connection.default_head, head, len(body), body))
        self.started = self.complete = True
        self._event.set()
        connection.answered(self)
        return True

    def _take(self) -> Message:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self.unread = 0
        self._delivered = self.whole
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    async def send(self, message: Message) -> None:
        """The head, then the pieces of the body. RuntimeError for an application that does not keep to that."""
        connection = self._connection
        if connection.write_paused:
            await connection.drained()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
            return
        if not self.started or self.complete:
            raise RuntimeError(f"{message['type']} has no place here")
        more = message.get("more_body", False)
        self._write(message.get("body", b""), more=more)
        if not more:
            self.complete = True
            self._event.set()
            connection.answered(self)

    def flush_head(self) -> None:
        """Send a head whose body is not there yet."""
        if self._head and not self.disconnected:
            head, self._head = self._head, b""
            self._connection.transport.write(head)

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self.started:
            raise RuntimeError("the answer has begun already")
        if self.expects or self._connection.draining:
            self.keep_alive = False  # a client that was not told to send its body may send it or not: only a new connection is clear
        lines: list[bytes] = []
        self._left = -1
        closes = chunked = False
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection":
                closes = b"close" in value.lower()
            elif name == b"transfer-encoding":
                chunked = True
        self.keep_alive = self.keep_alive and not closes
        self._frame(status, lines, chunked=chunked, closes=closes)
        head = b"".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines) or b"\0" in head:
            raise RuntimeError("a header of the answer holds a line break")
        self.started = True
        self._head = b"%b%b%b\r\n" % (STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, self._connection.default_head, head)
        self._connection.loop.call_soon(self.flush_head)

    def _frame(self, status: int, lines: list[bytes], *, chunked: bool, closes: bool) -> None:
        """Say where the answer ends and whether the connection goes on. HTTP/1.0 has no chunks: the end of the connection is the end of the answer."""
        old = self.scope["http_version"] == "1.0"
        if self._left < 0 and self.scope["method"] != "HEAD" and status not in _WITHOUT_BODY:
            self._chunked = not old
            self.keep_alive = self.keep_alive and not old
            if self._chunked and not chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        elif old and self.keep_alive:
            lines.append(b"connection: keep-alive\r\n")

    def _write(self, body: bytes, *, more: bool) -> None:
        transport, head = self._connection.transport, self._head
        self._head = b""
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._chunked:
            end = b"" if more else b"0\r\n\r\n"
            if len(body) > _JOINED:
                transport.write(b"%b%x\r\n" % (head, len(body)))
                transport.write(body)
                head, body = b"", b"\r\n" + end
            else:
                body = b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        elif self._left >= 0:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer is not as long as its content-length")
        if len(body) > _JOINED and head:
            transport.write(head)
            transport.write(body)
        elif head or body:
            transport.write(head + body)

    def _fail(self, status: int, said: str, code: str) -> None:
        """An answer that the application owes: sent where nothing was yet, else the connection ends."""
        if self.disconnected or self.complete:
            return
        self._head = b""
        self._connection.refuse(status, said, code) if not self.started else self._connection.cut()


def refusal(status: int, said: str, code: str, default_head: bytes) -> bytes:
    """A whole answer in OpenAI's shape that closes the connection, for what never reaches the application."""
    body = http_errors.body(said, "server_error" if status >= 500 else "invalid_request_error", code=code)
    head = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: req_%b\r\nconnection: close\r\n\r\n"
    return STATUS_LINES[status] + default_head + head % (len(body), secrets.token_hex(16).encode()) + body
