"""Stages of (route, adapter version): which transitions are legal, and what the evidence proposes. Not here: applying them (the controller), gates.

blocked → shadow → canary → ramp → open is the way in; every stage may fall back to any before it, and a passed gate may skip ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from router.errors import StateError
from router.types import Stage

TRANSITIONS: Mapping[Stage, frozenset[Stage]] = {
    Stage.BLOCKED: frozenset({Stage.SHADOW, Stage.CANARY, Stage.OPEN}),
    Stage.SHADOW: frozenset({Stage.BLOCKED, Stage.CANARY, Stage.OPEN}),
    Stage.CANARY: frozenset({Stage.BLOCKED, Stage.SHADOW, Stage.RAMP, Stage.OPEN}),
    Stage.RAMP: frozenset({Stage.BLOCKED, Stage.SHADOW, Stage.CANARY, Stage.OPEN}),
    Stage.OPEN: frozenset({Stage.BLOCKED, Stage.SHADOW, Stage.CANARY, Stage.RAMP}),
}
# Answers a canary or ramp must have given before it moves up: fewer cannot tell a failure rate of 1 % from one of 4 %.
LEAST_ANSWERS = 300
# How much worse than the baseline it may at most be, in failure rate, to move up. A canary always has fewer answers than its baseline, so its interval is
# wider: without a margin it could never qualify.
MARGIN = 0.02
_Z = 1.96
_UP: Mapping[Stage, Stage] = {Stage.CANARY: Stage.RAMP, Stage.RAMP: Stage.OPEN}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a version on a route since it entered its stage. `failed` of `answers` were errors or unusable; the baseline is the live version or
    the hosted candidate over the same time. `gate_passed` None: the route has no suite."""

    gate_passed: bool | None
    answers: int = 0
    failed: int = 0
    baseline_answers: int = 0
    baseline_failed: int = 0
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A stage change and the reason for people."""

    to: Stage
    reason: str


def check(old: Stage, new: Stage) -> None:
    """Raises StateError where this transition is not legal; staying is always legal."""
    if new is not old and new not in TRANSITIONS[old]:
        allowed = ", ".join(sorted(stage.value for stage in TRANSITIONS[old]))
        raise StateError(f"a version in stage {old.value} cannot go to {new.value}; possible: {allowed}")


def propose(stage: Stage, evidence: Evidence) -> Proposal | None:
    """The next stage that the evidence supports, or None to stay. Bad news acts at once, good news needs `LEAST_ANSWERS`."""
    if stage is Stage.BLOCKED:
        return None
    if evidence.gate_passed is False:
        return Proposal(Stage.BLOCKED, "the gate did not pass")
    if evidence.drifted:
        return None if stage is Stage.SHADOW else Proposal(Stage.SHADOW, "its traffic or its answers drifted away from what was evaluated")
    if stage is Stage.SHADOW:
        return None
    low, high = _wilson(evidence.failed, evidence.answers)
    _, baseline_high = _wilson(evidence.baseline_failed, evidence.baseline_answers)
    if low > baseline_high:
        return Proposal(Stage.BLOCKED, f"it fails more often than the baseline: at least {low:.1%} against at most {baseline_high:.1%}")
    enough = evidence.answers >= LEAST_ANSWERS and evidence.baseline_answers > 0
    if stage in _UP and enough and high <= baseline_high + MARGIN:
        return Proposal(_UP[stage], f"{evidence.answers} answers, at most {high:.1%} failed, against at most {baseline_high:.1%} of the baseline")
    return None


def _wilson(failed: int, answers: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a failure rate; (0, 1) without answers."""
    if answers <= 0:
        return 0.0, 1.0
    rate, square = failed / answers, _Z * _Z / answers
    centre = (rate + square / 2.0) / (1.0 + square)
    half = _Z * sqrt(rate * (1.0 - rate) / answers + square / (4.0 * answers)) / (1.0 + square)
    return centre - half, centre + half
