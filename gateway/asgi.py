"""Plain ASGI: reading a body within a bound, sending an answer, telling that the client left. No framework, nothing about models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from router.errors import RequestError
from router.quick import quick

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


# Where our own server puts what it can do beside ASGI: a `Line`. Other ways in do without.
LINE = "breakeven.line"


class ClientGone(Exception):
    """The client closed its connection."""


class Line(Protocol):
    """A client's end of a request, without a task or a wait in between."""

    def watch(self, left: Callable[[], None] | None) -> None:
        """Call `left` once when the client leaves before its answer is whole; None: nobody asks any more. The body must have been read."""

    def push(self, body: bytes) -> bool:
        """A piece of the body of a begun answer, not an empty one, written now. False: it was not, for the client takes nothing now, or has left."""

    def finish(self, status: int, headers: Headers, body: bytes) -> bool:
        """A whole answer in one write, its `content-length` added; `headers` say nothing about framing or the connection. False: send it the usual way."""

    async def send(self, message: Message) -> None:
        """ASGI's own. Who puts something else before it wants to see all that is sent."""


@quick
@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it reached us. `id` is its `x-request-id`, `started` a `perf_counter` instant."""

    scope: Scope
    receive: Receive
    send: Send
    id: str
    started: float

    @property
    def line(self) -> Line | None:
        """The client's end of it, where our own server holds that."""
        found: Line | None = self.scope.get(LINE)
        return found

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        return header(self.scope, name)


class Broken(Exception):
    """An answer that had begun cannot be finished. The server closes the connection, which is how HTTP says so."""


async def read_body(scope: Scope, receive: Receive, limit: int, each: Callable[[bytes], bytes] | None = None) -> bytes:
    """The whole request body. RequestError 413 beyond `limit` bytes (at once when the header says so), ClientGone when it does not all come.

    `each` may turn every piece into another and raise where it must not go on.
    """
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            if message.get("late"):
                raise RequestError("The request body took too long to arrive; send it faster, or less of it.", status=408, code="request_timeout")
            raise ClientGone
        part = message.get("body", b"")
        if each is not None:
            part = each(part)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return part if not parts else b"".join((*parts, part))
        parts.append(part)


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first request header of that (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


async def send_start(send: Send, status: int, headers: Headers) -> None:
    """Begin an answer whose body follows in pieces."""
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def send_body(send: Send, body: bytes, *, more: bool) -> None:
    """A piece of the body, written to the socket at once."""
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """A whole answer."""
    await send_start(send, status, [*headers, (b"content-length", str(len(body)).encode())])
    await send_body(send, body, more=False)


def _too_large(limit: int) -> RequestError:
    return RequestError(
        f"The request body is larger than {limit // (1024 * 1024)} MiB; send less, or refer to files by URL.", status=413, code="request_too_large"
    )
