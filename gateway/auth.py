"""Who is asking and what they may ask for: a bearer key against the in-memory snapshot. Pure; limits are elsewhere (limits.py), the admin key too (admin/)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.asgi import Scope, header
from gateway.store.keys import Key
from router.errors import AuthError, RequestError

if TYPE_CHECKING:
    from gateway.view import FleetView

_ALL = "*"
# Where a request that the gateway itself makes says whose it is. Scopes are made in this process: nothing that comes over a network can set it.
CALLER = "breakeven.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose a request of the batch lane is (batches/lane.py); None: of nobody, while the gateway is open."""

    key: Key | None


def of(scope: Scope, view: FleetView, now: float) -> Key | None:
    """The key of a request on a routed path, wherever the request came from; None while the gateway is open. AuthError 401."""
    caller = scope.get(CALLER)
    if isinstance(caller, Caller):
        return caller.key
    return authenticate(header(scope, b"authorization"), view.keys, open_access=view.open_access, now=now)


def authenticate(authorization: bytes | None, keys: Mapping[str, Key], *, open_access: bool, now: float) -> Key | None:
    """The key of a request; None while the gateway is open. AuthError 401 in OpenAI's words otherwise."""
    if open_access:
        return None
    scheme, _, secret = (authorization or b"").partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not secret:
        raise AuthError(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
            "(i.e. Authorization: Bearer YOUR_KEY). Keys of this gateway are made with `breakeven keys create`.",
            status=401,
        )
    key = keys.get(hashlib.sha256(secret).hexdigest())
    if key is None or not key.usable(now):
        shown = _masked(secret)
        raise AuthError(f"Incorrect API key provided: {shown}. Keys of this gateway are made with `breakeven keys create`.", status=401)
    return key


def check_scope(key: Key | None, model: str, *, is_route: bool) -> None:
    """Whether a key may ask for a route, or for a model by name. A key that is limited to some of either may use nothing of the other.

    RequestError 404 where it may not: what a key cannot use does not exist for it, as at OpenAI.
    """
    if not allowed(key, model, is_route=is_route):
        raise no_such_model(model)


def allowed(key: Key | None, model: str, *, is_route: bool) -> bool:
    """As `check_scope`, as a question. Entries of `models` may end in `*`."""
    if key is None or (key.routes is None and key.models is None):
        return True
    if is_route:
        return _matches(model, key.routes) or _matches(model, key.models)
    return _matches(model, key.models)


def check_endpoint(key: Key | None, endpoint: str) -> None:
    """Whether a key may use an endpoint (a word of store.keys.ENDPOINTS): AuthError 403 that says which scope is missing."""
    if key is not None and key.endpoints is not None and endpoint not in key.endpoints:
        may = ", ".join(key.endpoints)
        message = f"This key may not use {endpoint}: its endpoints are {may}. Add {endpoint} with `breakeven keys update {key.id} --endpoint …`."
        raise AuthError(message, status=403, code="insufficient_permissions")


def check_pin(key: Key | None, pin: str) -> None:
    """Whether a key may name a candidate with `x-breakeven-pin`: AuthError 403 that says which scope is missing."""
    check_endpoint(key, "pin")
    if not allowed(key, pin, is_route=False):
        raise AuthError(f"This key may not pin {pin!r}: add it to the key's models, or leave x-breakeven-pin out.", status=403, code="insufficient_permissions")


def check_passthrough(key: Key | None, path: str) -> None:
    """Whether a key may use endpoints that are passed on to the default provider: one with `passthrough` among its endpoints; of those whose endpoints are
    not limited, one without limits to its routes and models, or with `*` among the latter."""
    check_endpoint(key, "passthrough")
    if key is not None and key.endpoints is not None:
        return
    if key is not None and (key.routes is not None or key.models is not None) and _ALL not in (key.models or ()):
        raise AuthError(f"This key may not use {path}: it is limited to certain routes or models.", status=403, code="insufficient_permissions")


def no_such_model(model: str) -> RequestError:
    """OpenAI's answer for a name that nothing stands for."""
    return RequestError(f"The model `{model[:200]}` does not exist or you do not have access to it.", status=404, code="model_not_found", param="model")


def _matches(name: str, patterns: tuple[str, ...] | None) -> bool:
    return any(name == pattern or (pattern.endswith(_ALL) and name.startswith(pattern[:-1])) for pattern in patterns or ())


def _masked(secret: bytes) -> str:
    text = secret.decode("latin-1")
    return f"{text[:3]}...{text[-4:]}" if len(text) > 12 else "***"


def is_admin(authorization: bytes | None, admin_key: str | None) -> bool:
    """Whether a bearer token is the admin key. False while there is none."""
    scheme, _, secret = (authorization or b"").partition(b" ")
    return admin_key is not None and scheme.lower() == b"bearer" and hmac.compare_digest(secret.strip(), admin_key.encode())
