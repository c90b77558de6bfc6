"""router.stage: legal moves, and what evidence proposes."""

from __future__ import annotations

import pytest

from router.errors import StateError
from router.stage import TRANSITIONS, Evidence, check, propose
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
    """Three hundred answers about as good as a much longer baseline: canary to ramp, ramp to open, open stays."""
    good = Evidence(True, answers=300, failed=3, baseline_answers=20_000, baseline_failed=200)
    assert [getattr(propose(stage, good), "to", None) for stage in (Stage.CANARY, Stage.RAMP, Stage.OPEN)] == [Stage.RAMP, Stage.OPEN, None]
    assert propose(Stage.CANARY, Evidence(True, answers=299, failed=3, baseline_answers=20_000, baseline_failed=200)) is None


@pytest.mark.parametrize("stage", [Stage.CANARY, Stage.RAMP, Stage.OPEN])
def test_failing_more_than_the_baseline_blocks_at_once(stage: Stage) -> None:
    """Thirty of a hundred against two of four hundred; two of ten say nothing yet."""
    proposal = propose(stage, Evidence(True, answers=100, failed=30, baseline_answers=400, baseline_failed=2))
    assert proposal is not None
    assert proposal.to is Stage.BLOCKED
    assert "more often" in proposal.reason
    assert propose(stage, Evidence(True, answers=10, failed=1, baseline_answers=400, baseline_failed=8)) is None


def test_without_a_baseline_nothing_is_proposed() -> None:
    """Failures alone prove nothing when there is nothing to compare with, and neither does their absence."""
    assert propose(Stage.OPEN, Evidence(None, answers=100, failed=60)) is None
    assert propose(Stage.OPEN, Evidence(None)) is None
    assert propose(Stage.CANARY, Evidence(None, answers=5_000)) is None


def test_a_worse_canary_does_not_move_up() -> None:
    """Enough answers, but its failure rate may be worse than the baseline's can be."""
    assert propose(Stage.CANARY, Evidence(True, answers=300, failed=12, baseline_answers=100_000, baseline_failed=2_500)) is None


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
