"""The one seam to providers and engines on the data plane: one call, its answer. Every failure below it is an UpstreamError here.

Deadlines other than the connection's own are the caller's (gateway.guard); what an answer means is read by gateway.sse and gateway.usage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache

from gateway.connections import Origin
from gateway.http1 import Answer
from router.errors import UpstreamError

__all__ = ["Answer", "Upstreams"]

_ALWAYS = {"accept-encoding": "identity", "user-agent": "breakeven"}
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Upstreams:
    """Connections to every upstream of this process: one pool per origin, kept for the life of the process."""

    def __init__(self) -> None:
        self._origins: dict[str, Origin] = {}

    async def post(self, who: str, url: str, headers: Mapping[str, str], body: bytes, connect_ms: float) -> Answer:
        """Send one request and wait for the answer's head. `who` names the upstream in errors."""
        return await self.call("POST", who, url, headers, body, connect_ms)

    async def call(self, method: str, who: str, url: str, headers: Mapping[str, str], body: bytes | None, connect_ms: float) -> Answer:
        """As `post`, with any method. A connection that had been idle and closes before the answer's first byte is no failure yet: the server
        closed it while our request was on its way, and never saw the request. It is sent once more, over a new connection (RFC 9110 §9.2.2)."""
        origin, host, target = _split(url)
        pool = self._origins.get(origin)
        if pool is None:
            pool = self._origins[origin] = Origin(origin)
        head, sent = _head(who, method, host, target, headers, body), body or b""
        connection = pool.take()
        if connection is not None:
            answer = connection.send(who, method, head, sent)
            try:
                return await _begun(answer)
            except UpstreamError:
                if answer.touched:
                    raise
        return await _begun((await pool.connect(who, connect_ms)).send(who, method, head, sent))

    async def close(self) -> None:
        """Close every connection."""
        origins, self._origins = self._origins, {}
        for origin in origins.values():
            origin.close()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn


async def _begun(answer: Answer) -> Answer:
    try:
        await answer.head()
    except BaseException:
        answer.close()
        raise
    return answer


def _head(who: str, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The request's head."""
    lines = _lines(who, method, host, target, tuple(headers.items()))
    return lines + b"content-length: %d\r\n\r\n" % len(body or b"") if body is not None or method in _WITH_BODY else lines + b"\r\n"


@lru_cache(maxsize=512)
def _lines(who: str, method: str, host: str, target: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """What is the same for many requests. A value that could begin another line is refused: it would be another request (RFC 9112 §11.1)."""
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in (_ALWAYS | dict(headers)).items())]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        raise UpstreamError(f"{who} cannot be called: its address or a header has a line break in it", code="upstream_unreachable")
    try:
        return text.encode("latin-1") + b"\r\n"
    except UnicodeEncodeError:
        raise UpstreamError(f"{who} cannot be called: its address or a header has characters that HTTP does not allow", code="upstream_unreachable") from None


@lru_cache(maxsize=512)
def _split(url: str) -> tuple[str, str, str]:
    """Origin, host header and request target. The target stays as it came: decoding and encoding again can change what a path means."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return f"{scheme}://{host}", host, slash + path if slash else "/"
