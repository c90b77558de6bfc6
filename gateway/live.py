"""What this process knows of its backends right now: requests in flight, learnt sizes and speeds, circuit breakers, replicas to avoid. In memory only.

The arithmetic is in router (estimate, breaker, headroom, quantile, retries, hedge); this file keeps its values by name and turns them into the `Live` of a
decision.
Not thread-safe: it belongs to the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.prompt_queue import Place, PromptQueue
from router.breaker import BreakerState, on_probe, on_result, on_retry_after, probe_due, view
from router.estimate import Line, LogSpread, Mean, TokenRatio
from router.headroom import Headroom, left
from router.hedge import LEAST_SEEN, Purse
from router.quantile import Quantile
from router.quick import quick
from router.retries import Window, on_request, on_retry
from router.slow import usual
from router.types import Candidate, Errand, Live

# A replica that refused a connection is left alone for this long: the controller sees it is down within seconds, requests should not wait for that.
SUSPECT_S = 2.0
# Names clients make up (a provider with `models: "*"`) must not fill the memory.
_MOST_NAMES = 2000
# A ratio that an earlier process learnt outweighs the prior of a few hundred tokens, and is soon outweighed by what this one sees.
_PRESET_TOKENS = 10_000
# What an earlier process saw was many answers: it counts as evidence from the start, and is soon outweighed.
_PRESET_ANSWERS = 16.0


@quick
@dataclass(frozen=True, slots=True)
class Observation:
    """What one finished call taught. Milliseconds and counts; None where it was not seen. `predicted_ms` is the decision's latency, `saved_nanousd` what the
    answer would have cost hosted, `slots` how many requests shared the GPU at full speed, `place` where it stood in its engine's queue."""

    prompt_bytes: int
    input_tokens: int | None
    cached_tokens: int
    output_tokens: int | None
    ttft_ms: float | None
    total_ms: float
    predicted_ms: float | None = None
    saved_nanousd: int | None = None
    slots: int = 0
    place: Place | None = None


class Ticket(NamedTuple):
    """What `begin` gives to a call: how many calls and expected tokens this backend had been sent by then, this one included, whether it is a probe, and its
    place in the queue of an engine."""

    calls: int
    tokens: int
    probe: bool
    place: Place | None = None


_FIRST = Ticket(0, 0, probe=False)
_UNSEEN = Quantile()
_UNASKED = Window()


@dataclass(slots=True)
class _Speed:
    """How fast a provider's model is, or an engine: all names of an engine are as fast as its base."""

    first: Quantile = _UNSEEN
    stretch: Quantile = _UNSEEN
    ttft: Mean = field(default_factory=Mean)
    tpot: Mean = field(default_factory=Mean)
    total: Mean = field(default_factory=Mean)
    by_prompt: Line = field(default_factory=Line)
    by_load: Line = field(default_factory=Line)
    first_spread: LogSpread = field(default_factory=LogSpread)
    usual_ttft: float | None = None
    usual_tpot: float | None = None
    learnt: int = 0
    spread: LogSpread = field(default_factory=LogSpread)
    blocked: Mean = field(default_factory=Mean)


@dataclass(slots=True)
class _Backend:
    in_flight: int = 0
    calls: int = 0
    tokens: int = 0
    probes: int = 0
    probe_began: float = float("-inf")
    headroom: Headroom | None = None
    headroom_at: Ticket = _FIRST
    engine: str | None = None
    speed: _Speed = field(default_factory=_Speed)
    breaker: BreakerState = field(default_factory=BreakerState)


@dataclass(slots=True)
class _OnRoute:
    output: Mean = field(default_factory=Mean)
    cached: Mean = field(default_factory=Mean)
    ratio: TokenRatio = field(default_factory=TokenRatio)


def _blocked_ms(speed: _Speed) -> float:
    """How long a slot for an adapter takes to become free: what was seen, at first as long as a whole answer."""
    return (speed.total.value or 0.0) if speed.blocked.value is None else speed.blocked.value


class Board:
    """The live numbers of one process."""

    def __init__(self) -> None:
        self._backends: dict[str, _Backend] = {}
        self._routes: dict[tuple[str, str], _OnRoute] = {}
        self._work_value: dict[str, Mean] = {}
        self._saving: dict[str, Mean] = {}
        self._replicas: dict[str, int] = {}
        self._queues: dict[str, PromptQueue] = {}
        self._speeds: dict[str, _Speed] = {}
        self._suspect: dict[str, float] = {}
        self._retries: dict[str, Window] = {}
        self.purses: dict[str, Purse] = {}
        """What hedges may still cost, by route."""

    def live(self, route: str, candidate: Candidate, healthy: bool, slots: int, now: float) -> Live:
        """The live half of one candidate's decision. `slots` and `healthy` come from the fleet's view."""
        backend = self._backends.get(candidate.backend)
        learnt = self._routes.get((route, candidate.backend))
        worth = self._work_value.get(candidate.owner) if candidate.kind == "local" else None
        queue = self._queues.get(candidate.owner) if candidate.kind == "local" else None
        if backend is None:
            if queue is None:
                return Live(candidate.backend, healthy=healthy, slots=slots)
            backend = self._backend(candidate.backend, candidate.owner)
        speed = backend.speed
        breaker = backend.breaker
        requests_left, tokens_left = None, None
        if backend.headroom is not None:
            requests_left, tokens_left = left(backend.headroom, backend.calls - backend.headroom_at.calls, backend.tokens - backend.headroom_at.tokens, now)
        return Live(
            backend=candidate.backend,
            healthy=healthy,
            breaker=view(breaker, now),
            in_flight=backend.in_flight,
            slots=slots,
            ttft_ms=speed.ttft.value,
            tpot_ms=speed.tpot.value,
            log_sigma=speed.spread.sigma,
            output_tokens=learnt.output.value if learnt else None,
            bytes_per_token=learnt.ratio.bytes_per_token if learnt else 4.0,
            cached_share=(learnt.cached.value or 0.0) if learnt else 0.0,
            retry_at=breaker.retry_at if breaker.retry_at is not None and breaker.retry_at > now else None,
            work_value=(worth.value or 0.0) if worth else 0.0,
            requests_left=requests_left,
            tokens_left=tokens_left,
            probe_due=breaker.opened and probe_due(breaker, backend.probes, backend.probe_began, now),
            others_in_flight=queue.in_flight - backend.in_flight if queue else 0,
            load_tokens=queue.load if queue else 0.0,
            ahead_tokens=queue.ahead(now) if queue else 0.0,
            prompt_ms=speed.by_prompt.slope,
            usual_prompt=speed.by_prompt.x,
            load_ms=speed.by_load.slope,
            usual_load=speed.by_load.x,
            ttft_sigma=speed.first_spread.sigma if speed.by_prompt.weight else 0.0,
            evidence=speed.total.rests_on(now) if speed.total.value is not None else None,
            blocked_ms=_blocked_ms(speed) if queue and candidate.adapter is not None and queue.blocked(candidate.backend) else 0.0,
            usual_saving=(self._saving[candidate.owner].value or 0.0) if worth else 0.0,
        )

    def begin(self, backend: str, replica: str | None, now: float, tokens: int = 0, errand: Errand | None = None) -> Ticket:
        """A call starts; `tokens` is what it is expected to count as, `errand` what it brings to an engine. Give the ticket back to `end`."""
        state = self._backend(backend, None if errand is None else errand.engine)
        state.in_flight += 1
        state.calls += 1
        state.tokens += tokens
        if replica is not None:
            self._replicas[replica] = self._replicas.get(replica, 0) + 1
        probe = state.breaker.opened
        if probe:
            state.probes += 1
            state.probe_began = now
        place = None if errand is None else self._queue(errand.engine).enter(errand, now)
        return Ticket(state.calls, state.tokens, probe, place)

    def first(self, ticket: Ticket) -> None:
        """A stream's first token is there: the engine has read its prompt."""
        if ticket.place is not None:
            self._queue(ticket.place.engine).read(ticket.place)

    def end(self, backend: str, replica: str | None, ticket: Ticket) -> None:
        """A call that `begin` counted is over."""
        state = self._backend(backend)
        state.in_flight -= 1
        if ticket.probe:
            state.probes -= 1
        if ticket.place is not None:
            self._queue(ticket.place.engine).leave(ticket.place)
        if replica is not None:
            rest = self._replicas.get(replica, 1) - 1
            if rest:
                self._replicas[replica] = rest
            else:
                self._replicas.pop(replica, None)

    def result(self, backend: str, ok: bool, now: float, *, slow: bool = False, probe: bool = False) -> None:
        """Tell the circuit breaker how a call ended. What counts as not ok or slow is the caller's decision; `probe` is on the call's ticket."""
        state = self._backend(backend)
        if probe:
            state.breaker = on_probe(state.breaker, ok, slow, now)
        elif not state.breaker.opened:  # else it began before the circuit opened, and says nothing about now
            state.breaker = on_result(state.breaker, ok, slow, now)

    def headroom(self, backend: str, said: Headroom, ticket: Ticket) -> None:
        """What a call's answer said of the rate limit. An answer to an earlier call than the one that is known is no news."""
        state = self._backend(backend)
        if state.headroom is None or ticket.calls >= state.headroom_at.calls:
            state.headroom, state.headroom_at = said, ticket

    def retry_after(self, backend: str, until: float) -> None:
        """The backend asked not to be called before `until`."""
        state = self._backend(backend)
        state.breaker = on_retry_after(state.breaker, until)

    def suspect(self, replica: str, now: float) -> None:
        """This replica could not be connected to."""
        self._suspect[replica] = now + SUSPECT_S

    def usable(self, replica: str, now: float) -> bool:
        """Whether a replica may be tried (not suspected just now)."""
        until = self._suspect.get(replica)
        if until is None:
            return True
        if now >= until:
            del self._suspect[replica]
            return True
        return False

    def replica_load(self, replica: str) -> int:
        """Calls in flight at a replica."""
        return self._replicas.get(replica, 0)

    def usual_total_ms(self, backend: str) -> float | None:
        """How long whole answers of this backend usually take."""
        state = self._backends.get(backend)
        return state.speed.total.value if state else None

    def usual_ms(self, backend: str, tokens: float) -> float | None:
        """By when so many tokens are usually there, unhurried; unlike the means of `live` it is not moved by a brown-out at once."""
        state = self._backends.get(backend)
        if state is None or state.speed.usual_ttft is None:
            return None
        return state.speed.usual_ttft + tokens * (state.speed.usual_tpot or 0.0)

    def p95_ms(self, backend: str, predicted_ms: float | None, *, stream: bool) -> float | None:
        """By when 95 of 100 calls have their first token (a stream), or their whole answer where `predicted_ms` is expected. None: too few were seen."""
        state = self._backends.get(backend)
        known = None if state is None else state.speed.first if stream else state.speed.stretch
        if known is None or known.value is None or known.seen < LEAST_SEEN:
            return None
        if stream:
            return known.value
        return None if predicted_ms is None else known.value * predicted_ms

    def waited(self, backend: str, waited_ms: float, predicted_ms: float | None, *, stream: bool) -> None:
        """A call was given up on, for one beside it was faster. Without this only the quick answers would be learnt from."""
        state, usual = self._backend(backend), self.p95_ms(backend, predicted_ms, stream=stream)
        if usual is None or waited_ms <= usual:
            return
        if stream:
            state.speed.first = state.speed.first.observe(waited_ms)
        elif predicted_ms:
            state.speed.stretch = state.speed.stretch.observe(waited_ms / predicted_ms)

    def asked(self, route: str, now: float) -> None:
        """One more request of a route, for its retry budget."""
        self._retries[route] = on_request(self._retries.get(route, _UNASKED), now)

    def may_repeat(self, route: str, now: float) -> bool:
        """Whether a request may ask again whom it has just found overloaded; counted when it may."""
        window = on_retry(self._retries.get(route, _UNASKED), now)
        if window is not None:
            self._retries[route] = window
        return window is not None

    def learn(self, route: str, candidate: Candidate, seen: Observation, now: float) -> None:
        """Take in a successful call."""
        speed = self._backend(candidate.backend, candidate.owner if candidate.kind == "local" else None).speed
        learnt = self._on_route(route, candidate.backend)
        output = seen.output_tokens
        if seen.input_tokens:
            learnt.ratio = learnt.ratio.observe(seen.prompt_bytes, seen.input_tokens, now)
            learnt.cached = learnt.cached.observe(seen.cached_tokens / seen.input_tokens, now)
        if output is not None:
            learnt.output = learnt.output.observe(float(output), now)
        ttft = seen.ttft_ms
        if seen.place is not None and seen.place.blocked:  # it waited for a slot, which says nothing of the engine's speed
            waited_ms = 0.0 if ttft is None else ttft - (speed.ttft.value or 0.0)
            speed.blocked = speed.blocked.observe(waited_ms, now) if waited_ms > 0.0 else speed.blocked
            return
        self._learn_speed(candidate, speed, seen, now)

    def _learn_speed(self, candidate: Candidate, speed: _Speed, seen: Observation, now: float) -> None:
        ttft, output = seen.ttft_ms, seen.output_tokens
        if ttft is not None:
            speed.first = speed.first.observe(ttft)
            self._learn_first(speed, seen, ttft, now)
        elif seen.predicted_ms:
            speed.stretch = speed.stretch.observe(seen.total_ms / seen.predicted_ms)
        if ttft is None:
            # a whole answer does not show its first token: what streams taught, else as long as any other token
            ttft = min(speed.ttft.value, seen.total_ms) if speed.ttft.value is not None else seen.total_ms / ((output or 0) + 1)
        tpot = max(seen.total_ms - ttft, 0.0) / output if output else 0.0
        if seen.place is not None and output:
            # as many as were there when it came and are there now that it goes, on average
            speed.by_load = speed.by_load.observe((seen.place.load + self._queue(seen.place.engine).load + seen.place.own) / 2.0, tpot, now)
        speed.ttft, speed.tpot = speed.ttft.observe(ttft, now), speed.tpot.observe(tpot, now)
        speed.usual_ttft, speed.usual_tpot = usual(speed.usual_ttft, speed.learnt, ttft), usual(speed.usual_tpot, speed.learnt, tpot)
        speed.learnt += 1
        speed.total = speed.total.observe(seen.total_ms, now)
        if seen.predicted_ms:
            speed.spread = speed.spread.observe(seen.total_ms / seen.predicted_ms, now)
        if candidate.kind == "local" and seen.saved_nanousd and seen.total_ms > 0:
            self._saving[candidate.owner] = self._saving.get(candidate.owner, Mean()).observe(seen.saved_nanousd, now)
            worth = self._work_value.get(candidate.owner, Mean())
            self._work_value[candidate.owner] = worth.observe(seen.saved_nanousd * 1000.0 * max(seen.slots, 1) / seen.total_ms, now)

    def _learn_first(self, speed: _Speed, seen: Observation, ttft_ms: float, now: float) -> None:
        """How the first token's time depends on what had to be read before it."""
        line, tokens = speed.by_prompt, float(seen.input_tokens or 0) if seen.place is None else seen.place.tokens
        if line.weight and line.value(tokens) > 0.0:
            speed.first_spread = speed.first_spread.observe(ttft_ms / line.value(tokens), now)
        speed.by_prompt = line.observe(tokens, ttft_ms, now)
        if seen.place is not None:
            self._queue(seen.place.engine).token_ms = speed.by_prompt.slope

    def preset(self, backend: str, ttft_ms: float | None, tpot_ms: float | None, total_ms: float | None, now: float) -> None:
        """Start from what an earlier process saw. Does nothing once this one has seen something itself."""
        speed = self._backend(backend).speed
        if ttft_ms is not None and tpot_ms is not None and speed.ttft.value is None:
            speed.ttft, speed.tpot = speed.ttft.observe(ttft_ms, now), speed.tpot.observe(tpot_ms, now)
            speed.usual_ttft, speed.usual_tpot = ttft_ms, tpot_ms
        if total_ms is not None and speed.total.value is None:
            speed.total = Mean(total_ms, _PRESET_ANSWERS, now)

    def preset_route(self, route: str, backend: str, output_tokens: float | None, bytes_per_token: float | None, now: float) -> None:
        """As `preset`, for what is learnt per route."""
        learnt = self._on_route(route, backend)
        if output_tokens is not None and learnt.output.value is None:
            learnt.output = learnt.output.observe(output_tokens, now)
        if bytes_per_token is not None and bytes_per_token > 0.0 and learnt.ratio.at == 0.0:
            learnt.ratio = learnt.ratio.observe(round(_PRESET_TOKENS * bytes_per_token), _PRESET_TOKENS, now)

    def breakers(self, now: float) -> dict[str, str]:
        """Phase of every circuit that has ever been used, for metrics."""
        return {name: view(state.breaker, now) for name, state in self._backends.items()}

    def in_flight(self) -> int:
        """Calls to upstreams under way."""
        return sum(state.in_flight for state in self._backends.values())

    def _backend(self, name: str, engine: str | None = None) -> _Backend:
        state = self._backends.get(name)
        if state is None:
            if len(self._backends) >= _MOST_NAMES:
                self._forget()
            state = self._backends[name] = _Backend()
        if engine is not None and state.engine != engine:
            state.engine, state.speed = engine, self._speeds.setdefault(engine, state.speed)
        return state

    def _queue(self, engine: str) -> PromptQueue:
        queue = self._queues.get(engine)
        if queue is None:
            queue = self._queues[engine] = PromptQueue()
        return queue

    def _on_route(self, route: str, backend: str) -> _OnRoute:
        learnt = self._routes.get((route, backend))
        if learnt is None:
            learnt = self._routes[(route, backend)] = _OnRoute()
        return learnt

    def _forget(self) -> None:
        """Drop the older half of what is not in use."""
        idle = [name for name, state in self._backends.items() if not state.in_flight]
        gone = set(idle[: _MOST_NAMES // 2])
        self._backends = {name: state for name, state in self._backends.items() if name not in gone}
        self._routes = {key: learnt for key, learnt in self._routes.items() if key[1] not in gone}
