"""The one seam to providers and engines on the data plane: connections, one call, its bytes. Foreign errors become ours in `translated` and nowhere else.

Deadlines other than the connection's own are the caller's (gateway.guard); what an answer means is read by gateway.sse and gateway.usage.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from router.errors import UpstreamError, UpstreamTimeout

# Shorter than the keep-alive of the usual servers (uvicorn 5 s is the exception that the one repeat below is for).
_KEEP_ALIVE_S = 30.0
_READ_BUFFER = 256 * 1024


class _Opening:
    """Whether the call under way in this task had to open a connection."""

    __slots__ = ("fresh",)

    def __init__(self) -> None:
        self.fresh = False


_opening: ContextVar[_Opening | None] = ContextVar("breakeven_opening", default=None)


class Answer:
    """What an upstream sent, as it comes. `close` at any time ends the call and with it the work upstream; a fully read answer keeps its connection."""

    __slots__ = ("_response", "_who", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, who: str) -> None:
        self._response = response
        self._who = who
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """The bytes that are there, or the next to come; empty at the end. UpstreamError when the connection breaks."""
        content = self._response.content
        with translated(self._who):
            while True:
                data = await content.readany()
                if data or content.at_eof():
                    return data

    async def body(self, limit: int) -> bytes:
        """All of it. UpstreamError when it is longer than `limit` bytes or breaks off."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit:
                raise UpstreamError(f"{self._who} sent an answer of more than {limit} bytes", code="upstream_malformed")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connection back if everything was read, cut it otherwise. Never waits; safe to call twice."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class Upstreams:
    """Connections to every upstream of this process: one pool per origin, kept for the life of the process."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def post(self, who: str, url: str, headers: Mapping[str, str], body: bytes, connect_ms: float) -> Answer:
        """Send one request and wait for the answer's head. `who` names the upstream in errors."""
        return await self.call("POST", who, url, headers, body, connect_ms)

    async def call(self, method: str, who: str, url: str, headers: Mapping[str, str], body: bytes | None, connect_ms: float) -> Answer:
        """As `post`, with any method. A reset before the answer's first byte on a connection that had been idle is tried once more: the
        server closed it while our request was on its way, and never saw the request."""
        session = self._session(url)
        timeout = _timeout(connect_ms)
        target = _url(url)
        mark = _Opening()
        token = _opening.set(mark)
        with translated(who):
            try:
                response = await session.request(method, target, data=body, headers=headers, timeout=timeout, allow_redirects=False)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # a fresh connection has no such excuse; idempotent methods the library repeats by itself
                if mark.fresh or method != "POST":
                    raise
                response = await session.request(method, target, data=body, headers=headers, timeout=timeout, allow_redirects=False)
            finally:
                _opening.reset(token)
            return Answer(response, who)

    async def close(self) -> None:
        """Close every connection."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def _session(self, url: str) -> aiohttp.ClientSession:
        origin = _origin(url)
        session = self._sessions.get(origin)
        if session is None:
            session = self._sessions[origin] = _open_session()
        return session


@contextmanager
def translated(who: str) -> Iterator[None]:
    """Every error of the HTTP library as one of ours. `who` is the backend's public name: messages reach clients, so no address shows."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise UpstreamTimeout(f"{who} could not be connected to in time", phase="connect") from error
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        raise UpstreamTimeout(f"{who} did not answer in time", phase="first_token") from error
    except aiohttp.ClientConnectorError as error:
        raise UpstreamError(f"{who} cannot be reached", code="upstream_unreachable") from error
    except aiohttp.ClientPayloadError as error:
        raise UpstreamError(f"{who} broke off its answer", code="upstream_cut") from error
    except aiohttp.ClientResponseError as error:
        raise UpstreamError(f"{who} sent something that is not HTTP", code="upstream_malformed") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamError(f"{who} closed the connection", code="upstream_reset") from error


@lru_cache(maxsize=256)
def _url(url: str) -> URL:
    return URL(url, encoded=True)  # as it came: decoding and encoding again can change what a path means


@lru_cache(maxsize=256)
def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@lru_cache(maxsize=64)
def _timeout(connect_ms: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_ms / 1000.0, sock_read=None)


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=30, socket_factory=_open_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=_READ_BUFFER,
        skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        headers={"accept-encoding": "identity", "user-agent": "breakeven"},
    )


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """The library asks for a socket only where it has no connection to reuse; its own way of saying so (tracing) costs a fifth of the whole call."""
    mark = _opening.get()
    if mark is not None:
        mark.fresh = True
    made = socket.socket(address[0], address[1], address[2])
    made.setblocking(False)
    return made
