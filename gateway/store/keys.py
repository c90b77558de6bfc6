"""API keys: made, changed, rotated, revoked, listed, and the snapshot that workers check requests against. The only writer of `keys`.

A secret is `bk-` and 43 URL-safe characters (256 bits), shown once by `create`; the table has its SHA-256, and the prefix that people recognise.
A plain hash is right for a random secret of this length: there is no dictionary to slow down.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select
from sqlalchemy import update as change

from gateway.store.tables import exchanges, keys
from router.errors import RequestError
from serving.database import bump

SECRET_PREFIX = "bk-"  # noqa: S105 - the prefix, not a secret
_PREFIX_LENGTH = 10
_MAX_NAME = 100
_MAX_TAGS = 16
_MAX_TAG_CHARS = 64
MOST_GRACE_S = 30 * 86_400
# What a key may be limited to: the routed endpoints, what is kept for clients, what is passed on to the default provider, and naming a candidate by header.
ENDPOINTS = ("chat", "completions", "embeddings", "responses", "files", "batches", "fine_tuning", "passthrough", "pin")


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
    check(spec, now)
    secret, key_id = _new_secret(), f"key_{secrets.token_hex(8)}"
    named = {"id": key_id, "sha256": digest(secret), "prefix": secret[:_PREFIX_LENGTH], "created_at": now}
    conn.execute(insert(keys).values(named | _columns(spec)))
    bump(conn)
    return get(conn, key_id), secret


def update(conn: Connection, key_id: str, spec: KeySpec, now: float) -> Key:
    """Give a key other limits; its secret, and what belongs to it, stay. Raises RequestError: 400 naming the field to change, 404, 409 for a revoked key."""
    key = _open(conn, key_id)
    check(spec, now, expires=spec.expires_at != key.expires_at)
    conn.execute(change(keys).where(keys.c.id == key_id).values(_columns(spec)))
    bump(conn)
    return get(conn, key_id)


def rotate(conn: Connection, key_id: str, grace_s: float, now: float) -> tuple[Key, str]:
    """Give a key another secret: the key, and the secret that nobody can show again. The one before opens the same for `grace_s` more; the one before that,
    nothing any more. Raises RequestError: 400, 404, 409 for a revoked key."""
    if not 0.0 <= grace_s <= MOST_GRACE_S:
        raise RequestError(f"`grace_s` must be from 0 (the old secret ends at once) to {MOST_GRACE_S} seconds (30 days)", param="grace_s")
    _open(conn, key_id)
    secret = _new_secret()
    row = conn.execute(select(keys.c.sha256).where(keys.c.id == key_id)).one()
    old = {"previous_sha256": row.sha256, "previous_until": now + grace_s} if grace_s else {"previous_sha256": None, "previous_until": None}
    conn.execute(change(keys).where(keys.c.id == key_id).values(sha256=digest(secret), prefix=secret[:_PREFIX_LENGTH], **old))
    bump(conn)
    return get(conn, key_id), secret


def get(conn: Connection, key_id: str) -> Key:
    """One key. Raises RequestError (404) for an id that is not there."""
    row = conn.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
    if row is None:
        raise RequestError(f"there is no key {key_id!r}; `breakeven keys list` shows the ids", status=404, code="key_not_found", param="id")
    return _key(row)


def spec_of(key: Key) -> KeySpec:
    """What a key was asked to be."""
    return KeySpec(**{field.name: getattr(key, field.name) for field in fields(KeySpec)})


def last_used(conn: Connection) -> dict[str, float]:
    """When each key last made a request that is in the ledger. One look into an index for each key."""
    newest = select(exchanges.c.time).where(exchanges.c.key_id == keys.c.id).order_by(exchanges.c.time.desc()).limit(1).scalar_subquery()
    return {row.id: row.at for row in conn.execute(select(keys.c.id, newest.label("at"))) if row.at is not None}


def listed(conn: Connection) -> list[Key]:
    """Every key, revoked ones included, oldest first."""
    return [_key(row) for row in conn.execute(select(keys).order_by(keys.c.created_at, keys.c.id))]


def revoke(conn: Connection, key_id: str, now: float) -> Key:
    """Close a key for good; closing it twice changes nothing. Raises RequestError (404) for an id that is not there."""
    conn.execute(change(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=now))
    key = get(conn, key_id)
    bump(conn)
    return key


def snapshot(conn: Connection) -> dict[str, Key]:
    """Every key that is not revoked by the SHA-256 of its secret (hexadecimal). Expiry is the caller's to check, at each request (`Key.usable`).

    A key that was rotated is there by its earlier secret too, as one that expires when that does, before the others: who looks a key up by its id gets the
    present one.
    """
    rows = conn.execute(select(keys).where(keys.c.revoked_at.is_(None))).all()
    old = {row.previous_sha256: _earlier(_key(row)) for row in rows if row.previous_sha256 is not None}
    return old | {row.sha256: _key(row) for row in rows}


def check(spec: KeySpec, now: float, *, expires: bool = True) -> None:
    """Raises RequestError (400) for the first field that cannot be. `expires` False: `expires_at` is as it was and may be over."""
    if not spec.name.strip() or len(spec.name) > _MAX_NAME or not spec.name.isprintable():
        raise RequestError(f"`name` must be 1 to {_MAX_NAME} printable characters", param="name")
    for field in ("rpm", "tpm", "concurrency"):
        value = getattr(spec, field)
        if value is not None and not 1 <= value < 2**31:
            raise RequestError(f"`{field}` must be a whole number from 1 to 2147483647, not {value}; leave it out for no limit", param=field)
    for field in ("usd_per_day", "usd_per_month"):
        value = getattr(spec, "nano" + field)
        if value is not None and not 0 <= value < 2**63:
            raise RequestError(f"`{field}` must be from 0 (free answers only) to 9000000000; leave it out for no limit", param=field)
    if spec.endpoints is not None and not set(spec.endpoints) <= set(ENDPOINTS):
        wrong = next(name for name in spec.endpoints if name not in ENDPOINTS)
        raise RequestError(f"`endpoints` has {wrong!r}; it takes {', '.join(ENDPOINTS)}; leave it out to allow all", param="endpoints")
    _check_tags(spec.tags or {})
    if expires and spec.expires_at is not None and spec.expires_at <= now:
        raise RequestError("`expires_at` must lie in the future", param="expires_at")
    for field in ("routes", "models", "endpoints"):
        names = getattr(spec, field)
        if names is not None and (not names or not all(names)):
            raise RequestError(f"`{field}` must name at least one, without empty names; leave it out to allow all", param=field)


def _check_tags(tags: Mapping[str, str]) -> None:
    """As in the header x-breakeven-tags, so that a budget can name them."""
    parts = [(part, name) for pair in tags.items() for part, name in zip(pair, (True, False), strict=True)]
    fine = all(part == part.strip() and part.isprintable() and len(part) <= _MAX_TAG_CHARS and "," not in part for part, _ in parts)
    if len(tags) > _MAX_TAGS or not fine or not all(part and "=" not in part for part, name in parts if name):
        raise RequestError(
            f"`tags` must be at most {_MAX_TAGS} names with values such as team=search, each of at most {_MAX_TAG_CHARS} printable characters, without commas, "
            "and names without `=`",
            param="tags",
        )


def _open(conn: Connection, key_id: str) -> Key:
    key = get(conn, key_id)
    if key.revoked_at is not None:
        raise RequestError(
            f"the key {key_id!r} was revoked and stays so; make another with `breakeven keys create`", status=409, code="key_revoked", param="id"
        )
    return key


def _earlier(key: Key) -> Key:
    ends = [at for at in (key.expires_at, key.previous_until) if at is not None]
    return replace(key, expires_at=min(ends))


def _new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def _columns(spec: KeySpec) -> dict[str, Any]:
    """A spec's fields as columns, which have the same names."""
    found = {field.name: getattr(spec, field.name) for field in fields(KeySpec)}
    return found | {name: _listed(found[name]) for name in ("routes", "models", "endpoints")} | {"tags": dict(spec.tags) if spec.tags else None}


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
