"""Our policy looked at closely: what it does through a run, ten seconds at a time, and what it does where a miss is priced otherwise. Values only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.live import Board
from router.money import usd
from router.simulation.compare import spread
from router.simulation.oracle import total
from router.simulation.ours import Lesson, Ours
from router.simulation.setting import LOCAL, Outcome, Setting
from router.simulation.world import World
from router.types import Decision

_BIN_S = 10.0
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def timeline(setting: Setting, seed: int, lesson: Lesson) -> list[dict[str, Any]]:
    """One entry per ten seconds in which something arrived: the local share of what arrived, the share that missed an aim, how many were in flight at the
    engine at its beginning, and the mean price of engine work in it (nano-dollars a request)."""
    policies: list[Ours] = []

    def make(found: Setting, number: int) -> Ours:
        policies.append(Ours(found, Board(), lesson, number))
        return policies[-1]

    outcomes = World(setting, spread(make, setting, seed), seed).run()
    decisions = {number: decision for policy in policies for number, decision in policy.decisions.items()}
    bins: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        bins.setdefault(int(outcome.at // _BIN_S), []).append(outcome)
    return [_entry(index * _BIN_S, bins[index], _in_flight(outcomes, index * _BIN_S), decisions) for index in sorted(bins)]


def pareto(setting: Setting, seed: int, lesson: Lesson, factors: Sequence[float] = FACTORS, on_run: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """What our policy would spend and keep, for each price of a miss (times the request's list price)."""
    found = []
    for factor in factors:
        changed = setting._replace(miss_price_factor=factor)
        outcomes = World(changed, spread(lambda each, number: Ours(each, Board(), lesson, number), changed, seed), seed).run()
        kept = 1.0 - sum(outcome.missed for outcome in outcomes) / max(len(outcomes), 1)
        spent = sum(outcome.cost_nanousd for outcome in outcomes)
        found.append({"miss_price_factor": factor, "hosted_usd": usd(spent), "slo_attained": round(kept, 5), "objective_usd": usd(total(outcomes))})
        on_run()
    return found


def _in_flight(outcomes: Sequence[Outcome], at: float) -> int:
    return sum(outcome.backend == LOCAL and outcome.at <= at < outcome.at + outcome.total_s for outcome in outcomes)


def _entry(at: float, arrived: Sequence[Outcome], in_flight: int, decisions: dict[int, Decision]) -> dict[str, Any]:
    prices = [scored.cost_nanousd or 0 for outcome in arrived for scored in decisions[outcome.number].scored if scored.backend.startswith("local")]
    return {
        "at_s": at,
        "requests": len(arrived),
        "local_share": round(sum(outcome.backend == LOCAL for outcome in arrived) / len(arrived), 4),
        "missed": round(sum(outcome.missed for outcome in arrived) / len(arrived), 4),
        "in_flight": in_flight,
        "work_price_nanousd": round(sum(prices) / len(prices)) if prices else 0,
    }
