"""Stages of (route, adapter version): which transitions are legal, and what the evidence proposes. Not here: applying them (the controller), gates,
the statistics (router/evidence.py).

blocked → shadow → canary → ramp → open is the way in; every stage may fall back to any before it, and a passed gate may skip ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.errors import StateError
from router.evidence import NOTHING, Finding, Tally, against, unpaired
from router.types import Stage

TRANSITIONS: Mapping[Stage, frozenset[Stage]] = {
    Stage.BLOCKED: frozenset({Stage.SHADOW, Stage.CANARY, Stage.OPEN}),
    Stage.SHADOW: frozenset({Stage.BLOCKED, Stage.CANARY, Stage.OPEN}),
    Stage.CANARY: frozenset({Stage.BLOCKED, Stage.SHADOW, Stage.RAMP, Stage.OPEN}),
    Stage.RAMP: frozenset({Stage.BLOCKED, Stage.SHADOW, Stage.CANARY, Stage.OPEN}),
    Stage.OPEN: frozenset({Stage.BLOCKED, Stage.SHADOW, Stage.CANARY, Stage.RAMP}),
}
# The chance that a version as good as allowed is ever taken back, or one worse than allowed moves up, while it is in one stage: over all kinds of evidence and
# however often it is looked at.
ALPHA = 0.05
_KINDS = 3
# Answers a canary or ramp must have given before it moves up, whatever the floor.
LEAST_ANSWERS = 100
_UP: Mapping[Stage, Stage] = {Stage.SHADOW: Stage.CANARY, Stage.CANARY: Stage.RAMP, Stage.RAMP: Stage.OPEN}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a version on a route since it entered its stage. The baseline is the live version or the hosted candidate over the same time.

    `answers` are calls that it answered or failed by its own fault, `failed` the latter; `feedback` what clients said; `agreement` how far its answers equal
    the other side's on the same requests, of which two equally good sides reach `expected_agreement`. `floor` is the route's margin. `gate_passed` None: the
    route has no suite, or nobody has judged it. `shadowing`: pairs are collected, so there will be some; `may_enter`: it is loaded, was never judged, and what
    must be passed before traffic is passed. `pinned`: an operator has forced its stage by hand, so nothing is proposed.
    """

    gate_passed: bool | None
    answers: int = 0
    failed: int = 0
    baseline_answers: int = 0
    baseline_failed: int = 0
    drifted: bool = False
    feedback: Tally = NOTHING
    baseline_feedback: Tally = NOTHING
    agreement: Tally = NOTHING
    expected_agreement: float = 0.9
    floor: float = -0.02
    shadowing: bool = False
    may_enter: bool = False
    pinned: bool = False


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


def findings(evidence: Evidence, *, plan: bool = False) -> tuple[Finding, ...]:
    """What each kind of evidence says: `failures`, `feedback`, `agreement`, in this order. Together they are wrong with probability ALPHA at most.

    `plan`: with what is needed, for people.
    """
    e, share = evidence, ALPHA / _KINDS
    return (
        unpaired("failures", _succeeded(e.answers, e.failed), _succeeded(e.baseline_answers, e.baseline_failed), e.floor, share, plan=plan),
        unpaired("feedback", e.feedback, e.baseline_feedback, e.floor, share, plan=plan),
        against("agreement", e.agreement, e.expected_agreement, e.floor, share, plan=plan),
    )


def propose(stage: Stage, evidence: Evidence) -> Proposal | None:
    """The next stage that the evidence supports, or None to stay. Bad news acts at once; good news needs every kind of evidence that will come."""
    if evidence.pinned:
        return None
    if stage is Stage.BLOCKED:
        if evidence.may_enter and evidence.shadowing and not evidence.drifted and evidence.gate_passed is not False:
            return Proposal(Stage.SHADOW, "it is loaded and may be compared: its answers are, without being given to anybody")
        return None
    if evidence.gate_passed is False:
        return Proposal(Stage.BLOCKED, "the gate did not pass")
    found = findings(evidence)
    worse = [each for each in found if each.verdict == "worse"]
    if worse:
        return Proposal(Stage.BLOCKED, "; ".join(f"{said(each)}, which is below the floor of {each.margin:+.3f}" for each in worse))
    if evidence.drifted:
        return None if stage is Stage.SHADOW else Proposal(Stage.SHADOW, "its traffic or its answers drifted away from what was evaluated")
    if stage in _UP and not missing(stage, evidence, found):
        told = "; ".join(said(each) for each in found if each.verdict == "good")
        return Proposal(_UP[stage], f"{told}; the floor is {evidence.floor:+.3f}")
    return None


def missing(stage: Stage, evidence: Evidence, found: tuple[Finding, ...]) -> tuple[str, ...]:
    """What it takes, in sentences, until a version may move up from a stage; empty: nothing. A stage that has none above it lacks nothing."""
    if stage not in _UP:
        return ()
    failures, feedback, agreement = found
    lacks: list[str] = []
    if stage is Stage.SHADOW:
        return () if agreement.verdict == "good" else (_lacks(agreement, "comparisons"),)
    if evidence.answers < LEAST_ANSWERS:
        lacks.append(f"{LEAST_ANSWERS - evidence.answers} more answers")
    if not evidence.baseline_answers:
        lacks.append("answers of the baseline to compare with")
    elif failures.verdict != "good":
        lacks.append(_lacks(failures, "answers"))
    if evidence.shadowing and agreement.verdict != "good" and feedback.verdict != "good":
        lacks.append(_lacks(agreement, "comparisons"))
    return tuple(lacks)


def said(finding: Finding) -> str:
    """A finding in words."""
    if finding.estimate is None:
        return f"{finding.kind}: {finding.n} of its own, {finding.reference_n} of the baseline"
    return f"{finding.kind}: {finding.estimate:+.3f} ({finding.low:+.3f} to {finding.high:+.3f}) after {finding.n}"


def _lacks(finding: Finding, what: str) -> str:
    if finding.needed is not None:
        return f"{finding.kind}: about {finding.needed} more {what} like those so far"
    if finding.estimate is None:
        return f"{finding.kind}: {what}, there are too few yet"
    return f"{finding.kind}: better {what} than so far, at {finding.estimate:+.3f} no number of them is enough for {finding.margin:+.3f}"


def _succeeded(answers: int, failed: int) -> Tally:
    return Tally(answers, float(answers - failed))
