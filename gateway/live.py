"""What this process knows of its backends right now: requests in flight, learnt sizes and speeds, circuit breakers, replicas to avoid. In memory only.

The arithmetic is in router.estimate and router.breaker; this file keeps their values by name and turns them into the `Live` of a decision.
Not thread-safe: it belongs to the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from router.breaker import BreakerState, on_result, on_retry_after, view
from router.estimate import LogSpread, Mean, TokenRatio
from router.types import Candidate, Live

# A replica that refused a connection is left alone for this long: the controller sees it is down within seconds, requests should not wait for that.
SUSPECT_S = 2.0
# Names clients make up (a provider with `models: "*"`) must not fill the memory.
_MOST_NAMES = 2000
# A ratio that an earlier process learnt outweighs the prior of a few hundred tokens, and is soon outweighed by what this one sees.
_PRESET_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Observation:
    """What one finished call taught. Milliseconds and counts; None where it was not seen. `predicted_ms` is the decision's latency, `saved_nanousd` what the
    answer would have cost hosted, `slots` how many requests shared the GPU at full speed."""

    prompt_bytes: int
    input_tokens: int | None
    cached_tokens: int
    output_tokens: int | None
    ttft_ms: float | None
    total_ms: float
    predicted_ms: float | None = None
    saved_nanousd: int | None = None
    slots: int = 0


@dataclass(slots=True)
class _Backend:
    in_flight: int = 0
    ttft: Mean = field(default_factory=Mean)
    tpot: Mean = field(default_factory=Mean)
    total: Mean = field(default_factory=Mean)
    spread: LogSpread = field(default_factory=LogSpread)
    breaker: BreakerState = field(default_factory=BreakerState)


@dataclass(slots=True)
class _OnRoute:
    output: Mean = field(default_factory=Mean)
    cached: Mean = field(default_factory=Mean)
    ratio: TokenRatio = field(default_factory=TokenRatio)


class Board:
    """The live numbers of one process."""

    def __init__(self) -> None:
        self._backends: dict[str, _Backend] = {}
        self._routes: dict[tuple[str, str], _OnRoute] = {}
        self._work_value: dict[str, Mean] = {}
        self._replicas: dict[str, int] = {}
        self._suspect: dict[str, float] = {}

    def live(self, route: str, candidate: Candidate, healthy: bool, slots: int, now: float) -> Live:
        """The live half of one candidate's decision. `slots` and `healthy` come from the fleet's view."""
        backend = self._backends.get(candidate.backend)
        learnt = self._routes.get((route, candidate.backend))
        worth = self._work_value.get(candidate.owner) if candidate.kind == "local" else None
        if backend is None:
            return Live(candidate.backend, healthy=healthy, slots=slots)
        retry_at = backend.breaker.retry_at
        return Live(
            backend=candidate.backend,
            healthy=healthy,
            breaker=view(backend.breaker, now),
            in_flight=backend.in_flight,
            slots=slots,
            ttft_ms=backend.ttft.value,
            tpot_ms=backend.tpot.value,
            log_sigma=backend.spread.sigma,
            output_tokens=learnt.output.value if learnt else None,
            bytes_per_token=learnt.ratio.bytes_per_token if learnt else 4.0,
            cached_share=(learnt.cached.value or 0.0) if learnt else 0.0,
            retry_at=retry_at if retry_at is not None and retry_at > now else None,
            work_value=(worth.value or 0.0) if worth else 0.0,
        )

    def begin(self, backend: str, replica: str | None) -> None:
        """A call starts."""
        self._backend(backend).in_flight += 1
        if replica is not None:
            self._replicas[replica] = self._replicas.get(replica, 0) + 1

    def end(self, backend: str, replica: str | None) -> None:
        """A call that `begin` counted is over."""
        self._backend(backend).in_flight -= 1
        if replica is not None:
            left = self._replicas.get(replica, 1) - 1
            if left:
                self._replicas[replica] = left
            else:
                self._replicas.pop(replica, None)

    def result(self, backend: str, ok: bool, now: float) -> None:
        """Tell the circuit breaker how a call ended. What counts as not ok is the caller's decision."""
        state = self._backend(backend)
        state.breaker = on_result(state.breaker, ok, False, now)

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
        return state.total.value if state else None

    def learn(self, route: str, candidate: Candidate, seen: Observation, now: float) -> None:
        """Take in a successful call."""
        backend = self._backend(candidate.backend)
        learnt = self._on_route(route, candidate.backend)
        output = seen.output_tokens
        if seen.input_tokens:
            learnt.ratio = learnt.ratio.observe(seen.prompt_bytes, seen.input_tokens, now)
            learnt.cached = learnt.cached.observe(seen.cached_tokens / seen.input_tokens, now)
        if output is not None:
            learnt.output = learnt.output.observe(float(output), now)
        ttft = seen.ttft_ms
        if ttft is None:
            # a whole answer does not show its first token: what streams taught, else as long as any other token
            ttft = min(backend.ttft.value, seen.total_ms) if backend.ttft.value is not None else seen.total_ms / ((output or 0) + 1)
        backend.ttft = backend.ttft.observe(ttft, now)
        backend.tpot = backend.tpot.observe(max(seen.total_ms - ttft, 0.0) / output if output else 0.0, now)
        backend.total = backend.total.observe(seen.total_ms, now)
        if seen.predicted_ms:
            backend.spread = backend.spread.observe(seen.total_ms / seen.predicted_ms, now)
        if candidate.kind == "local" and seen.saved_nanousd and seen.total_ms > 0:
            worth = self._work_value.get(candidate.owner, Mean())
            self._work_value[candidate.owner] = worth.observe(seen.saved_nanousd * 1000.0 * max(seen.slots, 1) / seen.total_ms, now)

    def preset(self, backend: str, ttft_ms: float | None, tpot_ms: float | None, total_ms: float | None, now: float) -> None:
        """Start from what an earlier process saw. Does nothing once this one has seen something itself."""
        state = self._backend(backend)
        if ttft_ms is not None and tpot_ms is not None and state.ttft.value is None:
            state.ttft, state.tpot = state.ttft.observe(ttft_ms, now), state.tpot.observe(tpot_ms, now)
        if total_ms is not None and state.total.value is None:
            state.total = state.total.observe(total_ms, now)

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

    def _backend(self, name: str) -> _Backend:
        state = self._backends.get(name)
        if state is None:
            if len(self._backends) >= _MOST_NAMES:
                self._forget()
            state = self._backends[name] = _Backend()
        return state

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
