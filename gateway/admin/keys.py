"""POST, GET /admin/keys, PATCH, DELETE /admin/keys/{id}, POST /admin/keys/{id}/rotate: the keys that clients use. A secret is shown once, by the answer that
made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter
from pydantic import AwareDatetime, BeforeValidator
from sqlalchemy import Connection

from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed
from gateway.context import Gateway
from gateway.store import keys
from gateway.store.keys import Key, KeySpec
from router.errors import RequestError
from router.money import parse_usd
from serving.database import reading, writing

router = APIRouter(route_class=AdminRoute, tags=["keys"])
GRACE_S = 86_400.0
_Made = TypeVar("_Made")


def _dollars(value: Any) -> Any:
    """Dollars in a body are a number or a decimal string; they become nano-dollars at once."""
    return parse_usd(value) if isinstance(value, str | int | float) else value


Dollars = Annotated[int | None, BeforeValidator(_dollars, json_schema_input_type=float | str | None)]


class KeyLimits(Body):
    """What a key may do; null is not limited. `usd_per_day` and `usd_per_month` bound hosted dollars (UTC); `endpoints` are of chat, completions, embeddings,
    responses, files, batches, passthrough and pin; `tags` are carried by each of its requests that does not say otherwise."""

    routes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    usd_per_day: Dollars = None
    usd_per_month: Dollars = None
    expires_at: AwareDatetime | None = None
    tags: dict[str, str] | None = None


class NewKey(KeyLimits):
    """A key to make; what is left out is not limited."""

    name: str


class KeyChange(KeyLimits):
    """What shall change; what is left out stays as it is, null takes a limit away."""

    name: str | None = None


class Rotation(Body):
    """For how many seconds the old secret goes on opening the same."""

    grace_s: float = GRACE_S


class KeyBody(Body):
    """A key without its secret. `last_used_at`: its newest request in the ledger; `previous_until`: until then the secret before the last rotation works."""

    id: str
    name: str
    prefix: str
    routes: tuple[str, ...] | None
    models: tuple[str, ...] | None
    endpoints: tuple[str, ...] | None
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    per_day_nanousd: int | None
    per_day_usd: str | None
    per_month_nanousd: int | None
    per_month_usd: str | None
    tags: dict[str, str]
    expires_at: Instant | None
    created_at: Instant
    revoked_at: Instant | None
    previous_until: Instant | None
    last_used_at: Instant | None
    usable: bool


class CreatedKey(KeyBody):
    """A key with its new secret, `key`: nobody can show it again."""

    key: str


class RevokedKey(Body):
    """A key that opens nothing any more."""

    id: str
    object: Literal["key"] = "key"
    deleted: Literal[True] = True


@router.post("/keys", status_code=201)
async def create(gateway: InGateway, body: NewKey) -> CreatedKey:
    """Make a key. It works here at once and in every other process within a second."""
    now = gateway.clock()
    key, secret = await _write(gateway, lambda conn: keys.create(conn, spec(KeySpec(body.name), body), now))
    return CreatedKey(**shape(key, now), key=secret)


@router.get("/keys")
def listed(gateway: InGateway) -> Listed[KeyBody]:
    """Every key, revoked ones included, oldest first."""
    now = gateway.clock()
    with reading(gateway.database) as conn:
        found, used = keys.listed(conn), keys.last_used(conn)
    return Listed[KeyBody](data=tuple(KeyBody(**shape(key, now, used.get(key.id))) for key in found))


@router.patch("/keys/{key_id}")
async def change(gateway: InGateway, key_id: str, body: KeyChange) -> KeyBody:
    """Give a key other limits, in force here at once and in every other process within a second. Its secret and what belongs to it stay."""
    now = gateway.clock()

    def write(conn: Connection) -> tuple[Key, float | None]:
        wanted = spec(keys.spec_of(keys.get(conn, key_id)), body)
        return keys.update(conn, key_id, wanted, now), keys.last_used(conn).get(key_id)

    return KeyBody(**shape(*_spread(await _write(gateway, write), now)))


@router.post("/keys/{key_id}/rotate")
async def rotate(gateway: InGateway, key_id: str, body: Rotation | None = None) -> CreatedKey:
    """Give a key another secret. Its id stays, and with it its limits, files, batches and kept responses; the old secret works for a grace."""
    now, grace_s = gateway.clock(), (body or Rotation()).grace_s
    key, secret = await _write(gateway, lambda conn: keys.rotate(conn, key_id, grace_s, now))
    return CreatedKey(**shape(key, now), key=secret)


@router.delete("/keys/{key_id}")
async def revoke(gateway: InGateway, key_id: str) -> RevokedKey:
    """Close a key for good; doing it again changes nothing."""
    now = gateway.clock()
    await _write(gateway, lambda conn: keys.revoke(conn, key_id, now))
    return RevokedKey(id=key_id)


async def _write(gateway: Gateway, act: Callable[[Connection], _Made]) -> _Made:
    """Do something in one transaction, and see to it that this process knows."""

    def run() -> _Made:
        with writing(gateway.database) as conn:
            return act(conn)

    made = await asyncio.to_thread(run)
    await gateway.fleet.refresh(force=True)
    return made


def _spread(made: tuple[Key, float | None], now: float) -> tuple[Key, float, float | None]:
    return made[0], now, made[1]


def spec(before: KeySpec, body: KeyLimits) -> KeySpec:
    """A key's spec with what a body says of it. RequestError for a name that is null."""
    said: Mapping[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
    if "name" in said and said["name"] is None:
        raise RequestError("`name` must be 1 to 100 printable characters, not null; leave it out to keep it", param="name")
    named = {("nano" + name if name.startswith("usd_per_") else name): value for name, value in said.items()}
    ends: datetime | None = named.get("expires_at")
    if ends is not None:
        named["expires_at"] = ends.timestamp()
    return replace(before, **{name: named[name] for name in (field.name for field in fields(KeySpec)) if name in named})


def shape(key: Key, now: float, used: float | None = None) -> dict[str, Any]:
    """The fields of a KeyBody."""
    same = ("id", "name", "prefix", "routes", "models", "endpoints", "rpm", "tpm", "concurrency", "expires_at", "created_at", "revoked_at", "previous_until")
    made = {name: getattr(key, name) for name in same} | {"tags": dict(key.tags or {}), "last_used_at": used, "usable": key.usable(now)}
    return made | shapes.money("per_day", key.nanousd_per_day) | shapes.money("per_month", key.nanousd_per_month)
