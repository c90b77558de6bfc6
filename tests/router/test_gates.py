"""router.gates: who may answer at all, and whose turn a conversation is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.gates import CANARY_SHARE, drops, gate
from router.types import Candidate, Live, Price, Snapshot, Stage
from tests.router.worlds import CANARY, HELLO, LARGE, MINI, NOW, TRIAGE, UNPRICED, quick

LIVE = quick("x")


def dropped(conversation: int, *candidates: Candidate, pinned: bool = False, states: list[Live] | None = None) -> list[str | None]:
    """The drops of these candidates for one conversation."""
    features = replace(HELLO, conversation=conversation)
    return drops(features, Snapshot("r", candidates, pinned=pinned), states or [quick(c.backend) for c in candidates], NOW)


@pytest.mark.parametrize(("needs", "reason"), [({"tools"}, None), ({"logit_bias"}, "capability:logit_bias"), ({"tools", "store", "audio"}, "capability:audio")])
def test_an_engine_is_asked_only_what_it_takes(needs: set[str], reason: str | None) -> None:
    """The drop names one missing capability, always the same one; hosted takes all of these."""
    features = replace(HELLO, needs=frozenset(needs))
    assert gate(features, TRIAGE, LIVE, NOW) == reason
    assert gate(features, MINI, LIVE, NOW) is None


@pytest.mark.parametrize(
    ("stage", "reason"),
    [(Stage.BLOCKED, "quality_gate:blocked"), (Stage.SHADOW, "quality_gate:shadow"), (Stage.CANARY, None), (Stage.RAMP, None), (Stage.OPEN, None)],
)
def test_only_proven_versions_are_routed_to(stage: Stage, reason: str | None) -> None:
    """Blocked and shadow versions are never answers, unless somebody pins them to evaluate them."""
    assert gate(HELLO, replace(TRIAGE, stage=stage), LIVE, NOW) == reason
    assert gate(HELLO, replace(TRIAGE, stage=stage), LIVE, NOW, pinned=True) is None


def test_an_adapter_without_a_live_version_is_no_candidate() -> None:
    """Pinned or not: there is nothing to call."""
    nothing = replace(TRIAGE, version=None)
    assert gate(HELLO, nothing, LIVE, NOW) == "no_live_version"
    assert gate(HELLO, nothing, LIVE, NOW, pinned=True) == "no_live_version"


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        (replace(LIVE, healthy=False), "unhealthy"),
        (replace(LIVE, breaker="open"), "circuit"),
        (replace(LIVE, breaker="half_open", in_flight=1), "circuit"),
        (replace(LIVE, breaker="half_open", in_flight=0), None),
        (replace(LIVE, breaker="half_open", in_flight=9, probe_due=True), None),
        (replace(LIVE, breaker="open", probe_due=True), "circuit"),
        (replace(LIVE, breaker="open", retry_at=NOW + 1.0), "retry_after"),
        (replace(LIVE, requests_left=0), "rate_limit"),
        (replace(LIVE, requests_left=1, tokens_left=10_000), None),
        (replace(LIVE, tokens_left=100), "rate_limit"),
        (replace(LIVE, retry_at=NOW + 1.0), "retry_after"),
        (replace(LIVE, retry_at=NOW), None),
    ],
)
def test_a_backend_that_cannot_answer_now_is_left_alone(live: Live, reason: str | None) -> None:
    """Health, circuit and Retry-After; a half-open circuit lets one call at a time through."""
    assert gate(HELLO, MINI, live, NOW) == reason


def test_a_prompt_that_clearly_does_not_fit_is_not_sent() -> None:
    """The estimate must exceed the context clearly: prompt with doubt, plus the answer that was asked for in full."""
    fits, doubtful, too_long = (replace(HELLO, prompt_bytes=size, max_tokens=96) for size in (16_000, 17_500, 18_000))
    assert gate(fits, TRIAGE, LIVE, NOW) is None
    assert gate(doubtful, TRIAGE, LIVE, NOW) is None
    assert gate(too_long, TRIAGE, LIVE, NOW) == "context"
    assert gate(replace(fits, max_tokens=5_000), TRIAGE, LIVE, NOW) == "context"
    assert gate(replace(too_long, max_tokens=None), replace(TRIAGE, context_tokens=None), LIVE, NOW) is None


def test_a_spent_budget_leaves_what_is_free() -> None:
    """Hosted candidates cost dollars, priced or not; engines and providers without a price tag do not."""
    free = replace(LARGE, price=Price(0, 0))
    found = [gate(HELLO, c, LIVE, NOW, hosted_budget_left=False) for c in (MINI, UNPRICED, free, replace(free, price=Price(0, 0, 1)), TRIAGE)]
    assert found == ["budget", "budget", None, "budget", None]


def test_lasting_reasons_come_first() -> None:
    """A shadow version of a dead engine is dropped for its stage: that is what would still be true tomorrow."""
    assert gate(HELLO, replace(TRIAGE, stage=Stage.SHADOW), replace(LIVE, healthy=False), NOW) == "quality_gate:shadow"


@given(st.integers(0, 2**63))
def test_each_conversation_has_exactly_one_version(conversation: int) -> None:
    """Live and canary of one adapter are never both candidates, and one of them always is; hosted is not touched."""
    hosted, live, canary = dropped(conversation, MINI, TRIAGE, CANARY)
    assert hosted is None
    assert {live, canary} == {None, CANARY_SHARE}
    assert dropped(conversation, CANARY, TRIAGE) == [canary, live]


def test_a_canary_gets_its_share_of_conversations_and_more_only_adds() -> None:
    """Twenty per cent of 4,000 conversations; at fifty per cent all of these stay."""
    fifth = {c for c in range(4_000) if dropped(c, TRIAGE, CANARY)[1] is None}
    half = {c for c in range(4_000) if dropped(c, TRIAGE, replace(CANARY, stage=Stage.RAMP, canary_percent=50.0))[1] is None}
    assert 700 <= len(fifth) <= 900
    assert 1_850 <= len(half) <= 2_150
    assert fifth < half


def test_without_a_live_version_the_rest_goes_elsewhere() -> None:
    """A lone canary answers its share and no more; the adapter of another engine has nothing to do with it."""
    elsewhere = replace(TRIAGE, backend="gpu2/triage@3", owner="gpu2")
    alone = [dropped(c, CANARY, elsewhere) for c in range(1_000)]
    assert 140 <= sum(found[0] is None for found in alone) <= 260
    assert all(found[1] is None for found in alone)


def test_a_canary_that_cannot_answer_costs_no_request() -> None:
    """Its conversations go back to the live version while it is broken."""
    states = [quick(TRIAGE.backend), replace(quick(CANARY.backend), breaker="open")]
    assert all(dropped(c, TRIAGE, CANARY, states=states) == [None, "circuit"] for c in range(200))


def test_a_pinned_canary_always_answers() -> None:
    """Who names the version gets it, whatever the share."""
    assert all(dropped(c, CANARY, pinned=True) == [None] for c in range(50))


def test_two_canaries_never_answer_the_same_conversation() -> None:
    """Canary and ramp of one adapter at once: still exactly one of the three versions."""
    second = replace(CANARY, backend="local/triage@5", version=5, stage=Stage.RAMP, canary_percent=60.0)
    assert all(dropped(c, TRIAGE, CANARY, second).count(None) == 1 for c in range(500))


def test_where_nobody_may_answer_a_believed_limit_does_not_count() -> None:
    """The provider decides; who has asked to wait is not asked, and with someone else there nobody is."""
    short, waits = replace(quick(MINI.backend), requests_left=0), replace(quick(LARGE.backend), retry_at=NOW + 5.0)
    assert dropped(1, MINI, LARGE, states=[short, waits]) == [None, "retry_after"]
    assert dropped(1, MINI, LARGE, states=[short, quick(LARGE.backend)]) == ["rate_limit", None]
    assert dropped(1, MINI, LARGE, states=[short, replace(quick(LARGE.backend), tokens_left=0)]) == [None, None]
    assert dropped(1, MINI, pinned=True, states=[short]) == [None]


def test_where_nobody_may_answer_open_circuits_are_probed() -> None:
    """Those whose turn it is; not before a believed limit, not instead of a candidate that is there, and never one that is down."""
    due, not_due = replace(quick(MINI.backend), breaker="open", probe_due=True), replace(quick(LARGE.backend), breaker="open")
    assert dropped(1, MINI, LARGE, states=[due, not_due]) == [None, "circuit"]
    assert dropped(1, MINI, LARGE, states=[due, quick(LARGE.backend)]) == ["circuit", None]
    assert dropped(1, MINI, LARGE, states=[due, replace(quick(LARGE.backend), requests_left=0)]) == ["circuit", None]
    assert dropped(1, MINI, TRIAGE, states=[not_due, replace(due, healthy=False)]) == ["circuit", "unhealthy"]
