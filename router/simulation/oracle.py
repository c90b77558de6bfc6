"""What nobody can beat, and what one who knows the future reaches: the two ends between which every policy is judged.

`bound` is certified: the dual of a relaxation in which every request knows its length, hosted answers are never late outside outages and cost their best cached
price, and the engine works at its best efficiency, bin by bin. Whatever the prices of the bins, its value lies below the cost of any schedule (weak duality,
Boyd & Vandenberghe, Convex Optimization, 5.1.3), so the search for good prices need not be exact. `achieve` searches schedules inside the simulator.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from router.simulation.engine import Replica
from router.simulation.setting import HOSTED, LOCAL, Outcome, Setting, Told
from router.simulation.trace import Ask
from router.simulation.world import World

BIN_S = 10.0
_ROUNDS = 150
_WINDOW_S = 120.0


class _Item(NamedTuple):
    """One request of the relaxation: nano-dollars elsewhere, GPU-seconds here, the bins in which it would be in time, what a miss costs."""

    elsewhere: float
    work_s: float
    first: int
    last: int
    worth: float


def total(outcomes: Sequence[Outcome]) -> int:
    """The objective in nano-dollars: hosted dollars and what the misses are worth."""
    return sum(outcome.cost_nanousd + (outcome.worth_nanousd if outcome.missed else 0) for outcome in outcomes)


def bound(setting: Setting, rounds: int = _ROUNDS) -> int:
    """Nano-dollars no policy can be below in this setting, whatever the seed."""
    return max((_bound(setting, mixed, rounds) for mixed in (0.0, 0.3)), default=0)


def _bound(setting: Setting, mixed: float, rounds: int) -> int:
    items, capacity = _relaxed(setting, mixed)
    if not items:
        return 0
    scale = sum(item.elsewhere for item in items) / max(sum(item.work_s for item in items), 1e-9)
    prices = [0.0] * len(capacity)
    best = -inf
    for round_ in range(rounds):
        value, use = _dual(items, capacity, prices)
        best = max(best, value)
        step = scale / (BIN_S * (2.0 + round_ * 0.25))
        prices = [max(0.0, price + step * (used - have)) for price, used, have in zip(prices, use, capacity, strict=True)]
    return max(0, int(best))


def _dual(items: Sequence[_Item], capacity: Sequence[float], prices: Sequence[float]) -> tuple[float, list[float]]:
    use = [0.0] * len(capacity)
    value = -sum(price * have for price, have in zip(prices, capacity, strict=True))
    cheapest_after = [0] * len(prices)
    for index in range(len(prices) - 1, -1, -1):
        later = cheapest_after[index + 1] if index + 1 < len(prices) else index
        cheapest_after[index] = index if prices[index] <= prices[later] else later
    for item in items:
        place = min(range(item.first, item.last + 1), key=prices.__getitem__)
        here = item.work_s * prices[place]
        late_place = cheapest_after[item.first]
        late = item.work_s * prices[late_place] + item.worth
        chosen = min(here, late, item.elsewhere, item.worth)
        value += chosen
        if chosen == here:
            use[place] += item.work_s
        elif chosen == late:
            use[late_place] += item.work_s
    return value, use


def _relaxed(setting: Setting, mixed: float) -> tuple[list[_Item], list[float]]:
    asks = setting.trace.asks
    if not asks:
        return [], []
    deadline_s = min((aim for aim in (setting.slo.total_ms,) if aim is not None), default=3.6e6) / 1000.0
    bins = int((asks[-1].at + max(deadline_s, 600.0)) // BIN_S) + 2
    capacity = [_capacity(setting, index) for index in range(bins)]
    items = []
    for ask in asks:
        worth = float(setting.worth(ask))
        cached = ask.shared // 128 * 128 if ask.shared >= 1024 else 0
        instants = [ask.at, *(since for since, _ in setting.reprices if since > ask.at)]  # whenever it is asked, it costs at least this
        elsewhere = float(min(setting.list_cost(ask, cached, at) for at in instants))
        if _down(setting, ask, deadline_s):
            elsewhere += worth
        work_s = setting.engine.least_work_s(ask.input - ask.shared, max(ask.output, 1), mixed)
        first = int(ask.at // BIN_S)
        items.append(_Item(elsewhere, work_s, first, min(bins - 1, int((ask.at + deadline_s) // BIN_S)), worth))
    return items, capacity


def _capacity(setting: Setting, index: int) -> float:
    """GPU-seconds of one bin: dead time is none; a slowed engine does as much less."""
    since, until = index * BIN_S, (index + 1) * BIN_S
    have = BIN_S * setting.replicas
    for fault in setting.local_faults:
        overlap = max(0.0, min(until, fault.until) - max(since, fault.since))
        have -= overlap if fault.kind == "error" else overlap * (1.0 - 1.0 / max(fault.value, 1.0))
    return max(have, 0.0)


def _down(setting: Setting, ask: Ask, deadline_s: float) -> bool:
    """Whether the provider answers nothing from its arrival until it would be late."""
    first_s = (setting.slo.ttft_ms or deadline_s * 1000.0) / 1000.0
    until = ask.at + min(first_s, deadline_s)
    return any(fault.kind in {"error", "hang"} and fault.since <= ask.at and until < fault.until for fault in setting.hosted_faults)


class Schedule(NamedTuple):
    """What the clairvoyant does in each window: local while fewer than `most` are in flight there and the saving per GPU-second is at least `least`."""

    most: tuple[int, ...]
    least: tuple[float, ...]


class Clairvoyant:
    """Knows each request's length, the provider's faults and its answer before it asks, and follows a schedule that was searched for with that."""

    def __init__(self, setting: Setting, schedule: Schedule) -> None:
        self.name = "clairvoyant"
        self._setting, self._schedule = setting, schedule
        self._in_flight = 0

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]:
        """The schedule's choice, unless the provider would not answer in time."""
        window = min(int(now // _WINDOW_S), len(self._schedule.most) - 1)
        dead = now < world.dead_until
        alive = not world.broke and not any(fault.kind in {"error", "hang"} and fault.since <= now < fault.until for fault in self._setting.hosted_faults)
        if dead or not alive:
            return (HOSTED, LOCAL) if dead and alive else (LOCAL, HOSTED)
        saved = world.list_cost(ask) / max(self._setting.engine.work_s(ask.input, max(ask.output, 1)), 1e-9)
        local = self._in_flight < self._schedule.most[window] * world.setting.replicas and saved >= self._schedule.least[window]
        if not local and self._in_flight < self._setting.engine.most_seqs * world.setting.replicas and self._hosted_late(number, ask, world, now):
            local = True
        return (LOCAL, HOSTED) if local else (HOSTED, LOCAL)

    def replica(self, number: int, ask: Ask, world: World, now: float) -> int:  # noqa: ARG002 - the simulator's interface
        """The one with the least before it, of those that are up."""
        return min(range(len(world.replicas)), key=lambda place: (now < world.up_at[place], *_before(world.replicas[place])))

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None:  # noqa: ARG002 - the simulator's interface
        """Counts."""
        self._in_flight += backend == LOCAL

    def first_token(self, number: int) -> None:
        """Not needed: it knows."""

    def ended(self, told: Told) -> None:
        """Counts."""
        self._in_flight -= told.backend == LOCAL

    def _hosted_late(self, number: int, ask: Ask, world: World, now: float) -> bool:
        provider, slo = world.provider, self._setting.slo
        slow = 1.0
        for fault in self._setting.hosted_faults:
            if fault.kind == "slow" and fault.since <= now < fault.until:
                slow *= fault.value
        first, whole = provider.times(ask, number, 1, now, provider.cached(ask, now))
        return (slo.ttft_ms is not None and first * slow * 1000 > slo.ttft_ms) or (slo.total_ms is not None and whole * slow * 1000 > slo.total_ms)


def _before(replica: Replica) -> tuple[int, int]:
    return len(replica.waiting), replica.running


def achieve(setting: Setting, seed: int, tries: int = 60) -> tuple[int, Schedule]:
    """The best a clairvoyant schedule was found to reach (nano-dollars), and the schedule: a grid of constant ones, then window by window."""
    windows = int((setting.trace.asks[-1].at if setting.trace.asks else 0.0) // _WINDOW_S) + 1
    densities = _densities(setting)
    slots = setting.engine.slots()
    most = sorted({max(1, round(slots * factor)) for factor in (0.6, 0.8, 1.0, 1.2, 1.5)} | {setting.engine.most_seqs})
    least = [0.0, *(densities[int(share * (len(densities) - 1))] for share in (0.2, 0.4, 0.6))] if densities else [0.0]

    def reach(schedule: Schedule) -> int:
        return total(World(setting, Clairvoyant(setting, schedule), seed).run())

    grid = [Schedule((many,) * windows, (price,) * windows) for many in most for price in least]
    value, best = min(((reach(schedule), schedule) for schedule in grid), key=lambda found: found[0])
    left = max(0, tries - len(grid))
    for window in range(windows):
        for change in _neighbours(best, window, most, least):
            if left <= 0:
                return value, best
            left -= 1
            found = reach(change)
            if found < value:
                value, best = found, change
    return value, best


def _densities(setting: Setting) -> list[float]:
    """Nano-dollars saved per GPU-second, of every request, in order."""
    return sorted(setting.list_cost(ask) / max(setting.engine.work_s(ask.input, max(ask.output, 1)), 1e-9) for ask in setting.trace.asks)


def _neighbours(schedule: Schedule, window: int, most: Sequence[int], least: Sequence[float]) -> list[Schedule]:
    place = bisect_left(most, schedule.most[window])
    counts = [most[other] for other in (place - 1, place + 1) if 0 <= other < len(most)]
    changed = [schedule._replace(most=(*schedule.most[:window], count, *schedule.most[window + 1 :])) for count in counts]
    at = min(range(len(least)), key=lambda index: abs(least[index] - schedule.least[window]))
    prices = [least[other] for other in (at - 1, at + 1) if 0 <= other < len(least)]
    return changed + [schedule._replace(least=(*schedule.least[:window], price, *schedule.least[window + 1 :])) for price in prices]
