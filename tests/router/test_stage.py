"""router.stage: legal moves, and what evidence proposes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.errors import StateError
from router.evidence import Tally
from router.stage import LEAST_ANSWERS, TRANSITIONS, Evidence, check, findings, missing, propose
from router.types import Stage


def test_every_stage_can_be_blocked_and_left() -> None:
    """From anywhere back to blocked; from anywhere somewhere; staying is always legal."""
    assert set(TRANSITIONS) == set(Stage)
    for stage in Stage:
        check(stage, Stage.BLOCKED)
        check(stage, stage)
        assert stage not in TRANSITIONS[stage]


@pytest.mark.parametrize(("old", "new"), [(Stage.BLOCKED, Stage.RAMP), (Stage.SHADOW, Stage.RAMP)])
def test_a_ramp_comes_after_a_canary(old: Stage, new: Stage) -> None:
    """The error names what is possible instead."""
    with pytest.raises(StateError, match="canary"):
        check(old, new)


def test_good_news_moves_up_one_step_and_needs_enough_answers() -> None:
    """Two thousand answers about as good as a much longer baseline: canary to ramp, ramp to open, open stays. Few are not enough, however good."""
    good = Evidence(True, answers=2_000, failed=10, baseline_answers=20_000, baseline_failed=100)
    assert [getattr(propose(stage, good), "to", None) for stage in (Stage.CANARY, Stage.RAMP, Stage.OPEN)] == [Stage.RAMP, Stage.OPEN, None]
    few = Evidence(True, answers=300, baseline_answers=20_000, baseline_failed=100)
    assert propose(Stage.CANARY, few) is None
    assert "more answers like those so far" in missing(Stage.CANARY, few, findings(few, plan=True))[0]
    assert propose(Stage.CANARY, Evidence(True, answers=LEAST_ANSWERS - 1, baseline_answers=20_000, floor=-0.5)) is None


@pytest.mark.parametrize("stage", [Stage.CANARY, Stage.RAMP, Stage.OPEN])
def test_failing_more_than_the_baseline_blocks_at_once(stage: Stage) -> None:
    """Thirty of a hundred against two of four hundred; one of ten says nothing yet. The reason has the numbers."""
    proposal = propose(stage, Evidence(True, answers=100, failed=30, baseline_answers=400, baseline_failed=2))
    assert proposal is not None
    assert proposal.to is Stage.BLOCKED
    assert "failures: -0.295" in proposal.reason
    assert "below the floor of -0.020" in proposal.reason
    assert propose(stage, Evidence(True, answers=10, failed=1, baseline_answers=400, baseline_failed=8)) is None


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("feedback", Evidence(None, 2_000, 0, 2_000, feedback=Tally(80, 20.0), baseline_feedback=Tally(500, 450.0))),
        ("agreement", Evidence(None, 2_000, 0, 2_000, agreement=Tally(80, 40.0))),
    ],
)
def test_bad_answers_block_though_none_failed(kind: str, bad: Evidence) -> None:
    """What clients say and what the other side would have said counts by itself."""
    proposal = propose(Stage.CANARY, bad)
    assert proposal is not None
    assert proposal.to is Stage.BLOCKED
    assert kind in proposal.reason


def test_the_way_in_begins_in_shadow_and_needs_agreement() -> None:
    """Loaded and comparable: shadow. Enough agreement: canary. Where pairs are collected, a canary without them stays."""
    fresh = Evidence(True, shadowing=True, may_enter=True)
    assert getattr(propose(Stage.BLOCKED, fresh), "to", None) is Stage.SHADOW
    assert propose(Stage.BLOCKED, replace(fresh, shadowing=False)) is None
    assert propose(Stage.SHADOW, replace(fresh, agreement=Tally(50, 48.0))) is None
    agreed = replace(fresh, agreement=Tally(400, 390.0))
    assert getattr(propose(Stage.SHADOW, agreed), "to", None) is Stage.CANARY
    silent = replace(fresh, answers=2_000, baseline_answers=2_000)
    assert propose(Stage.CANARY, silent) is None
    assert missing(Stage.CANARY, silent, findings(silent)) == ("agreement: comparisons, there are too few yet",)
    assert getattr(propose(Stage.CANARY, replace(silent, agreement=agreed.agreement)), "to", None) is Stage.RAMP
    assert missing(Stage.OPEN, silent, findings(silent)) == ()


def test_what_an_operator_forced_stays() -> None:
    """Neither good nor bad evidence, neither drift nor a failed gate, moves what was pinned by hand."""
    for stage in Stage:
        assert propose(stage, Evidence(False, 400, 300, 400, 0, drifted=True, agreement=Tally(400, 0.0), pinned=True)) is None


def test_without_a_baseline_nothing_is_proposed() -> None:
    """Failures alone prove nothing when there is nothing to compare with, and neither does their absence."""
    assert propose(Stage.OPEN, Evidence(None, answers=100, failed=60)) is None
    assert propose(Stage.OPEN, Evidence(None)) is None
    assert propose(Stage.CANARY, Evidence(None, answers=5_000)) is None


def test_a_worse_canary_does_not_move_up() -> None:
    """Enough answers, but it fails by two points and a half more than the baseline."""
    assert propose(Stage.CANARY, Evidence(True, answers=3_000, failed=150, baseline_answers=100_000, baseline_failed=2_500)) is None


def test_drift_stops_routing_and_a_failed_gate_blocks() -> None:
    """Drift goes to shadow, where it keeps being observed; a failed gate goes to blocked; blocked and shadow stay."""
    drifted = Evidence(True, answers=1_000, baseline_answers=1_000, drifted=True)
    assert getattr(propose(Stage.OPEN, drifted), "to", None) is Stage.SHADOW
    assert propose(Stage.SHADOW, drifted) is None
    assert getattr(propose(Stage.RAMP, Evidence(False)), "to", None) is Stage.BLOCKED
    assert propose(Stage.BLOCKED, Evidence(False)) is None
    assert propose(Stage.SHADOW, Evidence(True)) is None


def test_every_proposal_is_legal() -> None:
    """Nothing is proposed that the table would refuse: `check` raises for what it refuses."""
    proposed = 0
    for stage in Stage:
        for gate in (True, False, None):
            for drifted in (True, False):
                for failed in (0, 200):
                    proposal = propose(stage, Evidence(gate, 400, failed, 400, 1, drifted))
                    if proposal is not None:
                        check(stage, proposal.to)
                        proposed += 1
    assert proposed > 10
