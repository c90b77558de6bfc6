"""What the admin API and the command line do with adapters, as functions on the database: adding, asking for changes, and the documents they show.

They write what is wanted; the controller does the work. They need no running gateway. Blocking. Not here: HTTP (gateway/admin/adapters.py), the rules
(serving/verbs.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.engine_specs import adapter_routes, engine_for, intake
from gateway.store import quality_states
from gateway.store.quality_states import Place
from router.errors import RequestError
from router.naming import valid_name
from router.types import Stage
from serving import registry
from serving.database import reading, writing
from serving.intake import add, examine
from serving.states import State
from serving.verbs import Change, done
from serving.views import AdapterView, Stages, VersionView, stage_of

_ORDER = list(Stage)
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Asked:
    """A directory to add as a version of `name`; `engine` where routes do not say it."""

    name: str
    path: str
    engine: str | None = None
    actor: str = "command line"
    dry_run: bool = False


def listed(database: Engine) -> dict[str, Any]:
    """Every adapter: the answer of GET /admin/adapters."""
    with reading(database) as conn:
        stages, judged = registry.stages(conn), quality_states.every(conn)
        return {"object": "list", "data": [_body(view, stages, judged) for view in registry.views(conn).values()], "has_more": False, "next_cursor": None}


def shown(database: Engine, name: str) -> dict[str, Any]:
    """One adapter with its audit trail. RequestError 404 when there is none."""
    with reading(database) as conn:
        keep = ("time", "version", "verb", "actor", "reason", "detail")
        trail = [{key: row[key] for key in keep} for row in registry.audit(conn, name)]
        return {**_body(registry.view(conn, name), registry.stages(conn), quality_states.every(conn, name)), "audit": trail}


def body_of(database: Engine, name: str) -> dict[str, Any]:
    """One adapter: what every verb answers."""
    with reading(database) as conn:
        return _body(registry.view(conn, name), registry.stages(conn), quality_states.every(conn, name))


def added(database: Engine, config: Config, asked: Asked, now: float, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check, copy and register a directory: {adapter, version, digest, state, checks}. AdapterRefused with every reason; nothing is kept then."""
    if not valid_name(asked.name):
        raise RequestError(f"{asked.name!r} cannot name an adapter: letters, digits, . - _ (at most 63), a letter or digit first", param="name")
    with reading(database) as conn:
        known = registry.views(conn).get(asked.name)
    engine = engine_for(config, asked.name, asked.engine, known.engine if known else None)
    into = intake(config, engine, os.environ if environ is None else environ)
    if asked.dry_run:
        digest, admission = examine(into, asked.path)
        same = next((v for v in known.versions if v.digest == digest and v.state is not State.RETIRED), None) if known else None
        number = same.version if same else 1 + max((v.version for v in known.versions), default=0) if known else 1
        state = same.state if same else State.REGISTERED
        return {"adapter": asked.name, "version": number, "digest": digest, "state": state, "checks": dict(admission.checks), "dry_run": True}
    version = add(database, into, asked.name, asked.path, asked.actor, now)
    return {"adapter": asked.name, "version": version.version, "digest": version.digest, "state": version.state, "checks": dict(version.checks)}


def previewed(database: Engine, config: Config, change: Change, now: float) -> dict[str, Any]:
    """What `requested` would do, in `steps`; the rest of the document is how things are."""
    with reading(database) as conn:
        made = registry.preview(conn, change, adapter_routes(config).get(change.adapter, {}), now)
        return {
            **_body(made.before, registry.stages(conn), quality_states.every(conn, change.adapter)),
            "dry_run": True,
            "steps": made.steps or ("nothing: it is so already",),
        }


def requested(database: Engine, config: Config, change: Change, now: float) -> int | None:
    """Write what is wanted, for the controller to do; the version that was meant. Raises what the verb raises, before anything is written."""
    with writing(database) as conn:
        return registry.request(conn, change, adapter_routes(config).get(change.adapter, {}), now).version


def is_done(database: Engine, change: Change, version: int | None) -> bool:
    """Whether what was asked is so. AdapterRefused when the engine or the verification refused it meanwhile."""
    with reading(database) as conn:
        return done(registry.view(conn, change.adapter), change, version)


def wait(database: Engine, change: Change, version: int | None, tries: int, pause: Callable[[float], object]) -> bool:
    """Look until it is done, `tries` times with `pause(POLL_S)` between: whether it is. AdapterRefused when it was refused."""
    for _ in range(tries):
        if is_done(database, change, version):
            return True
        pause(POLL_S)
    return is_done(database, change, version)


def carried_out(database: Engine, config: Config, change: Change, wait_s: float, time: tuple[Callable[[], float], Callable[[float], object]]) -> dict[str, Any]:
    """Ask for a change and wait until it is so, at most `wait_s`: the adapter, with `done`. `time` is a clock and a pause, in seconds."""
    clock, pause = time
    meant = requested(database, config, change, clock())
    finished = wait(database, change, meant, int(wait_s / POLL_S), pause)
    return {**body_of(database, change.adapter), "done": finished}


def pending(view: AdapterView) -> str | None:
    """What was asked and is not done yet, in a sentence."""
    said = [f"{v.version} is being loaded" for v in view.versions if v.wanted and v.state is State.REGISTERED]
    said += [f"{v.version} is on its way out" for v in view.versions if v.state is State.DRAINING]
    if view.want_live is not None:
        said.append(f"{view.want_live} becomes live then")
    if view.want_canary is not None:
        said.append(f"{view.want_canary} becomes the canary then")
    return "; ".join(said) or None


def _body(view: AdapterView, stages: Stages, judged: Mapping[Place, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "adapter": view.name,
        "engine": view.engine,
        "live": view.live,
        "previous": view.previous,
        "canary": {"version": view.canary_version, "percent": view.canary_percent},
        "versions": [_version(view, version, stages, judged) for version in view.versions],
        "pending": pending(view),
    }


def _version(view: AdapterView, version: VersionView, stages: Stages, judged: Mapping[Place, Mapping[str, Any]]) -> dict[str, Any]:
    known = [stage for (_, adapter, number), stage in stages.items() if (adapter, number) == (view.name, version.version)]
    # The furthest of its routes: one word for people; the router goes by route.
    stage = max(known, key=_ORDER.index) if known else stage_of(view, version.version, "", stages)
    return {
        "version": version.version,
        "digest": version.digest,
        "state": version.state,
        "stage": stage,
        "replicas": list(version.replicas),
        "gate": None if version.gate is None else dict(version.gate),
        "proof": None if version.verified is None else version.verified.get("proof"),
        "verified": None if version.verified is None else dict(version.verified),
        "reasons": [reason.as_dict() for reason in version.reasons],
        "changed_at": version.changed_at,
        "quality": {route: dict(body) for (route, adapter, number), body in judged.items() if (adapter, number) == (view.name, version.version)},
    }
