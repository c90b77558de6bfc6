"""The baselines: how others choose between two backends, from their documented formulas (names and sources: baselines.py). Ours is in ours.py.

Each has a fair chance: the other backend follows as failover, and a backend that failed is left alone for five seconds (LiteLLM's cooldown) unless the
other is left alone too. None of them sees more than its original would: calls it sent, what came back, and engine metrics as they were last scraped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from math import inf
from statistics import fmean

from router.simulation import chance
from router.simulation.setting import HOSTED, LOCAL, Setting, Told
from router.simulation.trace import Ask
from router.simulation.world import World

_COOLDOWN_S = 5.0
BOTH = (HOSTED, LOCAL)


class Baseline(ABC):
    """A policy that ranks both backends; what all of them remember is here."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        self.name = name
        self.setting, self.seed = setting, seed
        self.in_flight = dict.fromkeys(BOTH, 0)
        self._cooling = dict.fromkeys(BOTH, -inf)
        self._at = [0] * setting.replicas
        self._shunned = [-inf] * setting.replicas
        self._place: dict[int, int] = {}

    @abstractmethod
    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The backend it would ask."""

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]:
        """Its choice, then the other; one that cools down comes last."""
        first = self.first(number, ask, world, now)
        other = LOCAL if first == HOSTED else HOSTED
        return (other, first) if self._cooling[first] > now >= self._cooling[other] else (first, other)

    def replica(self, number: int, ask: Ask, world: World, now: float) -> int:
        """The one with the fewest calls in flight, of those that did not fail just now."""
        place = self._place[number] = min(range(len(self._at)), key=lambda index: (self._shunned[index] > now, self._at[index]))
        return place

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None:
        """A call starts."""
        self.in_flight[backend] += 1
        if backend == LOCAL:
            self._at[self._place[number]] += 1

    def first_token(self, number: int) -> None:  # noqa: B027 - nothing to do for those who do not ask
        """A stream has begun."""

    def ended(self, told: Told) -> None:
        """A call ended."""
        self.in_flight[told.backend] -= 1
        if told.backend == LOCAL:
            self._at[self._place.pop(told.number)] -= 1
            if told.status != 200:
                self._shunned[told.replica] = told.now + _COOLDOWN_S
                if len(self._at) > 1:
                    return  # the others of the engine are up
        if told.status != 200:
            self._cooling[told.backend] = told.now + max(_COOLDOWN_S, told.retry_after_s)


class Always(Baseline):
    """All to one backend."""

    def __init__(self, setting: Setting, seed: int, name: str, backend: str) -> None:
        super().__init__(setting, seed, name)
        self._backend = backend

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """That one."""
        return self._backend


class LocalFirst(Baseline):
    """Local until so many are in flight there."""

    def __init__(self, setting: Setting, seed: int, name: str, most: int) -> None:
        super().__init__(setting, seed, name)
        self._most = most

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Overflow goes to the provider."""
        return LOCAL if self.in_flight[LOCAL] < self._most else HOSTED


class Share(Baseline):
    """A coin (LiteLLM's simple_shuffle with weights)."""

    def __init__(self, setting: Setting, seed: int, name: str, share: float) -> None:
        super().__init__(setting, seed, name)
        self._share = share

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Local with the given chance."""
        return LOCAL if chance.uniform(self.seed, 20, number) < self._share else HOSTED


class LowestLatency(Baseline):
    """LiteLLM's lowest_latency: the mean of the last ten seconds per token; a timeout counts as a thousand seconds; the unseen come first."""

    def __init__(self, setting: Setting, seed: int, name: str, buffer: float = 0.0) -> None:
        super().__init__(setting, seed, name)
        self._buffer = buffer
        self._last: dict[str, deque[float]] = {backend: deque(maxlen=10) for backend in BOTH}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The least mean; with a buffer, a coin among those within that share of it."""
        mean = {backend: fmean(self._last[backend]) if self._last[backend] else 0.0 for backend in BOTH}
        near = [backend for backend in BOTH if mean[backend] <= min(mean.values()) * (1.0 + self._buffer)]
        return near[int(chance.uniform(self.seed, 27, number) * len(near))] if self._buffer else near[0]

    def ended(self, told: Told) -> None:
        """Keeps seconds per token."""
        super().ended(told)
        if told.status == 200:
            self._last[told.backend].append(told.total_s / max(told.ask.output, 1))
        elif told.status == 0:
            self._last[told.backend].append(1000.0)


class LowestCost(Baseline):
    """LiteLLM's lowest_cost: the lesser sum of prices per token, whatever the request; the engine at the price it was given, dollars per million tokens."""

    def __init__(self, setting: Setting, seed: int, name: str, engine_usd_per_m: float) -> None:
        super().__init__(setting, seed, name)
        self._engine = engine_usd_per_m * 1e9

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The cheaper on paper."""
        price = self.setting.price_at(now)
        return LOCAL if self._engine < price.input + price.output else HOSTED


class LeastBusy(Baseline):
    """LiteLLM's least_busy: fewest calls in flight, ties to the first."""

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The emptier."""
        return min(BOTH, key=self.in_flight.__getitem__)


class LowestUsage(Baseline):
    """LiteLLM's lowest_tpm_rpm: fewest tokens in this clock minute, counted when a call has succeeded."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self._minute, self._tokens = -1, dict.fromkeys(BOTH, 0)

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The one with fewer."""
        if int(now // 60) != self._minute:
            self._minute, self._tokens = int(now // 60), dict.fromkeys(BOTH, 0)
        return min(BOTH, key=self._tokens.__getitem__)

    def ended(self, told: Told) -> None:
        """Counts what succeeded."""
        super().ended(told)
        if told.status == 200:
            self._tokens[told.backend] += told.ask.input + told.ask.output


class MultiFactor(Baseline):
    """semantic-router's multi_factor: min-max normalised latency, cost (prompt price only) and load, a quarter each beside quality; ceilings first."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self._ttft: dict[str, deque[float]] = {backend: deque(maxlen=1000) for backend in BOTH}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The highest sum among those whose 95th percentile is below the aim; of none, the cheapest."""
        aim = (self.setting.slo.ttft_ms or inf) / 1000.0
        late = {backend: percentile(self._ttft[backend], 0.95) for backend in BOTH}
        fit = [backend for backend in BOTH if late[backend] <= aim]
        if len(fit) < 2:
            return fit[0] if fit else LOCAL
        price = {HOSTED: float(self.setting.price.input), LOCAL: 0.0}
        load = {backend: float(self.in_flight[backend]) for backend in BOTH}
        return min(BOTH, key=lambda backend: sum(_unit(values, backend) for values in (late, price, load)))

    def ended(self, told: Told) -> None:
        """Keeps first tokens."""
        super().ended(told)
        if told.status == 200:
            self._ttft[told.backend].append(told.ttft_s)


class Composite(Baseline):
    """The inference gateway's composite of queue depth and KV use from scraped metrics, extended with the provider as a pseudo-endpoint of constant score."""

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Local while its scraped score is above the constant."""
        seen = world.scraped
        queue = max(0.0, 1.0 - seen.waiting / 128.0)
        return LOCAL if (queue + 1.0 - seen.kv_share) / 2.0 > 0.5 else HOSTED


class PredictedLatency(Baseline):
    """llm-d's predicted latency, a running quantile in place of its trees: the least headroom that is still positive; one per cent explore."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self._last: dict[str, deque[float]] = {backend: deque(maxlen=200) for backend in BOTH}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Packs where the aim is just met; of none, the least late."""
        aim = (self.setting.slo.ttft_ms or 1000.0) / 1000.0
        spare = {backend: aim - self._predicted(backend, world) for backend in BOTH}
        good = [backend for backend in BOTH if spare[backend] >= 0]
        if not good or (len(good) < 2 and chance.uniform(self.seed, 21, number) < 0.01):
            return max(BOTH, key=spare.__getitem__)
        return min(good, key=spare.__getitem__)

    def ended(self, told: Told) -> None:
        """Keeps first tokens."""
        super().ended(told)
        if told.status == 200:
            self._last[told.backend].append(told.ttft_s)

    def _predicted(self, backend: str, world: World) -> float:
        ninetieth = percentile(self._last[backend], 0.9)
        return ninetieth * (1.0 + world.scraped.waiting / 32.0) if backend == LOCAL else ninetieth


class RouteBalance(Baseline):
    """RouteBalance's score (arXiv 2606.17949): each axis divided by the largest over the candidates, cost and latency weighed alike; quality is equal here."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self._each: dict[str, deque[float]] = {backend: deque(maxlen=200) for backend in BOTH}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The highest sum of one minus its share of the largest."""
        slots = self.setting.engine.slots()
        busy = max(1.0, self.in_flight[LOCAL] / slots)
        late = {backend: (fmean(self._each[backend]) if self._each[backend] else 0.01) * (busy if backend == LOCAL else 1.0) for backend in BOTH}
        price = {HOSTED: 1.0, LOCAL: 0.0}
        return min(BOTH, key=lambda backend: price[backend] / max(price.values()) + late[backend] / max(late.values()))

    def ended(self, told: Told) -> None:
        """Keeps seconds per request."""
        super().ended(told)
        if told.status == 200:
            self._each[told.backend].append(told.total_s)


class Prequal(Baseline):
    """Prequal's hot-cold rule (NSDI 2024): local while its requests in flight are below a quantile of what was seen there, else the one with less latency."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self._flights: deque[float] = deque(maxlen=500)
        self._total: dict[str, deque[float]] = {backend: deque(maxlen=100) for backend in BOTH}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Cold is cheap; hot is judged by latency."""
        self._flights.append(float(self.in_flight[LOCAL]))
        hot = len(self._flights) >= 20 and self.in_flight[LOCAL] > max(percentile(self._flights, 0.84), self.setting.engine.slots())
        if not hot:
            return LOCAL
        return min(BOTH, key=lambda backend: fmean(self._total[backend]) if self._total[backend] else 0.0)

    def ended(self, told: Told) -> None:
        """Keeps totals."""
        super().ended(told)
        if told.status == 200:
            self._total[told.backend].append(told.total_s)


def percentile(values: deque[float], share: float) -> float:
    """The value below which `share` of them lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _unit(values: dict[str, float], backend: str) -> float:
    low, high = min(values.values()), max(values.values())
    return 0.0 if high <= low else (values[backend] - low) / (high - low)
