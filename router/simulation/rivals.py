"""The baselines that learn, spend or try twice: adaptive and bandit routers, budget filters, cascades, prices frozen early. As policies.py, whose base they
share; what is published only in part is marked as our reading.
"""

from __future__ import annotations

from collections import deque
from math import exp, inf, sqrt
from statistics import fmean

from router.simulation import chance
from router.simulation.policies import BOTH, Baseline, percentile
from router.simulation.setting import HOSTED, LOCAL, Setting, Told
from router.simulation.trace import Ask
from router.simulation.world import World


class Adaptive(Baseline):
    """LiteLLM's adaptive router: 0.7 of a Thompson draw of quality and 0.3 of one minus the min-max normalised price. Latency is not in it; quality is alike
    here, so the draws are of answers and failures from the documented prior (mean by strength, mass 10, at most 200)."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self.seen = {HOSTED: [8.0, 2.0], LOCAL: [6.0, 4.0]}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The higher sum: the engine's price is 0, the provider's 1."""
        return max(BOTH, key=lambda backend: 0.7 * self._draw(backend, number) + (0.3 if backend == LOCAL else 0.0))

    def ended(self, told: Told) -> None:
        """Counts until two hundred."""
        super().ended(told)
        seen = self.seen[told.backend]
        if sum(seen) < 200.0:
            seen[0 if told.status == 200 else 1] += 1.0

    def _draw(self, backend: str, number: int) -> float:
        """A Beta draw, by its normal approximation."""
        good, bad = self.seen[backend]
        mean = good / (good + bad)
        spread = sqrt(mean * (1.0 - mean) / (good + bad + 1.0))
        return min(1.0, max(0.0, mean + spread * chance.normal(self.seed, 23, number, backend == LOCAL)))


class BudgetFilter(Baseline):
    """LiteLLM's budget limiter over its shuffle: a backend whose spend has reached its budget is dropped; spend is known when an answer has ended."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self.spent = 0

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """A coin while there is budget."""
        budget = self.setting.budget_nanousd
        if budget is not None and self.spent >= budget:
            return LOCAL
        return LOCAL if chance.uniform(self.seed, 20, number) < 0.5 else HOSTED

    def ended(self, told: Told) -> None:
        """Adds what it cost."""
        super().ended(told)
        if told.backend == HOSTED and told.status == 200:
            self.spent += self.setting.list_cost(told.ask, told.cached)


class Weighted(Baseline):
    """Bifrost's adaptive load balancing, our reading (its weights are not published): every five seconds weights from errors, then latency against the
    other, then use; drawn at random, a floor for the weak."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self.weight = dict.fromkeys(BOTH, 1.0)
        self._next = 0.0
        self._errors: dict[str, deque[float]] = {backend: deque(maxlen=50) for backend in BOTH}
        self._each: dict[str, deque[float]] = {backend: deque(maxlen=50) for backend in BOTH}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """By weight."""
        if now >= self._next:
            self._next = now + 5.0
            self.weight = {backend: self._weigh(backend) for backend in BOTH}
        share = self.weight[LOCAL] / sum(self.weight.values())
        return LOCAL if chance.uniform(self.seed, 24, number) < share else HOSTED

    def ended(self, told: Told) -> None:
        """Keeps failures and seconds per token."""
        super().ended(told)
        self._errors[told.backend].append(float(told.status != 200))
        if told.status == 200:
            self._each[told.backend].append(told.total_s / max(told.ask.output, 1))

    def _weigh(self, backend: str) -> float:
        errors = fmean(self._errors[backend]) if self._errors[backend] else 0.0
        means = [fmean(each) for each in self._each.values() if each]
        late = fmean(self._each[backend]) / min(means) if self._each[backend] else 1.0
        used = self.in_flight[backend] / max(1, sum(self.in_flight.values()))
        return max(0.05, (1.0 - errors) ** 4 / late * (1.0 - 0.2 * used))


class Percentiles(Baseline):
    """semantic-router's latency_aware: the mean over first token and per-token time of each one's p95 over the best; one without values is passed over."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self._ttft: dict[str, deque[float]] = {backend: deque(maxlen=1000) for backend in BOTH}
        self._tpot: dict[str, deque[float]] = {backend: deque(maxlen=1000) for backend in BOTH}
        self._cache: dict[str, tuple[float, float]] = {}

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """The lower score; with nothing known the first in order."""
        known = [backend for backend in BOTH if self._ttft[backend]]
        if len(known) < 2:
            return known[0] if known else HOSTED
        if number % 50 == 0 or not self._cache:
            self._cache = {backend: (percentile(self._ttft[backend], 0.95), percentile(self._tpot[backend], 0.95)) for backend in BOTH}
        best = [max(min(each), 1e-9) for each in zip(*self._cache.values(), strict=True)]
        return min(BOTH, key=lambda backend: sum(value / least for value, least in zip(self._cache[backend], best, strict=True)))

    def ended(self, told: Told) -> None:
        """Keeps both times."""
        super().ended(told)
        if told.status == 200:
            self._ttft[told.backend].append(told.ttft_s)
            self._tpot[told.backend].append((told.total_s - told.ttft_s) / max(told.ask.output, 1))


class FrozenPrice(Baseline):
    """PORT (arXiv 2509.02718): the first fortieth of the requests at random, then a price of the scarce side learnt from them once, for good. What is scarce
    here are GPU-seconds: local while the saving per GPU-second is above that price."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        asks = setting.trace.asks
        self._learning = max(1, len(asks) // 40)
        self.gamma: float | None = None
        self._seen: list[tuple[float, float]] = []

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Density against the frozen price."""
        work = self.setting.engine.work_s(ask.input, 200)  # its answer's length is not known: a usual one
        density = self.setting.list_cost(ask._replace(output=200)) / work
        if number < self._learning:
            self._seen.append((density, work))
            return LOCAL if chance.uniform(self.seed, 25, number) < 0.5 else HOSTED
        if self.gamma is None:
            self.gamma = self._price(now)
        return LOCAL if density >= self.gamma else HOSTED

    def _price(self, now: float) -> float:
        """The density at which the work above it is what the engines can do."""
        room = max(now - self.setting.trace.asks[0].at, 1e-9) * self.setting.replicas
        for density, work in sorted(self._seen, reverse=True):
            room -= work
            if room < 0.0:
                return density
        return 0.0


class Bandit(Baseline):
    """ParetoBandit (arXiv 2604.00136) without contexts: an upper confidence bound of the reward with forgetting 0.996, minus a penalty that a pacer sets from
    the mean cost against its target; the reward is an answer within its aim."""

    def __init__(self, setting: Setting, seed: int, name: str) -> None:
        super().__init__(setting, seed, name)
        self.mean = dict.fromkeys(BOTH, 0.9)
        self.weight = dict.fromkeys(BOTH, 1.0)
        self.penalty, self._ema = 0.0, 0.0
        asks = setting.trace.asks
        every = sum(setting.list_cost(ask) for ask in asks)
        budget = setting.budget_nanousd if setting.budget_nanousd is not None else every // 2
        self._target = max(budget / max(len(asks), 1), 1.0)
        self._most = every / max(len(asks), 1) or 1.0

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Reward, its uncertainty, and the price of cost."""
        cost = {HOSTED: min(1.0, self.setting.list_cost(ask) / (2.0 * self._most)), LOCAL: 0.0}
        bound = {backend: self.mean[backend] + 0.1 / sqrt(self.weight[backend]) for backend in BOTH}
        return max(BOTH, key=lambda backend: bound[backend] - (0.05 + self.penalty) * cost[backend])

    def ended(self, told: Told) -> None:
        """Forgets, learns, paces."""
        super().ended(told)
        slo = self.setting.slo
        good = told.status == 200 and told.ttft_s * 1000.0 <= (slo.ttft_ms or inf) and told.total_s * 1000.0 <= (slo.total_ms or inf)
        backend = told.backend
        self.weight[backend] = min(0.996 * self.weight[backend] + 1.0, 250.0)
        self.mean[backend] += (float(good) - self.mean[backend]) / self.weight[backend]
        spent = float(self.setting.list_cost(told.ask, told.cached)) if backend == HOSTED and told.status == 200 else 0.0
        self._ema = 0.95 * self._ema + 0.05 * spent
        self.penalty = min(5.0, max(0.0, self.penalty + 0.05 * (self._ema / self._target - 1.0)))


class Threshold(Baseline):
    """RouteLLM (arXiv 2406.18665) with a perfectly calibrated score: the strong model, which is the provider, above a threshold that sends it a stated share.
    Quality is alike here, so the score is drawn; it bounds what routing by quality alone can do."""

    def __init__(self, setting: Setting, seed: int, name: str, strong: float) -> None:
        super().__init__(setting, seed, name)
        self._strong = strong

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """By its score alone."""
        return HOSTED if 1.0 / (1.0 + exp(-chance.normal(self.seed, 26, number))) >= self._alpha() else LOCAL

    def _alpha(self) -> float:
        """The quantile of a logistic-normal score above which `strong` of all lie (Tukey's lambda approximates the normal's)."""
        p = 1.0 - self._strong
        return 1.0 / (1.0 + exp(-(p**0.135 - (1.0 - p) ** 0.135) / 0.1975))


class Cascade(Baseline):
    """A cascade (FrugalGPT, arXiv 2305.05176): always local first, the provider when that fails or nothing comes within its patience. Answers are good enough
    here, so only failures escalate; patience is the aim for the first token."""

    def first(self, number: int, ask: Ask, world: World, now: float) -> str:
        """Local, unless what it has waiting would not be read within the aim, by its own count."""
        aim = (self.setting.slo.ttft_ms or 1e9) / 1000.0
        waiting = max(0, self.in_flight[LOCAL] - self.setting.engine.most_seqs * self.setting.replicas)
        return HOSTED if waiting * 0.05 > aim else LOCAL
