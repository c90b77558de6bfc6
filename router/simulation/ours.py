"""The gateway's own policy in the simulator: the same `decide`, fed by the same memory as in the gateway, with the same judgement of slow and failed calls.

The memory is given by the caller (gateway/live.py's Board): what a process knows of its backends is the gateway's, its arithmetic is this room's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from router.policy import decide
from router.record import digest
from router.simulation.setting import HOSTED, LOCAL, Policy, Setting, Told
from router.simulation.trace import Ask
from router.simulation.world import World
from router.slow import is_slow
from router.types import Candidate, Decision, Errand, Features, Live, Snapshot

ROUTE = "simulated"
# What a token of a prompt weighs; the memory learns it back.
_BYTES = 4
_CONNECTION_STATUSES = frozenset({0, 502, 503})
_NO_FAULT = frozenset({402, 429})


class Memory(Protocol):
    """What the policy needs of a gateway's memory (gateway/live.py)."""

    def live(self, route: str, candidate: Candidate, healthy: bool, slots: int, now: float) -> Live: ...
    def begin(self, backend: str, replica: str | None, now: float, tokens: int = 0, errand: Errand | None = None) -> Any: ...
    def first(self, ticket: Any) -> None: ...
    def end(self, backend: str, replica: str | None, ticket: Any) -> None: ...
    def result(self, backend: str, ok: bool, now: float, *, slow: bool = False, probe: bool = False) -> None: ...
    def retry_after(self, backend: str, until: float) -> None: ...
    def suspect(self, replica: str, now: float) -> None: ...
    def replica_load(self, replica: str) -> int: ...
    def usable(self, replica: str, now: float) -> bool: ...
    def usual_ms(self, backend: str, tokens: float) -> float | None: ...
    def learn(self, route: str, candidate: Candidate, seen: Any, now: float) -> None: ...


class Lesson(Protocol):
    """Makes the memory's observation of one answer."""

    def __call__(self, told: Told, predicted_ms: float | None, saved_nanousd: int | None, slots: int, place: Any) -> Any: ...


class Ours:
    """`decide` on the memory of one gateway process. Each adapter is a backend of its own, all of them share the engine."""

    def __init__(self, setting: Setting, memory: Memory, lesson: Lesson, seed: int = 0, name: str = "breakeven") -> None:
        self.name = name
        self.decisions: dict[int, Decision] = {}
        self.setting = setting
        self._memory, self._lesson, self._seed = memory, lesson, seed
        self._slots = setting.engine.most_seqs * setting.replicas
        self._snapshots: dict[tuple[int, int, bool], Snapshot] = {}
        self._tickets: dict[int, tuple[Any, str | None, Candidate]] = {}
        self._places: dict[int, int] = {}

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]:
        """The decision's order."""
        snapshot = self.snapshot(ask.adapter, now, left=not world.broke)
        features = Features(prompt_bytes=ask.input * _BYTES, stream=True, conversation=ask.conversation)
        decision = decide(features, snapshot, self._live(snapshot, now), now, self._seed + number, f"dec_{number}")
        self.decisions[number] = decision
        return [HOSTED if backend == HOSTED else LOCAL for backend in decision.order]

    def snapshot(self, adapter: int, now: float, *, left: bool = True) -> Snapshot:
        """What is set for a request of this adapter; `left`: whether the budget is not spent."""
        setting = self.setting
        prices = sum(now >= since for since, _ in setting.reprices)
        found = self._snapshots.get((adapter, prices, left))
        if found is None:
            hosted = Candidate(HOSTED, "hosted", "openai", "hosted", price=setting.price_at(now))
            name = LOCAL if not adapter else f"local/adapter-{adapter}@1"
            local = Candidate(name, "local", "local", name, adapter="adapter", version=1, gpu_hour_nanousd=round(setting.gpu_hour_usd * 1e9))
            bare = Snapshot(f"{ROUTE}-{adapter}", (hosted, local), setting.slo, setting.miss_price_factor, left)
            found = self._snapshots[adapter, prices, left] = replace(bare, digest=digest(bare))
        return found

    def replica(self, number: int, ask: Ask, world: World, now: float) -> int:
        """As the gateway does: of the usable ones, that with the fewest calls in flight."""
        memory = self._memory
        names = range(self.setting.replicas)
        place = self._places[number] = min(names, key=lambda index: (not memory.usable(_name(index), now), memory.replica_load(_name(index))))
        return place

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None:
        """A call starts."""
        candidates = self.snapshot(ask.adapter, now).candidates
        candidate = candidates[0] if backend == HOSTED else candidates[1]
        errand = None
        if backend == LOCAL:
            errand = Errand("local", float(ask.input), True, candidate.backend, self.setting.engine.lora_slots * self.setting.replicas)
        replica = _name(self._places[number]) if backend == LOCAL else None
        self._tickets[number] = self._memory.begin(candidate.backend, replica, now, ask.input, errand), replica, candidate

    def first_token(self, number: int) -> None:
        """A stream has begun."""
        held = self._tickets.get(number)
        if held is not None:
            self._memory.first(held[0])

    def ended(self, told: Told) -> None:
        """A call ended: what the gateway's attempt does with it."""
        memory = self._memory
        ticket, replica, candidate = self._tickets.pop(told.number)
        memory.end(candidate.backend, replica, ticket)
        if told.status == 429:
            memory.retry_after(candidate.backend, told.now + told.retry_after_s)
        ok = told.status == 200
        slow = ok and is_slow(self.setting.slo, told.ttft_s * 1000.0, memory.usual_ms(candidate.backend, 0.0), whole=False)
        if replica is not None and told.status in _CONNECTION_STATUSES:
            memory.suspect(replica, told.now)
        if told.status not in _NO_FAULT and not (replica is not None and told.status == 503):
            memory.result(candidate.backend, ok, told.now, slow=slow, probe=ticket.probe)
        if ok:
            self._learn(told, candidate, ticket.place)

    def _learn(self, told: Told, candidate: Candidate, place: Any) -> None:
        decision = self.decisions.get(told.number)
        predicted = None
        if decision is not None:
            predicted = next((scored.latency_ms for scored in decision.scored if scored.backend == candidate.backend), None)
        saved = self.setting.list_cost(told.ask) if told.backend == LOCAL else None
        route = f"{ROUTE}-{told.ask.adapter}"
        self._memory.learn(route, candidate, self._lesson(told, predicted, saved, self._slots, place), told.now)

    def _live(self, snapshot: Snapshot, now: float) -> dict[str, Live]:
        memory = self._memory
        healthy = any(memory.usable(_name(index), now) for index in range(self.setting.replicas))
        hosted, local = snapshot.candidates
        return {
            hosted.backend: memory.live(snapshot.route, hosted, True, 0, now),
            local.backend: memory.live(snapshot.route, local, healthy, self._slots, now),
        }


class Several:
    """Many gateway processes that know nothing of each other; requests are dealt to them in turn."""

    def __init__(self, members: Sequence[Policy]) -> None:
        self.name = members[0].name
        self._members = members

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]:
        """Its member's order."""
        return self._of(number).order(number, ask, world, now)

    def replica(self, number: int, ask: Ask, world: World, now: float) -> int:
        """Its member's choice."""
        return self._of(number).replica(number, ask, world, now)

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None:
        """Tells its member."""
        self._of(number).began(number, ask, backend, now)

    def first_token(self, number: int) -> None:
        """Tells its member."""
        self._of(number).first_token(number)

    def ended(self, told: Told) -> None:
        """Tells its member."""
        self._of(told.number).ended(told)

    def _of(self, number: int) -> Policy:
        return self._members[number % len(self._members)]


def _name(replica: int) -> str:
    return f"local-{replica}"
