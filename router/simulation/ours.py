"""The gateway's own policy in the simulator: the same `decide`, fed by the same memory as in the gateway, with the same judgement of slow and failed calls.

The memory is given by the caller (gateway/live.py's Board): what a process knows of its backends is the gateway's, its arithmetic is this room's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from router.money import cost
from router.policy import decide
from router.record import digest
from router.simulation.trace import Ask
from router.simulation.world import HOSTED, LOCAL, Setting, Told, World
from router.slow import is_slow
from router.types import Candidate, Decision, Errand, Features, Live, Snapshot, Usage

ROUTE = "simulated"
# What a token of a prompt weighs; the memory learns it back.
_BYTES = 4
_CONNECTION_STATUSES = frozenset({0, 502, 503})


class Memory(Protocol):
    """What the policy needs of a gateway's memory (gateway/live.py)."""

    def live(self, route: str, candidate: Candidate, healthy: bool, slots: int, now: float) -> Live: ...
    def begin(self, backend: str, replica: str | None, now: float, tokens: int = 0, errand: Errand | None = None) -> Any: ...
    def first(self, ticket: Any) -> None: ...
    def end(self, backend: str, replica: str | None, ticket: Any) -> None: ...
    def result(self, backend: str, ok: bool, now: float, *, slow: bool = False, probe: bool = False) -> None: ...
    def retry_after(self, backend: str, until: float) -> None: ...
    def suspect(self, replica: str, now: float) -> None: ...
    def usable(self, replica: str, now: float) -> bool: ...
    def usual_ms(self, backend: str, tokens: float) -> float | None: ...
    def learn(self, route: str, candidate: Candidate, seen: Any, now: float) -> None: ...


class Lesson(Protocol):
    """Makes the memory's observation of one answer."""

    def __call__(self, told: Told, predicted_ms: float | None, saved_nanousd: int | None, slots: int, place: Any) -> Any: ...


class Ours:
    """`decide` on the memory of one gateway process."""

    def __init__(self, setting: Setting, memory: Memory, lesson: Lesson, seed: int = 0, name: str = "breakeven") -> None:
        self.name = name
        self.decisions: dict[int, Decision] = {}
        self._memory, self._lesson, self._seed = memory, lesson, seed
        self._slots = setting.engine.most_seqs
        self._slo, self._price = setting.slo, setting.price
        hosted = Candidate(HOSTED, "hosted", "openai", "hosted", price=setting.price)
        local = Candidate(LOCAL, "local", "local", LOCAL, adapter="adapter", version=1, gpu_hour_nanousd=round(setting.gpu_hour_usd * 1e9))
        self._candidates: Mapping[str, Candidate] = {HOSTED: hosted, LOCAL: local}
        bare = Snapshot(ROUTE, (hosted, local), setting.slo, setting.miss_price_factor)
        self.snapshot = Snapshot(ROUTE, (hosted, local), setting.slo, setting.miss_price_factor, digest=digest(bare))
        self._tickets: dict[int, Any] = {}

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]:
        """The decision's order."""
        features = Features(prompt_bytes=ask.input * _BYTES, stream=True, conversation=ask.conversation)
        decision = decide(features, self.snapshot, self._live(now), now, self._seed + number, f"dec_{number}")
        self.decisions[number] = decision
        return decision.order

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None:
        """A call starts."""
        errand = Errand("local", float(ask.input), stream=True) if backend == LOCAL else None
        self._tickets[number] = self._memory.begin(backend, LOCAL if backend == LOCAL else None, now, ask.input, errand)

    def first_token(self, number: int) -> None:
        """A stream has begun."""
        ticket = self._tickets.get(number)
        if ticket is not None:
            self._memory.first(ticket)

    def ended(self, told: Told) -> None:
        """A call ended: what the gateway's attempt does with it."""
        memory, backend = self._memory, told.backend
        ticket = self._tickets.pop(told.number)
        memory.end(backend, LOCAL if backend == LOCAL else None, ticket)
        if told.status == 429:
            memory.retry_after(backend, told.now + told.retry_after_s)
        ok = told.status == 200
        first_ms = told.ttft_s * 1000.0
        slow = ok and is_slow(self._slo, first_ms, memory.usual_ms(backend, 0.0), whole=False)
        if told.status != 429:
            memory.result(backend, ok, told.now, slow=slow, probe=ticket.probe)
        if backend == LOCAL and told.status in _CONNECTION_STATUSES:
            memory.suspect(LOCAL, told.now)
        if ok:
            self._learn(told, ticket.place)

    def _learn(self, told: Told, place: Any) -> None:
        decision = self.decisions.get(told.number)
        predicted = None
        if decision is not None:
            predicted = next((scored.latency_ms for scored in decision.scored if scored.backend == told.backend), None)
        saved = cost(Usage(input=told.ask.input, output=told.ask.output), self._price) if told.backend == LOCAL else None
        self._memory.learn(ROUTE, self._candidates[told.backend], self._lesson(told, predicted, saved, self._slots, place), told.now)

    def _live(self, now: float) -> dict[str, Live]:
        memory = self._memory
        healthy = memory.usable(LOCAL, now)
        return {
            HOSTED: memory.live(ROUTE, self._candidates[HOSTED], True, 0, now),
            LOCAL: memory.live(ROUTE, self._candidates[LOCAL], healthy, self._slots, now),
        }
