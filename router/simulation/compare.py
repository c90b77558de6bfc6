"""Policies side by side on the same requests and the same luck: cost, misses, what of the possible saving was captured, with intervals over seeds and time.

capture = (all hosted − policy) / (all hosted − clairvoyant), in the objective's dollars (hosted cost and the price of misses). Intervals: 95 %, from a
bootstrap over blocks of a minute of every run (Künsch 1989), because neighbours in time share their luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from router.simulation import chance, oracle
from router.simulation.ours import Several
from router.simulation.setting import LOCAL, Outcome, Policy, Setting
from router.simulation.world import World

_BLOCK_S = 60.0
_RESAMPLES = 400


class Result(NamedTuple):
    """One policy over all runs of a scenario. Nano-dollars per run; shares 0..1; seconds. `low`, `high`: interval of `relative`, the
    objective over the first policy's."""

    policy: str
    objective_nanousd: int
    hosted_nanousd: int
    missed: float
    failed: float
    local: float
    ttft_p50_s: float
    ttft_p95_s: float
    switches_per_min: float
    relative: float
    low: float
    high: float
    capture: float | None


class Comparison(NamedTuple):
    """A scenario: `requests` per run, what nobody can beat (`bound`), what the clairvoyant reached; nano-dollars per run, None where it was not asked for."""

    scenario: str
    requests: int
    runs: int
    bound_nanousd: int | None
    clairvoyant_nanousd: int | None
    results: tuple[Result, ...]


Make = Callable[[Setting, int], Policy]


def compare(
    name: str, settings: Sequence[tuple[Setting, int]], policies: Sequence[Make], *, tries: int = 60, on_run: Callable[[], None] = lambda: None
) -> Comparison:
    """Run every policy in every (setting, seed). The first policy is the one all are measured against (all hosted). `tries` 0: no clairvoyant, no bound."""
    runs: list[list[list[Outcome]]] = []
    names: list[str] = []
    for make in policies:
        mine = []
        for setting, seed in settings:
            policy = spread(make, setting, seed)
            mine.append(sorted(World(setting, policy, seed).run()))
            names += [policy.name] if len(mine) == 1 else []
            on_run()
        runs.append(mine)
    count = len(settings)
    bound = reached = None
    if tries:
        bound = sum(oracle.bound(setting) for setting, _ in settings) // count
        found = [oracle.achieve(setting, seed, tries)[0] for setting, seed in settings]
        best = [min(found[i], *(oracle.total(mine[i]) for mine in runs)) for i in range(count)]
        reached = sum(best) // count
        on_run()
    base = runs[0]
    results = tuple(_result(policy, mine, base, reached) for policy, mine in zip(names, runs, strict=True))
    return Comparison(name, sum(len(mine) for mine in base) // count, count, bound, reached, results)


def spread(make: Make, setting: Setting, seed: int) -> Policy:
    """The policy of a setting: as many of its kind as there are gateways."""
    members = [make(setting, seed) for _ in range(setting.gateways)]
    return members[0] if len(members) == 1 else Several(members)


def _result(policy: str, runs: Sequence[Sequence[Outcome]], base: Sequence[Sequence[Outcome]], reached: int | None) -> Result:
    count = len(runs)
    every = [outcome for run in runs for outcome in run]
    objective, reference = (sum(oracle.total(run) for run in some) // count for some in (runs, base))
    low, high = _interval(runs, base)
    first = sorted(outcome.ttft_s for outcome in every if outcome.backend is not None)
    possible = None if reached is None else reference - reached
    return Result(
        policy=policy,
        objective_nanousd=objective,
        hosted_nanousd=sum(outcome.cost_nanousd for outcome in every) // count,
        missed=_share(every, lambda outcome: outcome.missed),
        failed=_share(every, lambda outcome: outcome.backend is None),
        local=_share(every, lambda outcome: outcome.backend == LOCAL),
        ttft_p50_s=_at(first, 0.5),
        ttft_p95_s=_at(first, 0.95),
        switches_per_min=sum(_switches(run) for run in runs) / count,
        relative=objective / reference if reference else 1.0,
        low=low,
        high=high,
        capture=(reference - objective) / possible if possible else None,
    )


def _share(outcomes: Sequence[Outcome], true: Callable[[Outcome], bool]) -> float:
    return sum(map(true, outcomes)) / len(outcomes) if outcomes else 0.0


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _switches(run: Sequence[Outcome]) -> float:
    """How often a minute the majority's side changed from one ten seconds to the next: flapping."""
    sides: dict[int, int] = {}
    for outcome in run:
        sides[int(outcome.at // 10)] = sides.get(int(outcome.at // 10), 0) + (1 if outcome.backend == LOCAL else -1)
    ordered = [sides[key] > 0 for key in sorted(sides)]
    changes = sum(before != after for before, after in pairwise(ordered))
    return changes * 6.0 / len(ordered) if ordered else 0.0


def _interval(runs: Sequence[Sequence[Outcome]], base: Sequence[Sequence[Outcome]]) -> tuple[float, float]:
    pairs: list[tuple[int, int]] = []
    for mine, theirs in zip(runs, base, strict=True):
        blocks: dict[int, list[int]] = {}
        for side, outcomes in enumerate((mine, theirs)):
            for outcome in outcomes:
                block = blocks.setdefault(int(outcome.at // _BLOCK_S), [0, 0])
                block[side] += outcome.cost_nanousd + (outcome.worth_nanousd if outcome.missed else 0)
        pairs += [(block[0], block[1]) for block in blocks.values()]
    if not pairs:
        return 1.0, 1.0
    found = []
    for resample in range(_RESAMPLES):
        drawn = [pairs[int(chance.uniform(resample, 31, index) * len(pairs))] for index in range(len(pairs))]
        under = sum(pair[1] for pair in drawn)
        found.append(sum(pair[0] for pair in drawn) / under if under else 1.0)
    found.sort()
    return found[int(0.025 * _RESAMPLES)], found[int(0.975 * _RESAMPLES) - 1]
