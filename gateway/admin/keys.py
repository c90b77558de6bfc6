"""POST, GET /admin/keys, DELETE /admin/keys/{id}: the keys that clients use. A secret is shown once, by the answer that made it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BeforeValidator

from gateway.admin import shapes
from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed
from gateway.context import Gateway
from gateway.store import keys
from gateway.store.keys import Key, KeySpec
from router.money import parse_usd
from serving.database import reading, writing

router = APIRouter(route_class=AdminRoute, tags=["keys"])


def _dollars(value: Any) -> Any:
    """Dollars in a body are a number or a decimal string; they become nano-dollars at once."""
    return parse_usd(value) if isinstance(value, str | int | float) else value


class NewKey(Body):
    """What a key may do; what is left out is not limited. `usd_per_day` bounds hosted dollars per UTC day."""

    name: str
    routes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    usd_per_day: Annotated[int | None, BeforeValidator(_dollars, json_schema_input_type=float | str | None)] = None
    expires_at: AwareDatetime | None = None


class KeyBody(Body):
    """A key without its secret."""

    id: str
    name: str
    prefix: str
    routes: tuple[str, ...] | None
    models: tuple[str, ...] | None
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    per_day_nanousd: int | None
    per_day_usd: str | None
    expires_at: Instant | None
    created_at: Instant
    revoked_at: Instant | None
    usable: bool


class CreatedKey(KeyBody):
    """A new key with its secret, `key`: nobody can show it again."""

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
    key, secret = await asyncio.to_thread(_create, gateway, body, now)
    await gateway.fleet.refresh(force=True)
    return CreatedKey(**shape(key, now), key=secret)


@router.get("/keys")
def listed(gateway: InGateway) -> Listed[KeyBody]:
    """Every key, revoked ones included, oldest first."""
    with reading(gateway.database) as conn:
        found = keys.listed(conn)
    return Listed[KeyBody](data=tuple(KeyBody(**shape(key, gateway.clock())) for key in found))


@router.delete("/keys/{key_id}")
async def revoke(gateway: InGateway, key_id: str) -> RevokedKey:
    """Close a key for good; doing it again changes nothing."""
    await asyncio.to_thread(_revoke, gateway, key_id)
    await gateway.fleet.refresh(force=True)
    return RevokedKey(id=key_id)


def _create(gateway: Gateway, body: NewKey, now: float) -> tuple[Key, str]:
    ends: datetime | None = body.expires_at
    spec = KeySpec(
        name=body.name,
        routes=body.routes,
        models=body.models,
        rpm=body.rpm,
        tpm=body.tpm,
        concurrency=body.concurrency,
        nanousd_per_day=body.usd_per_day,
        expires_at=None if ends is None else ends.timestamp(),
    )
    with writing(gateway.database) as conn:
        return keys.create(conn, spec, now)


def _revoke(gateway: Gateway, key_id: str) -> None:
    with writing(gateway.database) as conn:
        keys.revoke(conn, key_id, gateway.clock())


def shape(key: Key, now: float) -> dict[str, Any]:
    """The fields of a KeyBody."""
    same = ("id", "name", "prefix", "routes", "models", "rpm", "tpm", "concurrency", "expires_at", "created_at", "revoked_at")
    return {name: getattr(key, name) for name in same} | shapes.money("per_day", key.nanousd_per_day) | {"usable": key.usable(now)}
