"""API keys: made, listed, revoked, and the snapshot that workers check requests against. The only writer of `keys`.

A secret is `bk-` and 43 URL-safe characters (256 bits), shown once by `create`; the table has its SHA-256, and the prefix that people recognise.
A plain hash is right for a random secret of this length: there is no dictionary to slow down.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from gateway.store.tables import keys
from router.errors import RequestError
from serving.database import bump

SECRET_PREFIX = "bk-"  # noqa: S105 - the prefix, not a secret
_PREFIX_LENGTH = 10
_MAX_NAME = 100
# What a key may be limited to: the routed endpoints, what is kept for clients, what is passed on to the default provider, and naming a candidate by header.
ENDPOINTS = ("chat", "completions", "embeddings", "responses", "files", "batches", "passthrough", "pin")


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What a key shall be. None is no limit. `routes` and `models` are names as a client would send them, `endpoints` words of ENDPOINTS; money in
    nano-dollars per UTC day and month; `tags` are carried by every request of the key that has no other value for them."""

    name: str
    routes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    nanousd_per_day: int | None = None
    expires_at: float | None = None
    endpoints: tuple[str, ...] | None = None
    nanousd_per_month: int | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. Instants in epoch seconds. `previous_until`: until then the secret before the last rotation opens the same."""

    id: str
    name: str
    prefix: str
    routes: tuple[str, ...] | None
    models: tuple[str, ...] | None
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    nanousd_per_day: int | None
    expires_at: float | None
    created_at: float
    revoked_at: float | None
    endpoints: tuple[str, ...] | None = None
    nanousd_per_month: int | None = None
    tags: Mapping[str, str] | None = None
    previous_until: float | None = None

    def usable(self, now: float) -> bool:
        """Whether it opens anything at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def digest(secret: str) -> str:
    """What `snapshot` is keyed by."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(conn: Connection, spec: KeySpec, now: float) -> tuple[Key, str]:
    """Make a key: the key, and the secret that nobody can show again. Raises RequestError (400) naming the field to change."""
    _check(spec, now)
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    row = {
        "id": f"key_{secrets.token_hex(8)}",
        "sha256": digest(secret),
        "prefix": secret[:_PREFIX_LENGTH],
        "name": spec.name,
        "routes": _listed(spec.routes),
        "models": _listed(spec.models),
        "rpm": spec.rpm,
        "tpm": spec.tpm,
        "concurrency": spec.concurrency,
        "nanousd_per_day": spec.nanousd_per_day,
        "expires_at": spec.expires_at,
        "created_at": now,
    }
    conn.execute(insert(keys).values(row))
    bump(conn)
    return _key(conn.execute(select(keys).where(keys.c.id == row["id"])).one()), secret


def listed(conn: Connection) -> list[Key]:
    """Every key, revoked ones included, oldest first."""
    return [_key(row) for row in conn.execute(select(keys).order_by(keys.c.created_at, keys.c.id))]


def revoke(conn: Connection, key_id: str, now: float) -> Key:
    """Close a key for good; closing it twice changes nothing. Raises RequestError (404) for an id that is not there."""
    conn.execute(update(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=now))
    row = conn.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
    if row is None:
        raise RequestError(f"there is no key {key_id!r}; `breakeven keys list` shows the ids", status=404, code="key_not_found", param="id")
    bump(conn)
    return _key(row)


def snapshot(conn: Connection) -> dict[str, Key]:
    """Every key that is not revoked by the SHA-256 of its secret (hexadecimal). Expiry is the caller's to check, at each request (`Key.usable`)."""
    return {row.sha256: _key(row) for row in conn.execute(select(keys).where(keys.c.revoked_at.is_(None)))}


def _check(spec: KeySpec, now: float) -> None:
    if not spec.name.strip() or len(spec.name) > _MAX_NAME or not spec.name.isprintable():
        raise RequestError(f"`name` must be 1 to {_MAX_NAME} printable characters", param="name")
    for field in ("rpm", "tpm", "concurrency"):
        value = getattr(spec, field)
        if value is not None and not 1 <= value < 2**31:
            raise RequestError(f"`{field}` must be a whole number from 1 to 2147483647, not {value}; leave it out for no limit", param=field)
    if spec.nanousd_per_day is not None and not 0 <= spec.nanousd_per_day < 2**63:
        raise RequestError("`usd_per_day` must be from 0 (free answers only) to 9000000000; leave it out for no limit", param="usd_per_day")
    if spec.expires_at is not None and spec.expires_at <= now:
        raise RequestError("`expires_at` must lie in the future", param="expires_at")
    for field in ("routes", "models"):
        names = getattr(spec, field)
        if names is not None and (not names or not all(names)):
            raise RequestError(f"`{field}` must name at least one, without empty names; leave it out to allow all", param=field)


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        routes=None if row.routes is None else tuple(row.routes),
        models=None if row.models is None else tuple(row.models),
        rpm=row.rpm,
        tpm=row.tpm,
        concurrency=row.concurrency,
        nanousd_per_day=row.nanousd_per_day,
        expires_at=row.expires_at,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        endpoints=None if row.endpoints is None else tuple(row.endpoints),
        nanousd_per_month=row.nanousd_per_month,
        tags=row.tags,
        previous_until=row.previous_until,
    )
