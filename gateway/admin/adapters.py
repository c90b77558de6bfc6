"""Adapters over HTTP: what there is, adding a version, and the verbs load, canary, promote, rollback, retire. The documents are shared with the command line.

Here: shapes, status codes, waiting. Not here: what a verb does (serving/verbs.py), the check of what is added (serving/admission.py), who does the work (the
controller). Verbs are idempotent; one that is not done within `wait_s` answers 202 and goes on.
"""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field
from sqlalchemy import Engine

from gateway.adapters import Asked, added, body_of, is_done, listed, previewed, requested, shown
from gateway.admin.access import InGateway, require_admin
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed
from serving.verbs import Change, Verb

router = APIRouter(route_class=AdminRoute, tags=["adapters"])
POLL_S = 0.1

Name = Annotated[str, Path(description="The adapter's name.")]
Who = Annotated[str, Depends(require_admin)]
DryRun = Annotated[bool, Query(description="Say what would happen, and do nothing.")]


class NewVersion(Body):
    """A directory on the gateway's machine, inside `adapters.import_roots`. `engine` is needed only where routes do not say it."""

    path: str
    engine: str | None = None


class Verbs(Body):
    """`version` is a number or a digest (`rollback` without one: the previous). `percent` is for canary. `force` needs a `reason`."""

    version: int | str | None = None
    percent: float | None = None
    force: bool = False
    reason: str = ""


class How(Body):
    """How to go about a change."""

    dry_run: bool = Field(False, description="Say what would happen, and do nothing.")
    wait_s: float = Field(120.0, ge=0, le=600, description="Answer 202 when it is not done after so many seconds.")


class AddedBody(Body):
    """A version that passed the checks. `checks` maps each to passed, or why it was not made."""

    adapter: str
    version: int
    digest: str
    state: str
    checks: dict[str, str]
    dry_run: bool = False


class CanaryBody(Body):
    """The version that gets a share of the requests the router sends to this adapter; null: none."""

    version: int | None
    percent: float


class VersionBody(Body):
    """One version. `replicas` are those where it is loaded and verified; `proof` is proven (against the trainer's record), unproven, or null.

    `quality` has by route the last judgement: stage, evidence with n, estimate and interval, what is needed to move up, what holds it.
    """

    version: int
    digest: str
    state: str
    stage: str
    replicas: tuple[int, ...]
    gate: dict[str, Any] | None
    proof: str | None
    verified: dict[str, Any] | None
    reasons: tuple[dict[str, str], ...]
    changed_at: Instant
    quality: dict[str, Any]


class AdapterBody(Body):
    """An adapter. `pending` says in a sentence what was asked and is not done yet."""

    adapter: str
    engine: str
    live: int | None
    previous: int | None
    canary: CanaryBody
    versions: tuple[VersionBody, ...]
    pending: str | None
    dry_run: bool = False
    steps: tuple[str, ...] = ()


class Audited(Body):
    """One line of the audit trail."""

    time: Instant
    version: int | None
    verb: str
    actor: str
    reason: str
    detail: dict[str, Any]


class AdapterWithAudit(AdapterBody):
    """An adapter and who did what to it, newest first."""

    audit: tuple[Audited, ...]


@router.get("/adapters")
async def index(gateway: InGateway) -> Listed[AdapterBody]:
    """Every adapter with its versions."""
    found = await asyncio.to_thread(listed, gateway.database)
    return Listed[AdapterBody](data=tuple(AdapterBody(**body) for body in found["data"]))


@router.get("/adapters/{name}")
async def show(gateway: InGateway, name: Name) -> AdapterWithAudit:
    """One adapter and its audit trail."""
    return AdapterWithAudit(**await asyncio.to_thread(shown, gateway.database, name))


@router.post("/adapters/{name}/versions", status_code=201)
async def versions(gateway: InGateway, who: Who, name: Name, body: NewVersion, response: Response, dry_run: DryRun = False) -> AddedBody:
    """Check a directory, copy it, register it. The same content again is the same version. 422 with every reason when it may not go in."""
    asked = Asked(name, body.path, body.engine, f"admin ({who})", dry_run=dry_run)
    made = await asyncio.to_thread(added, gateway.database, gateway.config, asked, gateway.clock())
    if dry_run:
        response.status_code = 200
    return AddedBody(**made)


@router.post("/adapters/{name}/{verb}")
async def change(gateway: InGateway, who: Who, name: Name, verb: Verb, body: Verbs, response: Response, how: Annotated[How, Query()]) -> AdapterBody:
    """Ask for a change. 422 when the version is refused, 409 `gate_required` when a suite's gate was not passed, 202 when it is not done yet."""
    wanted = Change(verb, name, body.version, body.percent, body.force, body.reason, f"admin ({who})")
    if how.dry_run:
        return AdapterBody(**await asyncio.to_thread(previewed, gateway.database, gateway.config, wanted, gateway.clock()))
    version = await asyncio.to_thread(requested, gateway.database, gateway.config, wanted, gateway.clock())
    finished = await _wait(gateway.database, wanted, version, how.wait_s)
    await gateway.fleet.refresh()
    response.status_code = 200 if finished else 202
    return AdapterBody(**await asyncio.to_thread(body_of, gateway.database, name))


async def _wait(database: Engine, wanted: Change, version: int | None, wait_s: float) -> bool:
    """Whether it is done within `wait_s`. Nothing is held meanwhile: the controller may be another process on another machine."""
    for _ in range(math.ceil(wait_s / POLL_S)):
        if await asyncio.to_thread(is_done, database, wanted, version):
            return True
        await asyncio.sleep(POLL_S)
    return await asyncio.to_thread(is_done, database, wanted, version)
