"""What the registry says, as values: adapters, their versions, engine replicas. No database here, no decisions.

The public names are re-exported by serving/registry.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import Reason
from router.naming import backend_name
from router.types import Stage
from serving.states import State

Stages = Mapping[tuple[str, str, int], Stage]


@dataclass(frozen=True, slots=True)
class VersionView:
    """One immutable version of an adapter.

    `replicas` are the indices of the engine's replicas where it is loaded *and* verified: only those may be called with its name.
    `gates` maps a route (or "" for all) to the gate's verdict, which has at least `passed: bool`; `verified` is None until a replica verified it,
    then `{"proof": "proven"|"unproven", ...numbers}`; `reasons` say why it was refused.
    """

    adapter: str
    version: int
    digest: str
    path: str
    state: State
    wanted: bool = False
    checks: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    verified: Mapping[str, Any] | None = None
    replicas: tuple[int, ...] = ()
    present: tuple[int, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)
    drain_until: float | None = None
    files_removed: bool = False
    changed_at: float = 0.0

    @property
    def gate(self) -> Mapping[str, Any] | None:
        """The verdict to show: one that did not pass before one that did; None: never judged."""
        return min(self.gates.values(), key=lambda gate: bool(gate.get("passed")), default=None)

    def gate_for(self, route: str) -> bool | None:
        """Whether the gate of `route` passed; None: it was never judged for that route."""
        gate = self.gates.get(route, self.gates.get(""))
        return None if gate is None else bool(gate.get("passed"))


@dataclass(frozen=True, slots=True)
class AdapterView:
    """One adapter. `live`, `previous` and `canary_version` are in force; `want_*` is pending until that version is loaded and verified."""

    name: str
    engine: str
    live: int | None = None
    previous: int | None = None
    canary_version: int | None = None
    canary_percent: float = 0.0
    versions: tuple[VersionView, ...] = ()
    rolled_back: int | None = None
    want_live: int | None = None
    want_back: bool = False
    want_canary: int | None = None
    want_percent: float = 0.0

    def version(self, number: int) -> VersionView | None:
        """The version of that number; None: there is none."""
        return next((v for v in self.versions if v.version == number), None)

    def model(self, number: int) -> str:
        """The name vLLM knows a version by: `engine/adapter@number`."""
        return backend_name(self.engine, self.name, number)


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One vLLM server as last seen: `starting|ready|draining|stopped|failed`. Call it only when `healthy`.

    `model` is the name its base answers to (the engine's name when we launched it), `max_model_len` its context in tokens,
    `room` how many adapter versions it keeps in memory; None: it is run by someone else, who knows.
    """

    engine: str
    index: int
    url: str
    state: str
    healthy: bool
    restarts: int
    detail: str
    model: str = ""
    max_model_len: int | None = None
    room: int | None = None
    changed_at: float = 0.0


def stage_of(view: AdapterView, version: int, route: str, stages: Stages) -> Stage:
    """What the router may do with a version on a route. Where nothing was decided for that route: what follows from live and canary."""
    known = stages.get((route, view.name, version))
    if known is not None:
        return known
    if version == view.live:
        return Stage.OPEN
    return Stage.CANARY if version == view.canary_version else Stage.BLOCKED
