"""The gate simulated: how often it admits at a true difference, beside what theory says. Used by the fast test and by the long proof."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

from training import gate
from training.results import EvalReport, ItemResult, Role, Rung

DISCORDANT = 0.10  # the share of items that one side alone gets right
RIGHT = 0.85  # the reference's


def pair(rng: random.Random, difference: float) -> tuple[bool, bool]:
    """(candidate right, reference right) of one item."""
    better, worse = (DISCORDANT + difference) / 2, (DISCORDANT - difference) / 2
    draw = rng.random()
    if draw < better:
        return True, False
    if draw < better + worse:
        return False, True
    return (True, True) if draw < better + worse + RIGHT - worse else (False, False)


def report(rng: random.Random, n: int, difference: float) -> EvalReport:
    """An evaluation of `n` items whose true difference is known."""
    pairs = [pair(rng, difference) for _ in range(n)]
    return EvalReport("r", "s", "0" * 64, (_rung("adapter", [a for a, _ in pairs]), _rung("hosted", [b for _, b in pairs])))


def _rung(role: Role, rights: list[bool]) -> Rung:
    results = (ItemResult(f"i{i}", "x", float(right), right, None, "", False, "stop", 1.0, 1) for i, right in enumerate(rights))
    return Rung(role, role, tuple(results))


def admitted(n: int, floor: float, difference: float, runs: int, seed: int) -> float:
    """The share of `runs` evaluations that the whole gate admits."""
    rng = random.Random(seed)
    return sum(gate.judge(report(rng, n, difference), gate.Thresholds(floor=floor)).admit for _ in range(runs)) / runs


def theory(n: int, floor: float, difference: float) -> float:
    """The power of a one-sided paired test at 95 %: normal approximation."""
    error = math.sqrt((DISCORDANT - difference**2) / n)
    return NormalDist().cdf((difference - floor) / error - NormalDist().inv_cdf(0.95))
