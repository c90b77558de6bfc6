"""What a request sees of the fleet: immutable values, swapped whole. Built by plans.py, kept current by fleet.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from gateway.config.models import CaptureConfig, Config, HedgeConfig, TimeoutsConfig
from gateway.store.keys import Key
from gateway.transcript import Rename
from router.types import Candidate, Kind, Snapshot
from serving.programs import Program
from serving.views import AdapterView, ReplicaView, Stages


@dataclass(frozen=True, slots=True)
class Backend:
    """How a candidate is called. `bases` are the addresses its endpoints hang below (one for a provider, one per usable replica of an engine), `names`
    the model name to send to each; `headers` carry the credentials. `rename` is set where an answer would carry another name than it should.
    `adapter_slots`: how many adapters an engine serves at once (0: not known).
    `tiered`: the price depends on the size of the prompt, so the candidate's is that of a small one;
    `priced_until`: epoch seconds before which that price holds; `program`: what is put before each conversation."""

    candidate: Candidate
    bases: tuple[str, ...]
    names: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    slots: int = 0
    adapter_slots: int = 0
    rename: Rename | None = None
    provider_kind: str = ""
    tiered: bool = False
    priced_until: float = float("inf")
    program: Program | None = None


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Everything about one route, or about one pinned candidate (`route` None, `name` as it was asked for).

    `snapshot` and `spent` are the decision's input with and without hosted dollars left; `bodies` their records by digest, for the ledger.
    `siblings`: two of its candidates have the same owner. `watch`: how many of its requests are measured for drift each second, 0: none.
    """

    name: str
    route: str | None
    snapshot: Snapshot
    spent: Snapshot
    backends: Mapping[str, Backend]
    timeouts: TimeoutsConfig
    capture: CaptureConfig
    bodies: Mapping[str, Mapping[str, object]]
    first_hosted: Backend | None = None
    hedge: HedgeConfig | None = None
    siblings: bool = False
    watch: int = 0

    @property
    def pinned(self) -> bool:
        """Whether the caller named the candidate."""
        return self.snapshot.pinned

    @property
    def sandbox(self) -> bool:
        """Whether any of it is the sandbox provider, so that its numbers are no real money."""
        return any(backend.candidate.sandbox for backend in self.backends.values())

    def snapshot_of(self, digest: str) -> Snapshot:
        """The snapshot a decision of this plan was made from."""
        return self.spent if digest == self.spent.digest else self.snapshot


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read from the database in one look. `no_keys`: none was ever made, revoked ones included; `doubted`: routes where the answers of a version
    should be compared with the hosted model's more often, for drift."""

    version: int = -1
    adapters: Mapping[str, AdapterView] = field(default_factory=dict)
    stages: Stages = field(default_factory=dict)
    replicas: Mapping[str, tuple[ReplicaView, ...]] = field(default_factory=dict)
    keys: Mapping[str, Key] = field(default_factory=dict, repr=False)
    no_keys: bool = True
    ft_names: Mapping[str, str] = field(default_factory=dict)
    doubted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FleetView:
    """The whole fleet at one moment. `open_access`: requests need no key, because none was ever made and only this machine can ask."""

    config: Config
    facts: Facts
    routes: Mapping[str, RoutePlan]
    listed: Mapping[str, Collection[str]]
    owners: Mapping[str, Kind]
    backends: frozenset[str]
    open_access: bool = False
    ft_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The database's state version this was built from; -1 before the first look."""
        return self.facts.version

    @property
    def keys(self) -> Mapping[str, Key]:
        """Keys by the sha256 of their secret."""
        return self.facts.keys

    @property
    def replicas(self) -> Mapping[str, tuple[ReplicaView, ...]]:
        """The vLLM servers of each engine, as the controller last saw them."""
        return self.facts.replicas

    @property
    def adapters(self) -> Mapping[str, AdapterView]:
        """The adapters by name."""
        return self.facts.adapters
