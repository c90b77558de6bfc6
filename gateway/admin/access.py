"""Who may use the admin API and the dashboard. Pure but for the FastAPI dependency at the end.

With an admin key: `Authorization: Bearer <admin key>`, or the session cookie that the dashboard's login sets. Without one: this machine only, and only while
the gateway listens on loopback. Whatever comes from a browser (no Bearer) must come from our own pages: another site's page in the same browser can reach
loopback too, so `Origin` must be ours and `Host` must be a loopback name (a rebound DNS name is not).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from gateway.config.models import ServerConfig, is_loopback
from gateway.context import Gateway
from router.errors import AuthError

COOKIE = "breakeven_session"
SESSION_S = 7 * 86400
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of itself. `headers` by lower-case name; `client` is the peer's address, None when unknown."""

    method: str
    client: str | None
    headers: Mapping[str, str]
    cookie: str | None = None


def admin_key(server: ServerConfig) -> str | None:
    """The admin key; None where none is set."""
    return (server.admin_key.get_secret_value() or None) if server.admin_key is not None else None


def admit(caller: Caller, server: ServerConfig, now: float) -> str:
    """How the caller got in: `key`, `session` or `loopback`. Raises AuthError (401, 403) that says what to do."""
    key = admin_key(server)
    if key is None:
        _local_only(caller, server)
        require_same_origin(caller)
        return "loopback"
    scheme, _, sent = caller.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and matches(sent.strip(), key):
        return "key"
    if caller.cookie is not None and session_valid(caller.cookie, key, now):
        require_same_origin(caller)
        return "session"
    raise AuthError("This needs the admin key: send Authorization: Bearer <admin key>, or log in at /dashboard.", status=401, code="invalid_admin_key")


def matches(sent: str, key: str) -> bool:
    """Whether a key is the admin key, in constant time."""
    return hmac.compare_digest(_digest(sent), _digest(key))


def new_session(key: str, now: float) -> str:
    """A cookie's value: when it ends, signed with the admin key. Every worker can check it, and another admin key ends all sessions."""
    ends = str(int(now + SESSION_S))
    return f"{ends}.{_sign(ends, key)}"


def session_valid(cookie: str, key: str, now: float) -> bool:
    """Whether a session cookie is ours and not over."""
    ends, _, signature = cookie.partition(".")
    if not hmac.compare_digest(_digest(signature), _digest(_sign(ends, key))):
        return False
    return ends.isdigit() and now < int(ends)


def caller_of(request: Request) -> Caller:
    """The caller of a request."""
    client = request.client.host if request.client is not None else None
    return Caller(request.method, client, dict(request.headers), request.cookies.get(COOKIE))


def gateway_of(request: Request) -> Gateway:
    """The gateway this app serves."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def require_admin(request: Request) -> str:
    """FastAPI dependency: how the caller got in, or AuthError."""
    gateway = gateway_of(request)
    return admit(caller_of(request), gateway.config.server, gateway.clock())


InGateway = Annotated[Gateway, Depends(gateway_of)]


def _local_only(caller: Caller, server: ServerConfig) -> None:
    if not server.loopback:
        raise AuthError(
            "This gateway listens beyond this machine and has no admin key: set server.admin_key (for instance from BREAKEVEN_ADMIN_KEY).",
            status=403,
            code="admin_key_not_set",
        )
    if caller.client is None or not is_loopback(caller.client) or any(name in caller.headers for name in _FORWARDED):
        raise AuthError("Without server.admin_key the admin API answers this machine only.", status=403, code="admin_key_not_set")
    if not is_loopback(_hostname(f"//{caller.headers.get('host', '')}")):
        raise AuthError("Without server.admin_key the admin API must be called by a loopback name: localhost or 127.0.0.1.", status=403, code="wrong_host")


def require_same_origin(caller: Caller) -> None:
    """Refuse what another site's page sent. Tools send no Origin; browsers send one with everything that changes something."""
    origin = caller.headers.get("origin")
    site = caller.headers.get("sec-fetch-site", "none")
    foreign = origin is not None and urlsplit(origin).netloc != caller.headers.get("host", "")
    if foreign or (caller.method not in _SAFE and site not in {"none", "same-origin"}):
        raise AuthError("This request came from another site's page; use the dashboard of this gateway.", status=403, code="cross_origin")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _digest(text: str) -> bytes:
    """Equal length for any input, so that comparing tells nothing of the key's length."""
    return hashlib.sha256(text.encode()).digest()


def _sign(ends: str, key: str) -> str:
    return hmac.new(key.encode(), f"breakeven session until {ends}".encode(), hashlib.sha256).hexdigest()
