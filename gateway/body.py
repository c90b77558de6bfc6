"""A request's body in memory: read within a bound, unpacked where the client compressed it, and counted, so that all of them together stay bounded too."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from gateway.asgi import Request, header, read_body
from router.errors import LimitError, RequestError

MOST_BODY_BYTES = 64 * 1024 * 1024
# Bodies smaller than this are not counted: a thousand of them are no more than one that is as large as may be.
_LARGE = 64 * 1024
# What is smaller unpacks as it likes; beyond it nothing that a client means to say shrinks to less than this share.
_FREE_UNPACKED = 1024 * 1024
_MOST_RATIO = 200


class Bodies:
    """What large bodies hold of this process's memory, by request. `release` is called once a request is over."""

    __slots__ = ("_held", "most", "total")

    def __init__(self, most: int = 8 * MOST_BODY_BYTES) -> None:
        self.most = most
        self.total = 0
        self._held: dict[str, int] = {}

    def hold(self, request_id: str, size: int) -> None:
        """A request's body has grown to `size`. LimitError 503 where that is more than the process gives."""
        more = size - self._held.get(request_id, 0)
        if self.total + more > self.most:
            raise LimitError("The gateway holds as many large request bodies as it can; try again shortly.", retry_after_s=2.0, status=503, code="overloaded")
        self._held[request_id] = size
        self.total += more

    def release(self, request_id: str) -> None:
        """The request is over."""
        self.total -= self._held.pop(request_id, 0)


async def read(request: Request, bodies: Bodies, limit: int = MOST_BODY_BYTES) -> bytes:
    """The whole body, unpacked. RequestError 400, 408, 413 or 415, LimitError 503, ClientGone."""
    scope = request.scope
    coding = (header(scope, b"content-encoding") or b"identity").strip().lower()
    if coding == b"identity":
        declared = header(scope, b"content-length")
        if declared is not None and len(declared) < 9 and int(declared) < _LARGE:
            return await read_body(scope, request.receive, limit)
        return await read_body(scope, request.receive, limit, _counting(request, bodies))
    unpacker = _unpacker(coding, limit, _counting(request, bodies))
    raw = await read_body(scope, request.receive, limit, unpacker)
    unpacker.finish()
    return raw


def _counting(request: Request, bodies: Bodies) -> Callable[[bytes], bytes]:
    size = 0

    def counted(piece: bytes) -> bytes:
        nonlocal size
        size += len(piece)
        if size >= _LARGE:
            bodies.hold(request.id, size)
        return piece

    return counted


def _unpacker(coding: bytes, limit: int, counted: Callable[[bytes], bytes]) -> _Unpacker:
    if coding not in {b"gzip", b"x-gzip", b"deflate"}:
        shown = coding[:40].decode("latin-1")
        raise RequestError(
            f"Unsupported content-encoding {shown!r}: send gzip or deflate, or the body as it is.", status=415, code="unsupported_content_encoding"
        )
    return _Unpacker(coding == b"deflate", limit, counted)


class _Unpacker:
    """Unpacks piece by piece; never makes more than `limit` bytes, nor suspiciously much of little."""

    __slots__ = ("_counted", "_inflate", "_limit", "_made", "_raw_too", "_taken")

    def __init__(self, deflate: bool, limit: int, counted: Callable[[bytes], bytes]) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if deflate else zlib.MAX_WBITS | 16)
        self._raw_too = deflate  # "deflate" means zlib's format, and there are clients that send it bare
        self._limit = limit
        self._counted = counted
        self._taken = self._made = 0

    def __call__(self, piece: bytes) -> bytes:
        if not piece:
            return b""
        if self._raw_too:
            self._raw_too = False
            if piece[0] & 0x0F != zlib.DEFLATED:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._taken += len(piece)
        most = min(self._limit + 1, max(_FREE_UNPACKED, self._taken * _MOST_RATIO)) - self._made
        try:
            made = self._inflate.decompress(piece, max(1, most))
        except zlib.error:
            raise _broken("is not what its content-encoding says") from None
        self._made += len(made)
        if self._inflate.unconsumed_tail and self._made <= self._limit:
            raise RequestError(f"The request body unpacks to more than {_MOST_RATIO} times its size; send it as it is.", status=413, code="request_too_large")
        if self._inflate.unused_data:
            raise _broken("goes on after its compressed part ended")
        return self._counted(made)

    def finish(self) -> None:
        """All of it came."""
        if not self._inflate.eof:
            raise _broken("ends in the middle of its compressed part")


def _broken(how: str) -> RequestError:
    return RequestError(f"The request body {how}.", code="invalid_compressed_body")
