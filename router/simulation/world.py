"""The event loop: requests arrive, a policy orders its backends, calls run, fail over, end; each request has one outcome with its cost and its misses.

The gateway's rules hold here too: failover only before the first byte, a first-token timeout, `Retry-After` is told to the policy. A miss is a first token or
an end after its aim, or no answer. Costs are hosted dollars in nano-dollars; the GPU is paid whether it is used or not and is the same for every policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple, Protocol

from router.money import cost
from router.simulation.engine import EngineShape, Job, Replica
from router.simulation.hosted import CACHE_S, Fault, HostedShape, Provider, Said
from router.simulation.trace import Ask, Trace
from router.types import Price, Slo, Usage

LOCAL, HOSTED = "local/adapter@1", "openai/hosted"
_CONNECT_S = 0.0005


class Setting(NamedTuple):
    """Everything about a run but its policy. `local_faults`: (since, until, kind, value) with kind `error` (the replica is dead) or `slow`.

    `scrape_s`: how often engine metrics are read, `scrape_lag_s` how old they are by then; `blind` a window in which they read zero.
    """

    name: str
    trace: Trace
    price: Price
    slo: Slo
    engine: EngineShape = EngineShape()
    hosted: HostedShape = HostedShape()
    hosted_faults: tuple[Fault, ...] = ()
    local_faults: tuple[Fault, ...] = ()
    miss_price_factor: float = 2.0
    first_token_s: float = 30.0
    scrape_s: float = 5.0
    scrape_lag_s: float = 0.5
    blind: tuple[float, float] = (0.0, 0.0)
    gpu_hour_usd: float = 2.5


class Told(NamedTuple):
    """What a policy learns of a call that ended. `status` 0: timed out. Seconds from the call's start; `made` tokens of a whole answer."""

    number: int
    ask: Ask
    backend: str
    status: int
    ttft_s: float
    total_s: float
    cached: int
    retry_after_s: float
    now: float


class Scrape(NamedTuple):
    """An engine's metrics as last read."""

    at: float = -inf
    running: int = 0
    waiting: int = 0
    kv_share: float = 0.0


class Policy(Protocol):
    """What is compared. `order` gives the backends to try, best first; the others are its memory."""

    name: str

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]: ...

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None: ...

    def first_token(self, number: int) -> None: ...

    def ended(self, told: Told) -> None: ...


class Outcome(NamedTuple):
    """How one request ended. `backend` None: no answer. Seconds from its arrival."""

    number: int
    at: float
    backend: str | None
    calls: int
    ttft_s: float
    total_s: float
    cost_nanousd: int
    missed: bool
    worth_nanousd: int


class _Flight:
    """One request on its way."""

    __slots__ = ("ask", "backend", "calls", "cost", "first", "later", "number", "said", "started")

    def __init__(self, number: int, ask: Ask, later: list[str]) -> None:
        self.number, self.ask, self.later = number, ask, later
        self.backend = ""
        self.started = 0.0
        self.first = inf
        self.calls = 0
        self.cost = 0
        self.said: Said | None = None


class World:
    """One run. Policies may read `setting`, `scraped` and their own memory; only the clairvoyant looks at `replica` and `provider`."""

    def __init__(self, setting: Setting, policy: Policy, seed: int) -> None:
        self.setting, self.policy = setting, policy
        self.replica = Replica(setting.engine)
        self.provider = Provider(setting.hosted, setting.hosted_faults, seed)
        self.scraped = Scrape()
        self.dead_until = -inf
        self.outcomes: list[Outcome] = []
        self._heap: list[tuple[float, int, str, int, int]] = []
        self._count = 0
        self._flights: dict[int, _Flight] = {}
        self._local: set[int] = set()
        self._warm: dict[int, float] = {}

    def run(self) -> list[Outcome]:
        """To the end of the trace and of every call: one outcome per request, in the order they ended."""
        setting = self.setting
        for number, ask in enumerate(setting.trace.asks):
            self._at(ask.at, "arrive", number)
        for index, fault in enumerate(setting.local_faults):
            self._at(fault.since, "fault", index)
            self._at(fault.until, "mended", index)
        if setting.trace.asks:
            self._at(setting.trace.asks[0].at, "scrape", 0)
        while self._heap or self.replica.next_at < inf:
            step = self.replica.next_at
            if self._heap and self._heap[0][0] < step:
                now, _, kind, key, attempt = heappop(self._heap)
                self._engine_events(now)
                self._handle(kind, key, attempt, now)
            else:
                self._engine_events(step)
        return self.outcomes

    def uncached(self, ask: Ask, now: float) -> int:
        """Tokens of its prompt that the replica's prefix cache does not hold."""
        warm = now - self._warm.get(ask.conversation, -inf) <= CACHE_S
        return ask.input - (ask.shared if warm else 0)

    def worth(self, ask: Ask) -> int:
        """What a miss of this request costs, nano-dollars."""
        return round(self.setting.miss_price_factor * self.list_cost(ask))

    def list_cost(self, ask: Ask, cached: int = 0) -> int:
        """What the hosted model charges for this request, nano-dollars."""
        found = cost(Usage(input=ask.input, cached=cached, output=ask.output), self.setting.price)
        return 0 if found is None else found  # text alone, whose price is given: never None

    def _at(self, when: float, kind: str, key: int, attempt: int = 0) -> None:
        self._count += 1
        heappush(self._heap, (when, self._count, kind, key, attempt))

    def _handle(self, kind: str, key: int, attempt: int, now: float) -> None:
        if kind == "arrive":
            ask = self.setting.trace.asks[key]
            flight = self._flights[key] = _Flight(key, ask, list(self.policy.order(key, ask, self, now)))
            self._next(flight, now)
        elif kind == "said":
            self._hosted_said(key, now)
        elif kind == "patience":
            self._out_of_patience(key, attempt, now)
        elif kind == "refused":
            self._failed(self._flights[key], 503, 0.0, now)
        elif kind == "scrape":
            self._scrape(now)
        else:
            self._local_fault(kind, self.setting.local_faults[key], now)

    def _next(self, flight: _Flight, now: float) -> None:
        """Call the next backend of its order, or end without an answer."""
        if not flight.later:
            self._end(flight, None, now)
            return
        flight.backend = flight.later.pop(0)
        flight.started, flight.first = now, inf
        flight.calls += 1
        self.policy.began(flight.number, flight.ask, flight.backend, now)
        self._at(now + self.setting.first_token_s, "patience", flight.number, flight.calls)
        if flight.backend == HOSTED:
            flight.said = said = self.provider.call(flight.ask, flight.number, flight.calls, now)
            if said.status:
                self._at(now + min(said.ttft_s if said.status == 200 else said.total_s, 1e9), "said", flight.number)
        elif now < self.dead_until:
            self._at(now + _CONNECT_S, "refused", flight.number)
        else:
            entered = self.uncached(flight.ask, now)
            self._warm[flight.ask.conversation] = now
            self._local.add(flight.number)
            self.replica.submit(Job(flight.number, entered, max(flight.ask.output, 1), flight.ask.input), now)

    def _hosted_said(self, key: int, now: float) -> None:
        flight = self._flights.get(key)
        if flight is None or flight.backend != HOSTED or flight.said is None:
            return
        said = flight.said
        due = flight.started + (said.ttft_s if said.status == 200 and flight.first == inf else said.total_s)
        if abs(due - now) > 1e-9:
            return  # of an earlier call
        if said.status != 200:
            self._failed(flight, said.status, said.retry_after_s, now)
        elif flight.first == inf:
            flight.first = now
            self.policy.first_token(key)
            self._at(flight.started + said.total_s, "said", key)
        else:
            flight.cost += self.list_cost(flight.ask, said.cached)
            self._done(flight, said.cached, now)

    def _engine_events(self, until: float) -> None:
        for event in self.replica.advance(until):
            flight = self._flights.get(event.key)
            if flight is None or event.key not in self._local or flight.backend != LOCAL:
                continue
            if event.done:
                self._local.discard(event.key)
                self._done(flight, 0, event.at)
            elif flight.first == inf:
                flight.first = event.at
                self.policy.first_token(event.key)

    def _done(self, flight: _Flight, cached: int, now: float) -> None:
        told = Told(flight.number, flight.ask, flight.backend, 200, flight.first - flight.started, now - flight.started, cached, 0.0, now)
        self.policy.ended(told)
        self._end(flight, flight.backend, now)

    def _failed(self, flight: _Flight, status: int, retry_after_s: float, now: float) -> None:
        self.policy.ended(Told(flight.number, flight.ask, flight.backend, status, inf, now - flight.started, 0, retry_after_s, now))
        self._next(flight, now)

    def _out_of_patience(self, key: int, attempt: int, now: float) -> None:
        flight = self._flights.get(key)
        if flight is None or flight.calls != attempt or flight.first < inf:
            return
        if flight.backend == LOCAL:
            self._local.discard(key)
            self.replica.cancel(key)
        flight.said = None
        self._failed(flight, 0, 0.0, now)

    def _end(self, flight: _Flight, backend: str | None, now: float) -> None:
        del self._flights[flight.number]
        ask, slo = flight.ask, self.setting.slo
        first, total = flight.first - ask.at, now - ask.at
        missed = backend is None or (slo.ttft_ms is not None and first * 1000 > slo.ttft_ms) or (slo.total_ms is not None and total * 1000 > slo.total_ms)
        self.outcomes.append(Outcome(flight.number, ask.at, backend, flight.calls, first, total, flight.cost, missed, self.worth(ask)))

    def _scrape(self, now: float) -> None:
        blind = self.setting.blind[0] <= now < self.setting.blind[1]
        engine = self.replica
        self.scraped = Scrape(now - self.setting.scrape_lag_s) if blind else Scrape(now, engine.running, len(engine.waiting), engine.kv_share)
        if self._flights or self._heap:
            self._at(now + self.setting.scrape_s, "scrape", 0)

    def _local_fault(self, kind: str, fault: Fault, now: float) -> None:
        if fault.kind == "slow":
            self.replica.slow = fault.value if kind == "fault" else 1.0
            return
        if kind == "mended":
            return
        self.dead_until = fault.until
        for key in self.replica.kill(now):
            self._local.discard(key)
            flight = self._flights.get(key)
            if flight is None or flight.backend != LOCAL:
                continue
            if flight.first < inf:  # a stream that had begun is broken: nobody may answer in its place
                self.policy.ended(Told(key, flight.ask, LOCAL, 502, flight.first - flight.started, now - flight.started, 0, 0.0, now))
                self._end(flight, None, now)
            else:
                self._failed(flight, 502, 0.0, now)
