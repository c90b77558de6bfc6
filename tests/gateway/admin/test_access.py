"""Who may use the admin API."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from gateway.admin.access import SESSION_S, Caller, admit, new_session, session_valid
from gateway.config.models import ServerConfig
from router.errors import AuthError
from tests.gateway.admin import world
from tests.gateway.admin.world import World

OPEN = ServerConfig()
LOCKED = ServerConfig(host="0.0.0.0", admin_key=SecretStr("secret"))
HOST = {"host": "127.0.0.1:8080"}


def caller(method: str = "GET", client: str | None = "127.0.0.1", cookie: str | None = None, **headers: str) -> Caller:
    return Caller(method, client, HOST | {name.replace("_", "-"): value for name, value in headers.items()}, cookie)


def test_the_key_and_the_session_open() -> None:
    """Bearer in any case; a session cookie from our own page."""
    assert admit(caller(authorization="bearer secret"), LOCKED, 0) == "key"
    assert admit(caller(cookie=new_session("secret", 0)), LOCKED, 10) == "session"
    assert admit(caller("POST", cookie=new_session("secret", 0), origin="http://127.0.0.1:8080", sec_fetch_site="same-origin"), LOCKED, 10) == "session"


REFUSED: list[tuple[Caller, ServerConfig, int]] = [
    (caller(), LOCKED, 401),
    (caller(authorization="Bearer wrong"), LOCKED, 401),
    (caller(authorization="Basic secret"), LOCKED, 401),
    (caller(cookie="9999999999.forged"), LOCKED, 401),
    (caller(cookie=new_session("other", 0)), LOCKED, 401),
    (caller("POST", cookie=new_session("secret", 0), origin="https://evil.example"), LOCKED, 403),
    (caller("POST", cookie=new_session("secret", 0), sec_fetch_site="same-site"), LOCKED, 403),
    (caller(client="192.0.2.7"), OPEN, 403),
    (caller(client=None), OPEN, 403),
    (caller(x_forwarded_for="192.0.2.7"), OPEN, 403),
    (caller(origin="null"), OPEN, 403),
    (caller("POST", sec_fetch_site="cross-site"), OPEN, 403),
    (Caller("GET", "127.0.0.1", {"host": "rebound.example:8080"}), OPEN, 403),
    (Caller("GET", "127.0.0.1", {"host": "[bad"}), OPEN, 403),
    (caller(), ServerConfig(host="0.0.0.0"), 403),
]


@pytest.mark.parametrize(("who", "server", "status"), REFUSED)
def test_everyone_else_is_refused(who: Caller, server: ServerConfig, status: int) -> None:
    """Wrong keys, forged sessions, other sites' pages, other machines, rebound names, and a gateway in the open without a key."""
    with pytest.raises(AuthError) as caught:
        admit(who, server, 1.0)
    assert caught.value.status == status


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080"])
def test_without_a_key_this_machine_may(host: str) -> None:
    """By any of its loopback names, from tools and from our own pages."""
    assert admit(Caller("POST", "::1", {"host": host, "origin": f"http://{host}"}), OPEN, 0) == "loopback"


def test_an_empty_key_is_no_key() -> None:
    """`${BREAKEVEN_ADMIN_KEY:-}` unset must not make the empty string a password."""
    with pytest.raises(AuthError):
        admit(caller(client="192.0.2.7", authorization="Bearer "), ServerConfig(admin_key=SecretStr("")), 0)


def test_sessions_end() -> None:
    """After a week, and with the key they were made with."""
    cookie = new_session("secret", 1000)
    assert session_valid(cookie, "secret", 999 + SESSION_S)
    assert not session_valid(cookie, "secret", 1000 + SESSION_S)
    assert not session_valid(f"9{cookie}", "secret", 1000)
    assert not session_valid("", "secret", 0)


PATHS = ["/admin/routes", "/admin/exchanges", "/admin/costs", "/admin/keys", "/admin/decisions/x", "/admin/docs", "/admin/openapi.json", "/admin/adapters"]


@pytest.mark.parametrize("path", PATHS)
def test_every_endpoint_asks(locked: World, path: str) -> None:
    """No admin endpoint answers without the key, and the refusal has the error shape."""
    answer = httpx.get(locked.url + path)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_admin_key"
    assert httpx.get(locked.url + path, headers={"authorization": f"Bearer {world.ADMIN_KEY}"}).status_code in {200, 404}


def test_malformed_headers_do_not_hurt(locked: World) -> None:
    """Bytes that are no ASCII in the key are a wrong key, not a crash."""
    host, port = locked.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as raw:
        raw.sendall(
            b"GET /admin/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \xff\xfe\r\ncookie: breakeven_session=\xff.\xfe\r\nconnection: close\r\n\r\n"
        )
        said: Any = raw.recv(65536)
    assert b" 401 " in said
