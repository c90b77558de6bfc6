"""The event loop: requests arrive, a policy orders its backends, calls run, fail over, end; each request has one outcome with its cost and its misses.

The gateway's rules hold here too: failover only before the first byte, a first-token timeout, `Retry-After` is told to the policy. A miss is a first token or
an end after its aim, or no answer. Costs are hosted dollars in nano-dollars; the GPU is paid whether it is used or not and is the same for every policy.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from router.simulation.engine import Job, Replica
from router.simulation.hosted import CACHE_S, Fault, Provider, Said
from router.simulation.setting import HOSTED, LOCAL, Outcome, Policy, Scrape, Setting, Told
from router.simulation.trace import Ask

_CONNECT_S = 0.0005


class _Flight:
    """One request on its way."""

    __slots__ = ("ask", "backend", "calls", "cost", "first", "held", "later", "number", "replica", "said", "started")

    def __init__(self, number: int, ask: Ask, later: list[str]) -> None:
        self.number, self.ask, self.later = number, ask, later
        self.backend, self.replica = "", 0
        self.started = 0.0
        self.first = inf
        self.calls = 0
        self.cost = self.held = 0
        self.said: Said | None = None


class World:
    """One run. Policies may read `setting`, `scraped`, `spent` and their own memory; only the clairvoyant looks at `replicas` and `provider`."""

    def __init__(self, setting: Setting, policy: Policy, seed: int) -> None:
        self.setting, self.policy = setting, policy
        self.replicas = [Replica(setting.engine) for _ in range(setting.replicas)]
        self.provider = Provider(setting.hosted, setting.hosted_faults, seed)
        self.scraped = Scrape()
        self.up_at = [-inf] * setting.replicas
        self.outcomes: list[Outcome] = []
        self._reserved = 0
        self._heap: list[tuple[float, int, str, int, int]] = []
        self._count = 0
        self._flights: dict[int, _Flight] = {}
        self._local: set[int] = set()
        self._warm: list[dict[int, float]] = [{} for _ in range(setting.replicas)]

    @property
    def dead_until(self) -> float:
        """When the engine answers again; in the past: it does."""
        return min(self.up_at)

    @property
    def broke(self) -> bool:
        """Whether the budget is spent, calls under way included."""
        return self.setting.budget_nanousd is not None and self._reserved >= self.setting.budget_nanousd

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
        replicas = self.replicas
        while True:
            step = min([replica.next_at for replica in replicas])
            if self._heap and self._heap[0][0] < step:
                now, _, kind, key, attempt = heappop(self._heap)
                self._engine_events(now)
                self._handle(kind, key, attempt, now)
            elif step < inf:
                self._engine_events(step)
            else:
                return self.outcomes

    def uncached(self, ask: Ask, replica: int, now: float) -> int:
        """Tokens of its prompt that a replica's prefix cache does not hold."""
        warm = now - self._warm[replica].get(ask.conversation, -inf) <= CACHE_S
        return ask.input - (ask.shared if warm else 0)

    def list_cost(self, ask: Ask, cached: int = 0) -> int:
        """What the hosted model charges for this request, nano-dollars."""
        return self.setting.list_cost(ask, cached)

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
            self._failed(self._flights[key], attempt, 0.0, now)
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
        flight.replica = self.policy.replica(flight.number, flight.ask, self, now) if flight.backend == LOCAL else 0
        flight.started, flight.first = now, inf
        flight.calls += 1
        self.policy.began(flight.number, flight.ask, flight.backend, now)
        self._at(now + self.setting.first_token_s, "patience", flight.number, flight.calls)
        if flight.backend == HOSTED:
            self._call_provider(flight, now)
        elif now < self.up_at[flight.replica]:
            self._at(now + _CONNECT_S, "refused", flight.number, 503)
        else:
            self._call_engine(flight, now)

    def _call_provider(self, flight: _Flight, now: float) -> None:
        if self.broke:
            self._at(now + _CONNECT_S, "refused", flight.number, 402)  # our own budget says no
            return
        flight.said = said = self.provider.call(flight.ask, flight.number, flight.calls, now)
        flight.held = self.setting.list_cost(flight.ask, said.cached, now)
        self._reserved += flight.held
        if said.status:
            self._at(now + min(said.ttft_s if said.ttft_s < inf else said.total_s, 1e9), "said", flight.number)

    def _call_engine(self, flight: _Flight, now: float) -> None:
        ask, place = flight.ask, flight.replica
        entered = self.uncached(ask, place, now)
        self._warm[place][ask.conversation] = now
        self._local.add(flight.number)
        self.replicas[place].submit(Job(flight.number, entered, max(ask.output, 1), ask.input, ask.adapter), now)

    def _hosted_said(self, key: int, now: float) -> None:
        flight = self._flights.get(key)
        if flight is None or flight.backend != HOSTED or flight.said is None:
            return
        said = flight.said
        begins = flight.first == inf and said.ttft_s < inf
        if abs(flight.started + (said.ttft_s if begins else said.total_s) - now) > 1e-9:
            return  # of an earlier call
        if begins:
            flight.first = now
            self.policy.first_token(key)
            self._at(flight.started + said.total_s, "said", key)
        elif said.status == 200:
            flight.cost += flight.held
            self._done(flight, said.cached, now)
        elif flight.first < inf:  # it stalled: what was made until then is paid for, taken to be all of it
            flight.cost += flight.held
            self._broken(flight, said.status, now)
        else:
            self._reserved -= flight.held
            self._failed(flight, said.status, said.retry_after_s, now)

    def _engine_events(self, until: float) -> None:
        for place, replica in enumerate(self.replicas):
            if replica.next_at > until:
                continue
            for event in replica.advance(until):
                flight = self._flights.get(event.key)
                if flight is None or event.key not in self._local or flight.backend != LOCAL or flight.replica != place:
                    continue
                if event.done:
                    self._local.discard(event.key)
                    self._done(flight, 0, event.at)
                elif flight.first == inf:
                    flight.first = event.at
                    self.policy.first_token(event.key)

    def _done(self, flight: _Flight, cached: int, now: float) -> None:
        self.policy.ended(self._told(flight, 200, now)._replace(cached=cached))
        self._end(flight, flight.backend, now)

    def _failed(self, flight: _Flight, status: int, retry_after_s: float, now: float) -> None:
        self.policy.ended(self._told(flight, status, now)._replace(ttft_s=inf, retry_after_s=retry_after_s))
        self._next(flight, now)

    def _broken(self, flight: _Flight, status: int, now: float) -> None:
        """A stream that had begun is broken: nobody may answer in its place."""
        self.policy.ended(self._told(flight, status, now))
        self._end(flight, None, now)

    def _told(self, flight: _Flight, status: int, now: float) -> Told:
        return Told(flight.number, flight.ask, flight.backend, status, flight.first - flight.started, now - flight.started, 0, 0.0, now, flight.replica)

    def _out_of_patience(self, key: int, attempt: int, now: float) -> None:
        flight = self._flights.get(key)
        if flight is None or flight.calls != attempt or flight.first < inf:
            return
        if flight.backend == LOCAL:
            self._local.discard(key)
            self.replicas[flight.replica].cancel(key)
        else:
            self._reserved -= flight.held
        flight.said = None
        self._failed(flight, 0, 0.0, now)

    def _end(self, flight: _Flight, backend: str | None, now: float) -> None:
        del self._flights[flight.number]
        ask, slo = flight.ask, self.setting.slo
        first, total = flight.first - ask.at, now - ask.at
        missed = backend is None or (slo.ttft_ms is not None and first * 1000 > slo.ttft_ms) or (slo.total_ms is not None and total * 1000 > slo.total_ms)
        worth = self.setting.worth(ask)
        self.outcomes.append(Outcome(flight.number, ask.at, backend, flight.calls, first, total, flight.cost, missed, worth))

    def _scrape(self, now: float) -> None:
        blind = self.setting.blind[0] <= now < self.setting.blind[1]
        engines = self.replicas
        share = sum(engine.kv_share for engine in engines) / len(engines)
        seen = Scrape(now, sum(engine.running for engine in engines), sum(len(engine.waiting) for engine in engines), share)
        self.scraped = Scrape(now - self.setting.scrape_lag_s) if blind else seen
        if self._flights or self._heap:
            self._at(now + self.setting.scrape_s, "scrape", 0)

    def _local_fault(self, kind: str, fault: Fault, now: float) -> None:
        replica = self.replicas[fault.replica]
        if fault.kind == "slow":
            replica.slow = fault.value if kind == "fault" else 1.0
            return
        if kind == "mended":
            return
        self.up_at[fault.replica] = fault.until
        self._warm[fault.replica].clear()
        for key in replica.kill(now):
            self._local.discard(key)
            flight = self._flights.get(key)
            if flight is None or flight.backend != LOCAL or flight.replica != fault.replica:
                continue
            if flight.first < inf:
                self._broken(flight, 502, now)
            else:
                self._failed(flight, 502, 0.0, now)
