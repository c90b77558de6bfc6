"""The adapters, in the database: who reads and the only one who writes adapters, versions, their replicas, stages and the audit trail.

Public: `views`, `stages`, `replicas`, `audit`, `trail` (reading); `add_version`, `request`, `set_gate`, `note_drift`, `refuse`, `saw`, `lost`, `apply`
(writing). Every function takes an open connection (`serving.database.writing` for the writers) and tells the workers through `bump` in the same transaction.
What may follow what is decided in verbs.py and states.py; files are in storage.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, insert, select, update

from router.errors import Reason, RequestError
from router.naming import valid_name
from router.stage import check
from router.types import Stage
from serving import room
from serving.database import bump
from serving.replica_table import replicas
from serving.states import Event, State, step
from serving.tables import adapter_audit, adapter_replicas, adapter_versions, adapters, route_stages
from serving.verbs import Change, Plan, default_stages, find, plan, settle, stage_changes
from serving.views import AdapterView, ReplicaView, Stages, VersionView, stage_of

__all__ = [
    "AdapterView", "Change", "Plan", "ReplicaView", "Stages", "VersionView", "add_version", "apply", "audit", "due", "lost", "note_drift", "preview", "refuse",
    "replicas", "request", "saw", "set_gate", "stage_of", "stages", "trail", "view", "views",
]  # fmt: skip

_ADAPTER_FIELDS = ("live", "previous", "rolled_back", "canary_version", "canary_percent", "want_live", "want_back", "want_canary", "want_percent")
_VERSION_FIELDS = ("state", "wanted", "drain_until", "verified", "files_removed")
_SERVED = (State.REGISTERED.value, State.LOADED.value)


def views(conn: Connection) -> dict[str, AdapterView]:
    """Every adapter by name, with all its versions in order."""
    seen: dict[tuple[str, int], list[Any]] = {}
    for row in conn.execute(select(adapter_replicas)):
        seen.setdefault((row.adapter, row.version), []).append(row)
    versions: dict[str, list[VersionView]] = {}
    for row in conn.execute(select(adapter_versions).order_by(adapter_versions.c.adapter, adapter_versions.c.version)):
        versions.setdefault(row.adapter, []).append(_version(row, seen.get((row.adapter, row.version), [])))
    found = conn.execute(select(adapters).order_by(adapters.c.name)).mappings()
    return {row["name"]: _adapter(row, versions.get(row["name"], [])) for row in found}


def view(conn: Connection, name: str) -> AdapterView:
    """One adapter. RequestError 404 when there is none of that name."""
    known = views(conn)
    if name not in known:
        raise RequestError(f"there is no adapter {name!r}; add a version of it first", status=404, code="adapter_not_found", param="adapter")
    return known[name]


def stages(conn: Connection) -> dict[tuple[str, str, int], Stage]:
    """What the router may do with each (route, adapter, version) that was ever decided."""
    return {(row.route, row.adapter, row.version): Stage(row.stage) for row in conn.execute(select(route_stages))}


def audit(conn: Connection, name: str, limit: int = 100) -> list[dict[str, Any]]:
    """Who did what to an adapter and why, newest first."""
    rows = conn.execute(select(adapter_audit).where(adapter_audit.c.adapter == name).order_by(adapter_audit.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def trail(conn: Connection, since: float | None = None, until: float | None = None, limit: int = 2000) -> list[dict[str, Any]]:
    """What happened to all adapters from `since` on and before `until`, oldest first, with each adapter's `engine` and, for an `add`, the version's `manifest`.

    Of more than `limit` lines the newest are given.
    """
    a, v = adapter_audit.c, adapter_versions.c
    query = (
        select(adapter_audit, adapters.c.engine, v.manifest)
        .select_from(
            adapter_audit.outerjoin(adapters, adapters.c.name == a.adapter).outerjoin(adapter_versions, and_(v.adapter == a.adapter, v.version == a.version))
        )
        .order_by(a.time.desc(), a.id.desc())
        .limit(limit)
    )
    if since is not None:
        query = query.where(a.time >= since)
    if until is not None:
        query = query.where(a.time < until)
    return [dict(row) for row in conn.execute(query).mappings()][::-1]


def add_version(conn: Connection, version: VersionView, engine: str, source: str, actor: str, now: float) -> VersionView:
    """Register content that was checked and stored. Its number is given here (the one in `version` is ignored).

    The same digest again is the same version; a refused one gets another try; a retired one becomes a new version, because its files were removed.
    Raises RequestError when the name is not allowed or belongs to another engine.
    """
    name = version.adapter
    if not valid_name(name):
        raise RequestError(
            f"{name!r} cannot name an adapter: letters, digits, dot, dash and underscore, at most 63, beginning with a letter or digit", param="name"
        )
    known = views(conn).get(name)
    if known is None:
        conn.execute(insert(adapters).values(name=name, engine=engine, canary_percent=0.0, want_back=False, want_percent=0.0, created_at=now))
    elif known.engine != engine:
        raise RequestError(f"{name} belongs to the engine {known.engine}; use another name for {engine}", status=409, code="engine_mismatch", param="engine")
    again = next((v for v in known.versions if v.digest == version.digest and v.state is not State.RETIRED), None) if known else None
    if again is not None and again.state is not State.REFUSED:
        return again
    newest = max((v.version for v in known.versions), default=0) if known else 0
    number = again.version if again else newest + 1
    fresh = {"path": version.path, "source": source, "checks": dict(version.checks), "manifest": dict(version.manifest), "reasons": [], "changed_at": now}
    if again is not None:
        fresh |= {"state": step(again.state, Event.ADD).value, "verified": None}
        conn.execute(update(adapter_versions).where(_at(name, number)).values(**fresh))
        conn.execute(delete(adapter_replicas).where(adapter_replicas.c.adapter == name, adapter_replicas.c.version == number))
    else:
        fresh |= {"digest": version.digest, "state": State.REGISTERED.value, "wanted": False, "gates": {}, "files_removed": False, "created_at": now}
        conn.execute(insert(adapter_versions).values(adapter=name, version=number, **fresh))
    _note(conn, (name, number), "add", actor, "", {"source": source, "digest": version.digest}, now)
    bump(conn)
    return find(view(conn, name), number)


def preview(conn: Connection, change: Change, routes: Mapping[str, bool], now: float) -> Plan:
    """What `request` would do, without doing it. Raises what it would raise."""
    made = plan(view(conn, change.adapter), change, routes, now)
    room.check(made, views(conn).values(), replicas(conn))
    return made


def request(conn: Connection, change: Change, routes: Mapping[str, bool], now: float) -> Plan:
    """Write what is wanted; what is possible at once (a flip between loaded versions) is done at once, the rest by the controller.

    `routes` maps each route that has this adapter to whether it has a suite. Raises AdapterRefused, GateRequired, StateError or RequestError before writing.
    """
    made = preview(conn, change, routes, now)
    if made.changes:
        after = settle(made.after, now)
        _save(conn, made.before, after, routes, change.reason or f"{change.verb} by {change.actor}", now)
        unproven = change.verb in {"promote", "canary"} and _unproven(made, routes)
        detail = {"percent": change.percent, "force": change.force, "steps": list(made.steps), "unproven": unproven}
        _note(conn, (change.adapter, made.version), change.verb, change.actor, change.reason, detail, now)
    return made


def set_gate(conn: Connection, adapter: str, version: int, gate: Mapping[str, Any], now: float = 0.0, actor: str = "gate") -> None:
    """Keep a gate's verdict: a JSON object with `passed: bool` and, when it is about one route, `route: str`. Judging again replaces it."""
    known = find(view(conn, adapter), version)
    gates = {**{k: dict(v) for k, v in known.gates.items()}, str(gate.get("route") or ""): dict(gate)}
    conn.execute(update(adapter_versions).where(_at(adapter, version)).values(gates=gates))
    _note(conn, (adapter, version), "gate", actor, str(gate.get("reason", "")), {"passed": bool(gate.get("passed")), "route": gate.get("route")}, now)
    bump(conn)


def note_drift(conn: Connection, about: tuple[str, int], route: str, reason: str, detail: Mapping[str, Any], now: float, actor: str = "controller") -> None:
    """Put into the audit trail that a version's traffic or answers on a route drifted, or no longer do. `detail` says from which level to which."""
    _note(conn, about, "drift", actor, reason, {"route": route, **detail}, now)
    bump(conn)


def refuse(conn: Connection, adapter: str, version: int, reasons: Iterable[Reason], now: float) -> None:
    """The engine or the verification refused a version that is not in service. It is unloaded, and pending promotions of it are dropped."""
    before = view(conn, adapter)
    target = find(before, version)
    if target.state is not State.REGISTERED:
        return
    told = [reason.as_dict() for reason in reasons]
    conn.execute(update(adapter_versions).where(_at(adapter, version)).values(reasons=told))
    refused = replace(target, state=step(target.state, Event.REFUSE), wanted=False)
    after = settle(replace(before, versions=tuple(refused if v is target else v for v in before.versions)), now)
    _save(conn, before, after, {}, "refused", now)
    _note(conn, (adapter, version), "refuse", "controller", "; ".join(str(r["message"]) for r in told), {"reasons": told}, now)


def saw(conn: Connection, place: tuple[str, int], model: tuple[str, int], state: str, detail: str, now: float) -> None:
    """A replica (engine, index) has an adapter version (name, number): `loaded`, `verified` or `failed`; `gone` forgets it."""
    where = _on(place, model)
    old = conn.execute(select(adapter_replicas.c.state, adapter_replicas.c.detail).where(where)).one_or_none()
    if state == "gone":
        conn.execute(delete(adapter_replicas).where(where))
    elif old is None:
        values = {"engine": place[0], "replica": place[1], "adapter": model[0], "version": model[1]}
        conn.execute(insert(adapter_replicas).values(**values, state=state, detail=detail, changed_at=now))
    else:
        conn.execute(update(adapter_replicas).where(where).values(state=state, detail=detail, changed_at=now))
    if (None if old is None else old.state) != (None if state == "gone" else state):
        bump(conn)


def lost(conn: Connection, engine: str, index: int | None = None) -> None:
    """A replica's process is gone (None: every replica of the engine), and with it everything it had loaded."""
    where = adapter_replicas.c.engine == engine if index is None else and_(adapter_replicas.c.engine == engine, adapter_replicas.c.replica == index)
    if conn.execute(delete(adapter_replicas).where(where)).rowcount:
        bump(conn)


def poisoned(conn: Connection, engine: str, index: int, reason: str, now: float) -> None:
    """A replica computed values that are not numbers: kept in the audit trail of every version that was there, for vLLM does not say whose they were."""
    t = adapter_replicas.c
    there = conn.execute(select(t.adapter, t.version).where(t.engine == engine, t.replica == index, t.state != "failed").order_by(t.adapter, t.version))
    for adapter, version in there.all():
        _note(conn, (adapter, version), "poisoned", "controller", reason, {"engine": engine, "replica": index}, now)


def verified(conn: Connection, adapter: str, version: int, numbers: Mapping[str, Any]) -> None:
    """Keep the numbers of the last verification beside the version."""
    conn.execute(update(adapter_versions).where(_at(adapter, version)).values(verified=dict(numbers)))


def removed_files(conn: Connection, adapter: str, version: int) -> None:
    """A retired version's directory is gone."""
    conn.execute(update(adapter_versions).where(_at(adapter, version)).values(files_removed=True))


def due(conn: Connection, ready: Mapping[str, frozenset[int]], routes: Mapping[str, Mapping[str, bool]], now: float) -> bool:
    """Whether `apply` would change anything: asked several times a second, and a reader holds no write lock."""
    known = stages(conn)
    return any(
        settle(one, now, ready.get(one.engine, frozenset())) != one or default_stages(one, routes.get(one.name, {}), known) for one in views(conn).values()
    )


def apply(conn: Connection, ready: Mapping[str, frozenset[int]], routes: Mapping[str, Mapping[str, bool]], now: float) -> list[str]:
    """Let happen what has become possible (`verbs.settle`), and give new routes their stages. `ready` maps engines to the replicas that answer, `routes`
    adapters to their routes. Returns a sentence for each change, for the operator."""
    said: list[str] = []
    known = stages(conn)
    for before in views(conn).values():
        mine = routes.get(before.name, {})
        after = settle(before, now, ready.get(before.engine, frozenset()))
        if after != before:
            _save(conn, before, after, mine, "settled", now)
            said += _changes(before, after)
        _stage(conn, before.name, default_stages(after, mine, stages(conn) if after != before else known), "route came later", now)
    return said


def set_stage(conn: Connection, place: tuple[str, str, int], stage: Stage, reason: str, now: float, actor: str = "controller") -> None:
    """What the router may do with (route, adapter, version) from now on, with a line in the audit trail. StateError where the stages have no such step."""
    route, adapter, version = place
    before = view(conn, adapter)
    find(before, version)
    old = stage_of(before, version, route, stages(conn))
    check(old, stage)
    if old is not stage or place not in stages(conn):
        _stage(conn, adapter, {(route, version): stage}, reason, now)
        _note(conn, (adapter, version), "stage", actor, reason, {"route": route, "from": old.value, "to": stage.value}, now)


def entered(conn: Connection) -> dict[tuple[str, str, int], float]:
    """Since when each (route, adapter, version) is in its stage, epoch seconds."""
    return {(row.route, row.adapter, row.version): row.changed_at for row in conn.execute(select(route_stages))}


def pins(conn: Connection, adapter: str) -> dict[int, str]:
    """The versions whose place an operator forced by hand, with who and why: the last of their verbs that was no controller's was forced."""
    a = adapter_audit.c
    rows = conn.execute(select(adapter_audit).where(a.adapter == adapter, a.verb.in_(("canary", "promote")), a.actor != "controller").order_by(a.id))
    last = {row.version: row for row in rows}
    return {version: f"{row.actor}: {row.reason}" for version, row in last.items() if version is not None and row.detail.get("force")}


def _save(conn: Connection, before: AdapterView, after: AdapterView, routes: Mapping[str, bool], reason: str, now: float) -> None:
    values = {key: getattr(after, key) for key in _ADAPTER_FIELDS if getattr(after, key) != getattr(before, key)}
    if values:
        conn.execute(update(adapters).where(adapters.c.name == after.name).values(**values))
    for old, new in zip(before.versions, after.versions, strict=True):
        changed = {key: getattr(new, key) for key in _VERSION_FIELDS if getattr(new, key) != getattr(old, key)}
        if changed:
            if "state" in changed:
                changed["state"] = new.state.value
            conn.execute(update(adapter_versions).where(_at(after.name, new.version)).values(changed_at=now, **changed))
    _stage(conn, after.name, stage_changes(before, after, routes), reason, now)
    bump(conn)


def _stage(conn: Connection, adapter: str, wanted: Mapping[tuple[str, int], Stage], reason: str, now: float) -> None:
    for (route, version), stage in wanted.items():
        where = and_(route_stages.c.route == route, route_stages.c.adapter == adapter, route_stages.c.version == version)
        values = {"stage": stage.value, "reason": reason, "changed_at": now}
        if conn.execute(update(route_stages).where(where).values(**values)).rowcount == 0:
            conn.execute(insert(route_stages).values(route=route, adapter=adapter, version=version, **values))
    if wanted:
        bump(conn)


def _changes(before: AdapterView, after: AdapterView) -> list[str]:
    said = []
    for old, new in zip(before.versions, after.versions, strict=True):
        if old.state is not new.state:
            said.append(f"{after.name}@{new.version} is {new.state}")
    if before.live != after.live:
        said.append(f"{after.name}@{after.live} is live" if after.live is not None else f"{after.name} has no live version")
    if before.canary_version != after.canary_version and after.canary_version is not None:
        said.append(f"{after.name}@{after.canary_version} is the canary with {after.canary_percent:g} %")
    return said


def _unproven(made: Plan, routes: Mapping[str, bool]) -> bool:
    version = None if made.version is None else made.after.version(made.version)
    return version is not None and not (routes and all(suite and version.gate_for(route) is True for route, suite in routes.items()))


def _note(conn: Connection, about: tuple[str, int | None], verb: str, actor: str, reason: str, detail: Mapping[str, Any], now: float) -> None:
    values = {"time": now, "adapter": about[0], "version": about[1], "verb": verb, "actor": actor, "reason": reason, "detail": dict(detail)}
    conn.execute(insert(adapter_audit).values(**values))


def _at(adapter: str, version: int) -> Any:
    return and_(adapter_versions.c.adapter == adapter, adapter_versions.c.version == version)


def _on(place: tuple[str, int], model: tuple[str, int]) -> Any:
    t = adapter_replicas.c
    return and_(t.engine == place[0], t.replica == place[1], t.adapter == model[0], t.version == model[1])


def _adapter(row: RowMapping, versions: list[VersionView]) -> AdapterView:
    return AdapterView(name=row["name"], engine=row["engine"], versions=tuple(versions), **{key: row[key] for key in _ADAPTER_FIELDS})


def _version(row: Any, seen: list[Any]) -> VersionView:
    return VersionView(
        adapter=row.adapter,
        version=row.version,
        digest=row.digest,
        path=row.path,
        state=State(row.state),
        wanted=row.wanted,
        checks=row.checks,
        manifest=row.manifest,
        gates=row.gates,
        reasons=tuple(Reason(**reason) for reason in row.reasons),
        verified=row.verified,
        # one that leaves is not called any more, pinned or not, while its name is still there
        replicas=tuple(sorted(r.replica for r in seen if r.state == "verified" and row.state in _SERVED)),
        present=tuple(sorted(r.replica for r in seen if r.state != "failed")),
        failed={r.replica: r.detail for r in seen if r.state == "failed"},
        drain_until=row.drain_until,
        files_removed=row.files_removed,
        changed_at=row.changed_at,
    )
