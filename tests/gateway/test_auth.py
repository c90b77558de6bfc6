"""Keys, scopes, and the words of a refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway import auth
from gateway.store.keys import Key, digest
from router.errors import AuthError, RequestError

KEY = Key("key_1", "team", "bk-x", None, None, None, None, None, None, None, 0.0, None)
KEYS = {digest("bk-secret-secret"): KEY}


def test_a_good_key() -> None:
    """The scheme's case does not matter."""
    for header in (b"Bearer bk-secret-secret", b"bearer  bk-secret-secret "):
        assert auth.authenticate(header, KEYS, open_access=False, now=0.0) is KEY


def test_open_access_needs_none() -> None:
    """Whatever is sent is not looked at."""
    assert auth.authenticate(b"Bearer anything", {}, open_access=True, now=0.0) is None


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "didn't provide"),
        (b"", "didn't provide"),
        (b"Basic abc", "didn't provide"),
        (b"Bearer ", "didn't provide"),
        (b"Bearer sk-wrong-key-123", "Incorrect API key provided: sk-...-123"),
        (b"Bearer short", "provided: ***"),
    ],
)
def test_no_or_wrong_key(header: bytes | None, said: str) -> None:
    """401 invalid_api_key in OpenAI's words; the key itself is not repeated."""
    with pytest.raises(AuthError, match=said.replace("*", r"\*")) as caught:
        auth.authenticate(header, KEYS, open_access=False, now=0.0)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert header is None or b"wrong-key" not in caught.value.message.encode()


def test_expired_and_revoked_keys_are_wrong_keys() -> None:
    """Expiry is checked at each request."""
    for key, now in ((replace(KEY, expires_at=10.0), 10.0), (replace(KEY, revoked_at=1.0), 2.0)):
        with pytest.raises(AuthError):
            auth.authenticate(b"Bearer bk-secret-secret", {digest("bk-secret-secret"): key}, open_access=False, now=now)
    assert auth.authenticate(b"Bearer bk-secret-secret", {digest("bk-secret-secret"): replace(KEY, expires_at=10.0)}, open_access=False, now=9.9)


@pytest.mark.parametrize(
    ("routes", "models", "name", "is_route", "allowed"),
    [
        (None, None, "r", True, True),
        (None, None, "m", False, True),
        (("r",), None, "r", True, True),
        (("r",), None, "s", True, False),
        (("r",), None, "openai/gpt", False, False),
        (None, ("gpt-4o",), "gpt-4o", False, True),
        (None, ("gpt-4o",), "r", True, False),
        (None, ("openai/*",), "openai/gpt", False, True),
        (None, ("*",), "r", True, True),
        (("sup*",), None, "support", True, True),
    ],
)
def test_scopes(routes: tuple[str, ...] | None, models: tuple[str, ...] | None, name: str, is_route: bool, allowed: bool) -> None:
    """A key that is limited to some names may use no others; they do not exist for it."""
    key = replace(KEY, routes=routes, models=models)
    assert auth.allowed(key, name, is_route=is_route) is allowed
    if allowed:
        auth.check_scope(key, name, is_route=is_route)
    else:
        with pytest.raises(RequestError) as caught:
            auth.check_scope(key, name, is_route=is_route)
        assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_pins_and_other_endpoints_need_their_scope() -> None:
    """403 that says what is missing."""
    limited = replace(KEY, routes=("r",))
    for check in (lambda: auth.check_pin(limited, "openai/x"), lambda: auth.check_passthrough(limited, "/v1/files")):
        with pytest.raises(AuthError) as caught:
            check()
        assert (caught.value.status, caught.value.code) == (403, "insufficient_permissions")
    auth.check_passthrough(None, "/v1/files")
    auth.check_passthrough(KEY, "/v1/files")
    auth.check_passthrough(replace(KEY, models=("*",)), "/v1/files")
    auth.check_pin(replace(KEY, models=("openai/*",)), "openai/x")


def test_endpoints_are_scopes_of_their_own() -> None:
    """Only those that are listed; passing through and pinning are among them, and say so themselves. Whoever has no such list is as free as before."""
    key = replace(KEY, endpoints=("chat", "passthrough"))
    auth.check_endpoint(key, "chat")
    auth.check_endpoint(KEY, "files")
    auth.check_endpoint(None, "files")
    auth.check_passthrough(replace(key, routes=("r",)), "/v1/audio")
    for check in (
        lambda: auth.check_endpoint(key, "files"),
        lambda: auth.check_pin(key, "a/b"),
        lambda: auth.check_passthrough(replace(key, endpoints=("chat",)), "/"),
    ):
        with pytest.raises(AuthError, match="its endpoints are chat") as caught:
            check()
        assert (caught.value.status, caught.value.code) == (403, "insufficient_permissions")
    auth.check_pin(replace(KEY, endpoints=("pin",)), "a/b")


def test_the_admin_key() -> None:
    """Without an admin key nobody is admin."""
    assert auth.is_admin(b"Bearer secret", "secret")
    assert not auth.is_admin(b"Bearer secret", None)
    assert not auth.is_admin(b"Basic secret", "secret")
    assert not auth.is_admin(None, "secret")
