"""The target of a request line: which path and query it means. Pure."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import unquote

import httptools


@lru_cache(maxsize=256)
def split(url: bytes) -> tuple[bytes, str, bytes] | None:
    """(raw path, decoded path, query) of a path, or of the whole URL that clients send to a proxy; None for what names no resource (`CONNECT`, `*`)."""
    if not url.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return None
        if not parsed.schema:
            return None
        url = (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")
    raw, _, query = url.partition(b"#")[0].partition(b"?")
    path = raw.decode("latin-1")
    return raw, unquote(path) if "%" in path else path, query
