"""router.policy: what is chosen, in which order the others follow, and that the stated reason is true."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy import PRIOR_OUTPUT_TOKENS, decide, expected_output, prior_output
from router.types import Decision, Features, Live, Price, Scored, Slo, Snapshot, Stage, Why
from tests.router.worlds import BASE, CANARY, HELLO, LARGE, MINI, NOW, TRIAGE, UNPRICED, quick, slow, world, worlds

World = tuple[Features, Snapshot, dict[str, Live]]


def choose(snapshot: Snapshot, live: dict[str, Live], features: Features = HELLO, seed: int = 1) -> Decision:
    """One decision at the sample instant."""
    return decide(features, snapshot, live, NOW, seed, "d-1")


def of(decision: Decision, backend: str) -> Scored:
    """The scored candidate of that name."""
    return next(scored for scored in decision.scored if scored.backend == backend)


def times(price: Price, factor: float) -> Price:
    """The price sheet multiplied by a factor."""
    return Price(int(price.input * factor), int(price.output * factor), None if price.cached is None else int(price.cached * factor))


def busy(backend: str, in_flight: int, value: float = 1e6) -> Live:
    """A quick engine with work in flight."""
    return replace(quick(backend), in_flight=in_flight, work_value=value)


def test_a_free_engine_wins_on_cost() -> None:
    """A loaded adapter inside the SLO costs nothing more; the hosted model follows for failover."""
    got = choose(*world(MINI, TRIAGE))
    assert got.order == ("local/triage@3", "openai/gpt-4o-mini")
    assert got.chosen == "local/triage@3"
    assert got.reason is Why.COST
    assert of(got, "local/triage@3").cost_nanousd == 0


def test_the_expected_cost_is_that_of_this_request() -> None:
    """2,000 bytes at 4 bytes per token, half of them cached, and 80 learnt output tokens, twice (n=2)."""
    snapshot, live = world(MINI, mini=replace(quick(MINI.backend), cached_share=0.5))
    got = choose(snapshot, live, replace(HELLO, n=2))
    assert of(got, MINI.backend).cost_nanousd == 250 * 150 + 250 * 75 + 160 * 600
    assert of(got, MINI.backend).cost_state == "estimated"


def test_expected_output_is_learnt_bounded_and_shared() -> None:
    """Own evidence, else the other backends', else the prior; never above max_tokens; none for embeddings."""
    known, new = quick("a"), Live("b")
    assert expected_output(replace(HELLO, max_tokens=None), known, 999.0) == 80.0
    assert expected_output(replace(HELLO, max_tokens=20), known, 999.0) == 20.0
    assert expected_output(HELLO, new, prior_output([known, new])) == 80.0
    assert prior_output([new]) == PRIOR_OUTPUT_TOKENS
    assert expected_output(replace(HELLO, needs=frozenset({"embeddings"})), known, 999.0) == 0.0


def test_one_candidate_is_the_only_feasible_one() -> None:
    """Alone in the route, or alone after drops that would not have been cheaper or that are no news."""
    assert choose(*world(MINI)).reason is Why.ONLY_FEASIBLE
    assert choose(*world(MINI, replace(TRIAGE, version=None))).reason is Why.ONLY_FEASIBLE
    assert choose(*world(MINI, TRIAGE), replace(HELLO, needs=frozenset({"logit_bias"}))).reason is Why.ONLY_FEASIBLE
    assert choose(*world(MINI, LARGE, large=replace(quick(LARGE.backend), breaker="open"))).reason is Why.ONLY_FEASIBLE


def test_nobody_feasible_is_a_decision_too() -> None:
    """No choice, no reason, every drop named."""
    snapshot, live = world(replace(TRIAGE, stage=Stage.BLOCKED))
    got = choose(snapshot, live)
    assert (got.chosen, got.order, got.reason) == (None, (), None)
    assert got.scored[0].dropped_because == "quality_gate:blocked"
    assert choose(Snapshot("r", ()), {}).chosen is None


@pytest.mark.parametrize(
    ("changes", "state", "budget", "reason"),
    [
        ({"stage": Stage.SHADOW}, {}, True, Why.QUALITY_GATE),
        ({}, {"breaker": "open"}, True, Why.CIRCUIT),
        ({}, {"retry_at": NOW + 5}, True, Why.CIRCUIT),
        ({}, {"healthy": False}, True, Why.ONLY_FEASIBLE),
    ],
)
def test_a_gate_that_cost_money_is_the_reason(changes: dict[str, Stage], state: dict[str, object], budget: bool, reason: Why) -> None:
    """Where the cheaper candidate was dropped for quality or for its circuit, that is why the dearer one answers."""
    local = replace(TRIAGE, **changes)
    snapshot, live = world(MINI, local, local=replace(quick(TRIAGE.backend), **state))  # type: ignore[arg-type]
    got = choose(replace(snapshot, hosted_budget_left=budget), live)
    assert got.chosen == MINI.backend
    assert got.reason is reason


def test_a_spent_budget_is_the_reason_where_hosted_was_better() -> None:
    """An engine far outside the SLO answers because the hosted budget is spent."""
    snapshot, live = world(MINI, TRIAGE, local=slow(TRIAGE.backend))
    assert choose(snapshot, live).chosen == MINI.backend
    got = choose(replace(snapshot, hosted_budget_left=False), live)
    assert (got.chosen, got.reason) == (TRIAGE.backend, Why.BUDGET)


def test_a_probable_miss_has_a_price() -> None:
    """An engine that would miss the SLO loses although it is free; without an SLO the same engine wins."""
    snapshot, live = world(MINI, TRIAGE, local=slow(TRIAGE.backend))
    got = choose(snapshot, live)
    assert (got.chosen, got.reason) == (MINI.backend, Why.SLO_RISK)
    assert choose(replace(snapshot, slo=Slo()), live).reason is Why.COST
    assert choose(replace(snapshot, slo=Slo()), live).chosen == TRIAGE.backend
    assert choose(snapshot, live, replace(HELLO, slo_total_ms=60_000.0, stream=False)).chosen == TRIAGE.backend


def test_a_miss_is_worth_a_multiple_of_the_hosted_price() -> None:
    """Of the first hosted candidate, wherever it stands and even if it is dropped; without one, of the dearest local work."""
    local = replace(busy(TRIAGE.backend, 8, value=1e9), ttft_ms=9_000.0, log_sigma=0.05)
    snapshot, live = world(TRIAGE, MINI, LARGE, local=local, mini=replace(quick(MINI.backend), breaker="open"))
    scored = of(choose(snapshot, live), TRIAGE.backend)
    displaced = 1e9 / 9 * (9.4 / 8)
    assert scored.score_nanousd == pytest.approx(displaced + 2.0 * (500 * 150 + 80 * 600))
    alone = choose(*world(TRIAGE, local=local))
    assert alone.scored[0].score_nanousd == pytest.approx(3.0 * displaced)


def test_work_that_displaces_dearer_work_has_a_price() -> None:
    """A full engine whose GPU-seconds are worth more than this request would cost hosted sends it there."""
    snapshot, live = world(MINI, TRIAGE, slo=Slo(), local=busy(TRIAGE.backend, 20, value=1e10))
    got = choose(snapshot, live)
    assert (got.chosen, got.reason) == (MINI.backend, Why.CAPACITY_PRICE)
    assert of(got, TRIAGE.backend).cost_nanousd == round(1e10 * (1 - 8 / 21) * 0.48 / 8)


@pytest.mark.parametrize(
    ("displaced", "risk", "reason"),
    [
        (0.6, 0.5, Why.CAPACITY_PRICE),
        (0.5, 0.6, Why.SLO_RISK),
        (3.0, 2.0, Why.CAPACITY_PRICE),
        (2.0, 3.0, Why.SLO_RISK),
        (0.5, 1.5, Why.SLO_RISK),
        (1.5, 0.5, Why.CAPACITY_PRICE),
    ],
)
def test_where_risk_and_capacity_both_count_the_decisive_or_larger_one_is_named(displaced: float, risk: float, reason: Why) -> None:
    """Both needed, each enough, or one alone: in units of the hosted price, with an engine that is certainly late."""
    hosted = 500 * 150 + 80 * 600
    late = replace(busy(TRIAGE.backend, 8, value=displaced * hosted * 9 / 0.06), ttft_ms=80.0, log_sigma=0.05)
    snapshot, live = world(MINI, TRIAGE, slo=Slo(total_ms=100.0), factor=risk, local=late, hosted=replace(quick(MINI.backend), ttft_ms=1.0, tpot_ms=0.01))
    got = choose(snapshot, live)
    assert of(got, TRIAGE.backend).score_nanousd == pytest.approx((displaced + risk) * hosted)
    assert (got.chosen, got.reason) == (MINI.backend, reason)


def test_unknown_prices_come_last_and_are_never_excluded() -> None:
    """Known before unknown whatever the score; among unknown ones the faster first; alone it answers."""
    other = replace(UNPRICED, backend="house/quick", model="quick")
    snapshot, live = world(UNPRICED, other, LARGE, house=slow(UNPRICED.backend))
    assert choose(snapshot, live).order == (LARGE.backend, other.backend, UNPRICED.backend)
    alone = choose(*world(UNPRICED))
    assert (alone.chosen, alone.scored[0].cost_nanousd, alone.scored[0].cost_state) == (UNPRICED.backend, None, "unknown")
    assert choose(*world(UNPRICED, other, house=slow(UNPRICED.backend))).reason is Why.SLO_RISK


def test_when_all_are_late_dollars_decide_first_then_lateness() -> None:
    """Two free engines, both far too late: the less late one; a hosted one at its price plus the miss comes after."""
    second = replace(BASE, backend="gpu2", owner="gpu2")
    snapshot, live = world(MINI, BASE, second, a=slow(MINI.backend), b=replace(slow(BASE.backend), ttft_ms=90_000.0), c=slow("gpu2"))
    assert choose(snapshot, live).order == ("gpu2", "local", MINI.backend)


def test_a_backend_never_observed_gets_its_first_call() -> None:
    """A fresh engine is taken to be just good enough, not perfect and not hopeless."""
    got = choose(*world(MINI, TRIAGE, fresh=Live(TRIAGE.backend)))
    assert got.chosen == TRIAGE.backend
    assert of(got, TRIAGE.backend).latency_ms is None
    assert of(got, TRIAGE.backend).p_miss == pytest.approx(0.05)


def test_missing_live_numbers_mean_an_engine_is_not_up() -> None:
    """Nothing is known of either: the provider is tried, the engine is not."""
    got = choose(world(MINI, TRIAGE)[0], {})
    assert got.order == (MINI.backend,)
    assert of(got, TRIAGE.backend).dropped_because == "unhealthy"


def test_near_ties_are_tossed_fairly_and_stably() -> None:
    """The same model at two providers: each gets about half of the seeds, the same seed always the same one."""
    twin = replace(MINI, backend="azure/gpt-4o-mini", owner="azure", price=Price(150_100_000, 600_000_000, 75_000_000))
    snapshot, live = world(MINI, twin)
    got = [choose(snapshot, live, seed=seed) for seed in range(400)]
    assert {d.reason for d in got} == {Why.EXPLORE_TIE}
    assert 150 <= sum(d.chosen == twin.backend for d in got) <= 250
    assert all(sorted(d.order) == sorted((MINI.backend, twin.backend)) for d in got)
    assert choose(snapshot, live, seed=9) == choose(snapshot, live, seed=9)


def test_nothing_is_tossed_into_a_probable_miss_or_between_free_engines() -> None:
    """A late twin is no tie; two free engines are ordered by risk and latency, not by a coin."""
    twin = replace(MINI, backend="azure/gpt-4o-mini", owner="azure")
    assert {choose(*world(MINI, twin, a=slow(twin.backend)), seed=s).chosen for s in range(50)} == {MINI.backend}
    assert {choose(*world(BASE, TRIAGE, a=replace(quick("local"), ttft_ms=200.0)), seed=s).chosen for s in range(50)} == {TRIAGE.backend}


def test_a_canary_answers_its_share_of_what_the_adapter_gets() -> None:
    """Reason `canary` where it answers; the others get the live version."""
    snapshot, live = world(MINI, TRIAGE, CANARY)
    got = [choose(snapshot, live, replace(HELLO, conversation=c)) for c in range(1_000)]
    canary = [d for d in got if d.chosen == CANARY.backend]
    assert 140 <= len(canary) <= 260
    assert {d.reason for d in canary} == {Why.CANARY}
    assert {d.chosen for d in got if d not in canary} == {TRIAGE.backend}


def test_a_pinned_candidate_is_called_whatever_its_stage() -> None:
    """Pinned snapshots skip quality and share, not health."""
    local = replace(TRIAGE, stage=Stage.BLOCKED)
    snapshot, live = world(local)
    pinned = replace(snapshot, pinned=True)
    assert (choose(pinned, live).chosen, choose(pinned, live).reason) == (local.backend, Why.PINNED)
    assert choose(pinned, {local.backend: replace(live[local.backend], healthy=False)}).chosen is None


@given(worlds(), st.integers(0, 2**32))
def test_a_decision_is_complete_and_deterministic(given_world: World, seed: int) -> None:
    """Every candidate is scored once, the order holds exactly the feasible ones, and the same input gives the same record."""
    features, snapshot, live = given_world
    got = choose(snapshot, live, features, seed)
    assert got == choose(snapshot, dict(reversed(live.items())), features, seed)
    assert [s.backend for s in got.scored] == [c.backend for c in snapshot.candidates]
    assert sorted(got.order) == sorted(s.backend for s in got.scored if s.feasible)
    assert all((s.dropped_because is None) == s.feasible for s in got.scored)
    assert (got.reason is None) == (not got.order)


@given(worlds(), st.integers(0, 2**32))
def test_gates_hold_whatever_the_savings(given_world: World, seed: int) -> None:
    """Blocked, shadow, absent, incapable or sick candidates are never in the order; broken ones only as probes, where nobody else is."""
    features, snapshot, live = given_world
    order = choose(snapshot, live, features, seed).order
    for candidate in snapshot.candidates:
        state = live[candidate.backend]
        closed = candidate.adapter is not None and (candidate.version is None or candidate.stage in (Stage.BLOCKED, Stage.SHADOW))
        waiting = state.retry_at is not None and state.retry_at > NOW
        if closed or waiting or not features.needs <= candidate.takes or not state.healthy:
            assert candidate.backend not in order
        if state.breaker == "open" and candidate.backend in order:
            assert all(live[name].probe_due and live[name].breaker != "closed" for name in order)


@given(worlds(), st.integers(0, 2**32))
def test_known_prices_are_ordered_by_score_and_unknown_ones_follow(given_world: World, seed: int) -> None:
    """Apart from a tossed near-tie, scores never fall along the order."""
    features, snapshot, live = given_world
    got = choose(snapshot, live, features, seed)
    scores = [of(got, name).score_nanousd for name in got.order]
    known = [score for score in scores if score is not None]
    assert all(score is None for score in scores[len(known) :])
    if got.reason is Why.EXPLORE_TIE:
        assert known[0] - min(known) <= 0.01 * known[0]
    rest = known[1:] if got.reason is Why.EXPLORE_TIE else known
    assert rest == sorted(rest)


@given(worlds(), st.integers(0, 2**32), st.floats(1.0, 100.0))
def test_dearer_never_becomes_likelier(given_world: World, seed: int, factor: float) -> None:
    """Raising one price, all else equal, never makes that candidate the choice where it was not (coins aside)."""
    features, snapshot, live = given_world
    before = choose(snapshot, live, features, seed)
    for i, candidate in enumerate(snapshot.candidates):
        if (price := candidate.price) is None:
            continue
        dearer = replace(candidate, price=times(price, factor))
        after = choose(replace(snapshot, candidates=(*snapshot.candidates[:i], dearer, *snapshot.candidates[i + 1 :])), live, features, seed)
        if Why.EXPLORE_TIE not in (before.reason, after.reason) and before.chosen != candidate.backend:
            assert after.chosen != candidate.backend


@given(worlds(), st.integers(0, 2**32), st.floats(1.0, 50.0))
def test_slower_never_becomes_likelier(given_world: World, seed: int, factor: float) -> None:
    """Slowing one backend down, all else equal, never makes it the choice where it was not (coins aside; and as far as its own requests are concerned: there is
    less harm to be done to others where they are late already)."""
    features, snapshot, live = given_world
    live = {name: replace(state, usual_saving=0.0) for name, state in live.items()}
    before = choose(snapshot, live, features, seed)
    for name, state in live.items():
        if state.ttft_ms is None or state.tpot_ms is None:
            continue
        slower = {**live, name: replace(state, ttft_ms=state.ttft_ms * factor, tpot_ms=state.tpot_ms * factor)}
        after = choose(snapshot, slower, features, seed)
        if Why.EXPLORE_TIE not in (before.reason, after.reason) and before.chosen != name:
            assert after.chosen != name


@given(worlds(), st.integers(0, 2**32), st.sampled_from([2, 4, 64, 1024]))
def test_the_currency_does_not_matter(given_world: World, seed: int, factor: int) -> None:
    """Scaling all hosted prices, and with them what GPU work was seen to save, changes no choice: nothing but the price of that work."""
    features, snapshot, live = given_world
    rich = {name: replace(s, work_value=s.work_value * factor, usual_saving=s.usual_saving * factor) for name, s in live.items()}
    scaled = tuple(c if c.price is None else replace(c, price=times(c.price, factor)) for c in snapshot.candidates)
    before, after = choose(snapshot, live, features, seed), choose(replace(snapshot, candidates=scaled), rich, features, seed)
    assert after.order == before.order
    assert after.reason == before.reason


@given(worlds(), st.integers(0, 2**32))
def test_a_free_engine_inside_the_aim_is_never_shunned(given_world: World, seed: int) -> None:
    """Where a feasible engine displaces nothing and is no riskier, no candidate that costs money is chosen. (Of late ends also the lengths count, so: first
    tokens alone.)"""
    features, snapshot, live = given_world
    features, snapshot = replace(features, slo_total_ms=None), replace(snapshot, slo=replace(snapshot.slo, total_ms=None))
    got = choose(snapshot, live, features, seed)
    kinds = {candidate.backend: candidate.kind for candidate in snapshot.candidates}
    free = [s for s in got.scored if s.feasible and kinds[s.backend] == "local" and s.cost_nanousd == 0 and s.score_nanousd is not None]
    if free and got.chosen is not None:
        chosen = of(got, got.chosen)
        least = min(s.p_miss for s in free if s.p_miss is not None)
        if chosen.p_miss is not None and least <= chosen.p_miss and kinds[got.chosen] == "hosted":
            assert chosen.cost_nanousd == 0
