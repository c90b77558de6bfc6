"""Calls from web pages of other origins (CORS): who may, what a browser is told beforehand, and which of our headers its page gets to see. `/v1` only.

Keys travel in the `Authorization` header, never in cookies, so nothing here allows credentials. `/admin` and `/dashboard` stay closed to other origins.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from gateway.asgi import Headers, Message, Request, Scope, Send, header, send_body, send_start
from router.errors import AuthError

PREFIX = "/v1/"
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_DAY_S = b"86400"
# Header names as a browser lists them; anything else is not repeated to it.
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,2000}")
_EXPOSED = (
    "x-request-id openai-processing-ms openai-organization openai-version openai-model retry-after retry-after-ms x-should-retry "
    "x-breakeven-backend x-breakeven-decision x-breakeven-reason x-breakeven-overhead-ms x-breakeven-cost-usd "
    "x-ratelimit-limit-requests x-ratelimit-limit-tokens x-ratelimit-remaining-requests x-ratelimit-remaining-tokens "
    "x-ratelimit-reset-requests x-ratelimit-reset-tokens"
)
_EXPOSE = _EXPOSED.replace(" ", ", ").encode()


def asks_first(scope: Scope) -> bool:
    """Whether this is a browser's question before the request itself."""
    return bool(scope["method"] == "OPTIONS" and header(scope, b"origin") and header(scope, b"access-control-request-method"))


async def permit(request: Request, origins: Collection[str]) -> None:
    """Answer `asks_first`, without a key: browsers send none with it. AuthError 403 for an origin that may not."""
    origin = request.header(b"origin") or b""
    allowed = _allowed(origin, origins)
    if allowed is None:
        shown = origin[:200].decode("latin-1")
        raise AuthError(f"Pages of {shown!r} may not call this gateway: add the origin to server.cors_origins.", status=403, code="origin_not_allowed")
    wanted = request.header(b"access-control-request-headers") or b""
    headers = [
        *allowed,
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", wanted if _NAMES.fullmatch(wanted) else b"authorization, content-type"),
        (b"access-control-max-age", _DAY_S),
        (b"x-request-id", request.id.encode()),
    ]
    await send_start(request.send, 204, headers)
    await send_body(request.send, b"", more=False)


def shown_to(send: Send, scope: Scope, origins: Collection[str]) -> Send:
    """`send` for a request that may come from a page: the browser shows the answer and our headers to it where its origin may."""
    origin = header(scope, b"origin")
    added: Headers = [(b"vary", b"Origin")]
    if origin is not None and (allowed := _allowed(origin, origins)) is not None:
        added = [*allowed, (b"access-control-expose-headers", _EXPOSE)]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


def _allowed(origin: bytes, origins: Collection[str]) -> Headers | None:
    if "*" in origins:
        return [(b"access-control-allow-origin", b"*")]
    if origin.decode("latin-1").lower() not in origins:
        return None
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
