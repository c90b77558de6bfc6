"""One HTTP/1.1 connection to an upstream and the answers that come over it (RFC 9112). Bytes are parsed by httptools; nothing here chooses or repeats.

An `Answer` outlives its turn on the connection: once its last byte is parsed the connection serves the next request, while what came may still be read.
Every failure is an UpstreamError that names the upstream by its public name only, for messages reach clients.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from typing import cast

import httptools
from typing_extensions import override

from router.errors import UpstreamError

# More than this waits in memory for a slow client only when it came in one piece; then the socket is not read any further.
_MOST_UNREAD = 256 * 1024
_MOST_HEAD = 128 * 1024
_EMPTY: Mapping[str, str] = {}


class Answer:
    """What an upstream sent, as it comes. `close` at any time ends the call and with it the work upstream; a fully received answer keeps its connection."""

    __slots__ = ("_chunks", "_connection", "_ended", "_error", "_inflate", "_tap", "_unread", "_waiter", "_who", "headers", "status", "touched")

    def __init__(self, connection: Connection, who: str) -> None:
        self._connection: Connection | None = connection
        self._who = who
        self._chunks: list[bytes] = []
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: UpstreamError | None = None
        self._inflate: zlib._Decompress | None = None
        self._tap: Callable[[bytes], bool] | None = None
        self.status = 0
        self.headers: Mapping[str, str] = _EMPTY
        self.touched = False
        """Whether any byte of it came: a request that was not answered at all may be sent again."""

    async def head(self) -> None:
        """Wait for `status` and `headers` (names in lower case, repeated ones joined). UpstreamError when there will be none."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """The bytes that are there, or the next to come; empty at the end. UpstreamError when the connection broke, after what had come before."""
        while True:
            if self._chunks:
                data = self._take()
                if data:
                    return data
            elif self._error is not None:
                raise self._error
            elif self._ended:
                if self._inflate is not None and not self._inflate.eof:
                    raise self._broken("sent a compressed answer that ends too early", "upstream_cut")
                return b""
            else:
                await self._wait()

    async def pour(self, tap: Callable[[bytes], bool]) -> None:
        """Hand each piece to `tap` in the very moment it comes, until it says False. What `read` has for the caller next, an end or an error, ends it too."""
        if self._chunks or self._ended or self._error is not None or self._inflate is not None:
            return
        self._tap = tap
        try:
            await self._wait()
        finally:
            self._tap = None

    async def body(self, limit: int) -> bytes:
        """All of it. UpstreamError when it is longer than `limit` bytes or breaks off."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit:
                raise self._broken(f"sent an answer of more than {limit} bytes", "upstream_malformed")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """End it: cuts the connection if it is still this answer's. Never waits; safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def begin(self, status: int, headers: dict[str, str]) -> bool:
        """The head is here. False when the body is compressed in a way that cannot be read."""
        coding = headers.pop("content-encoding", "identity").lower()
        if coding in {"gzip", "x-gzip", "deflate"}:
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif coding != "identity":
            return False
        self.status, self.headers = status, headers
        self._wake()
        return True

    def add(self, data: bytes) -> bool:
        """More of the body. True when enough waits already."""
        self._chunks.append(data)
        self._unread += len(data)
        if self._tap is None:
            self._wake()
        return self._unread > _MOST_UNREAD

    def came(self) -> None:
        """What was read last is parsed: hand it on, where it is poured."""
        tap, chunks = self._tap, self._chunks
        if tap is None or not chunks:
            return
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self._unread > _MOST_UNREAD and self._connection is not None:
            self._connection.resume()
        self._unread = 0
        if not tap(data):
            self._tap = None
            self._wake()

    def end(self) -> None:
        """All of it is here."""
        self._ended, self._connection = True, None
        self._wake()

    def fail(self, what: str, code: str) -> None:
        """Nothing more will come."""
        if not self._ended and self._error is None:
            self._error, self._connection = self._broken(what, code), None
            self._wake()

    def _take(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._unread = 0
        if self._connection is not None:
            self._connection.resume()
        if self._inflate is None:
            return data
        try:
            return self._inflate.decompress(data)
        except zlib.error:
            raise self._broken("sent a compressed answer that cannot be read", "upstream_malformed") from None

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _broken(self, what: str, code: str) -> UpstreamError:
        return UpstreamError(f"{self._who} {what}", code=code)


class Connection(asyncio.Protocol):
    """Made by an event loop; one exchange at a time. `on_free` is called when it can take the next, `on_lost` once when it is gone for good."""

    __slots__ = (
        "_answer",
        "_closes",
        "_head",
        "_head_only",
        "_headers",
        "_informational",
        "_on_free",
        "_on_lost",
        "_parser",
        "_paused",
        "_transport",
        "idle_since",
    )

    def __init__(self, on_free: Callable[[Connection], None], on_lost: Callable[[Connection], None]) -> None:
        self._on_free, self._on_lost = on_free, on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._headers: dict[str, str] = {}
        self._head = 0
        self._head_only = self._informational = self._closes = self._paused = False
        self.idle_since = 0.0

    @property
    def open(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, who: str, method: str, head: bytes, body: bytes) -> Answer:
        """Write one request; what comes back is the answer. The connection must be open and free."""
        transport = self._transport
        if transport is None or self._answer is not None:
            raise RuntimeError("one exchange at a time")
        self._answer = answer = Answer(self, who)
        self._head, self._head_only = 0, method == "HEAD"
        transport.write(head + body if len(body) <= _MOST_UNREAD else head)
        if len(body) > _MOST_UNREAD:
            transport.write(body)
        return answer

    def abort(self) -> None:
        """Close at once; what is unsent or unread is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def resume(self) -> None:
        """What waited was taken."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.abort()  # an answer to nothing: whatever this is, it must not be taken for the next one
            return
        answer.touched = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._give_up("sent something that is not HTTP")
            return
        answer.came()
        if self._answer is None:
            self._end()
        elif not answer.status:
            self._head += len(data)
            if self._head > _MOST_HEAD:
                self._give_up("sent a head that is too large")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        answer, self._answer, self._transport = self._answer, None, None
        if answer is not None:
            if answer.status and self._until_eof and exc is None:
                answer.end()
            elif answer.status:
                answer.fail("closed the connection in the middle of its answer", "upstream_cut")
            else:
                answer.fail("closed the connection", "upstream_reset")
        self._on_lost(self)

    @property
    def _until_eof(self) -> bool:
        return "content-length" not in self._headers and "transfer-encoding" not in self._headers

    def _give_up(self, what: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(what, "upstream_cut" if answer.status else "upstream_malformed")
        self.abort()

    # What httptools calls while it parses; their names are its own.

    def on_message_begin(self) -> None:
        self._headers = {}
        if self._answer is None:
            self._closes = True  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._informational = 100 <= status < 200 and status != 101
        if self._informational or self._answer is None:
            return
        if status == 101:
            self._give_up("switched to another protocol")
        elif not self._answer.begin(status, dict(self._headers)):
            self._give_up("compressed its answer in a way that was not asked for")
        elif self._head_only:
            self._closes = True  # the parser waits for the body that a HEAD does not have
            self._done()

    def on_body(self, body: bytes) -> None:
        if self._answer is not None and self._answer.add(body) and not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._informational or self._answer is None:
            return
        self._closes = self._closes or not self._parser.should_keep_alive()
        self._done()

    def _done(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.end()

    def _end(self) -> None:
        """All that came is parsed and the answer with it: serve the next request, or close when the server said so, sent more than the answer, or answered
        before it had the whole request (it does not want the rest of it)."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._closes or transport.get_write_buffer_size():
            transport.abort()
            return
        self.resume()
        self._on_free(self)
