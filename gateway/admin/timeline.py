"""GET /admin/timeline: what happened to the adapters and when, for drawing over a cost curve. Reads the registry's audit trail.

Here: the trail in the words of section 2 of the design. Not here: who writes it (serving/registry.py), the state that came of it (GET /admin/adapters).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter

from gateway.admin.access import InGateway
from gateway.admin.endpoint import AdminRoute, Body
from gateway.admin.shapes import Instant, Listed, Since, Until
from gateway.store import period
from serving import registry
from serving.database import reading

router = APIRouter(route_class=AdminRoute, tags=["adapters"])
Kind = Literal["registered", "refused", "loaded", "gated", "canary", "promoted", "rolled_back", "retired", "drift"]
_KINDS: Mapping[str, Kind] = {
    "add": "registered",
    "refuse": "refused",
    "load": "loaded",
    "gate": "gated",
    "canary": "canary",
    "promote": "promoted",
    "rollback": "rolled_back",
    "retire": "retired",
    "drift": "drift",
}


class TrainedBody(Body):
    """What the trainer's manifest of a version says. Null: it does not say."""

    examples: int | None
    dataset: str | None
    steps: int | None
    quantization: str | None


class EventBody(Body):
    """One thing that happened. `trained` is set where a version with our trainer's manifest was registered; `passed` and `route` are a gate's,
    `percent` a canary's."""

    time: Instant
    adapter: str
    engine: str | None
    version: int | None
    kind: Kind
    actor: str
    reason: str
    route: str | None
    passed: bool | None
    percent: float | None
    trained: TrainedBody | None


@router.get("/timeline")
def timeline(gateway: InGateway, since: Since = None, until: Until = None) -> Listed[EventBody]:
    """Everything that happened to every adapter in the period, oldest first; of very many events the newest."""
    span = period.parse(since, until)
    with reading(gateway.database) as conn:
        lines = registry.trail(conn, span.since, span.until)
    return Listed[EventBody](data=tuple(_event(line) for line in lines if line["verb"] in _KINDS))


def _event(line: Mapping[str, Any]) -> EventBody:
    kind, detail = _KINDS[line["verb"]], line["detail"]
    return EventBody(
        time=line["time"],
        adapter=line["adapter"],
        engine=line["engine"],
        version=line["version"],
        kind=kind,
        actor=line["actor"],
        reason=line["reason"],
        route=detail.get("route"),
        passed=detail.get("passed"),
        percent=detail.get("percent") if kind == "canary" else None,
        trained=_trained(line["manifest"]) if kind == "registered" else None,
    )


def _trained(manifest: Mapping[str, Any] | None) -> TrainedBody | None:
    """What of a trainer's manifest is worth showing; adapters from elsewhere have none."""
    if not manifest or not isinstance(manifest.get("dataset"), Mapping):
        return None
    dataset = manifest["dataset"]
    metrics = manifest.get("metrics") or {}
    return TrainedBody(examples=dataset.get("train"), dataset=dataset.get("digest"), steps=metrics.get("steps"), quantization=manifest.get("quantization"))
