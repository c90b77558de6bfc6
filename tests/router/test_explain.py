"""router.explain: moving a lever past its stated value changes the choice, and not before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.explain import flips
from router.policy import decide, weigh
from router.types import Decision, Features, Live, Price, Slo, Snapshot, Stage, Why
from tests.router.worlds import HELLO, LARGE, MINI, NOW, TRIAGE, UNPRICED, quick, slow, world, worlds

World = tuple[Features, Snapshot, dict[str, Live]]


def explained(
    snapshot: Snapshot, live: dict[str, Live], features: Features = HELLO, seed: int = 1
) -> tuple[Decision, dict[tuple[str, str | None], dict[str, Any]]]:
    """The decision and its flips by (what, backend); the last one of equals."""
    decision = decide(features, snapshot, live, NOW, seed, "d-1")
    return decision, {(str(f["what"]), f["backend"] if f["backend"] is None else str(f["backend"])): f for f in flips(decision, snapshot)}


def scaled(snapshot: Snapshot, backend: str, factor: float) -> Snapshot:
    """The snapshot with one candidate's price sheet multiplied."""
    moved = [
        replace(
            c, price=Price(round(c.price.input * factor), round(c.price.output * factor), None if c.price.cached is None else round(c.price.cached * factor))
        )
        if c.backend == backend and c.price is not None
        else c
        for c in snapshot.candidates
    ]
    return replace(snapshot, candidates=tuple(moved))


def test_a_cheaper_provider_would_win_below_its_stated_price() -> None:
    """The engine is full and dear, the hosted model dearer: below the stated price, and only below, the hosted model answers."""
    busy = replace(quick(TRIAGE.backend), in_flight=16, work_value=2.5e6)
    snapshot, live = world(MINI, TRIAGE, slo=Slo(), local=busy)
    decision, found = explained(snapshot, live)
    flip = found["price", MINI.backend]
    assert decision.chosen == TRIAGE.backend
    assert flip["then"] == MINI.backend
    factor = flip["to"] / flip["from"]
    assert 0.0 < factor < 1.0
    assert decide(HELLO, scaled(snapshot, MINI.backend, factor * 0.98), live, NOW, 1, "d").chosen == MINI.backend
    assert decide(HELLO, scaled(snapshot, MINI.backend, factor * 1.02), live, NOW, 1, "d").chosen == TRIAGE.backend


def test_a_dearer_choice_would_lose_above_its_stated_price() -> None:
    """Two providers: the cheaper one up to where the other is as cheap, its own share of the miss price included."""
    snapshot, live = world(MINI, LARGE)
    decision, found = explained(snapshot, live)
    flip = found["price", MINI.backend]
    factor = flip["to"] / flip["from"]
    assert decision.chosen == MINI.backend
    assert flip["then"] == LARGE.backend
    assert factor > 1.0
    assert decide(HELLO, scaled(snapshot, MINI.backend, factor * 1.03), live, NOW, 1, "d").chosen == LARGE.backend
    assert decide(HELLO, scaled(snapshot, MINI.backend, factor * 0.97), live, NOW, 1, "d").chosen == MINI.backend


def test_an_unknown_price_would_win_below_a_stated_one() -> None:
    """From unknown to what it would have to cost."""
    decision, found = explained(*world(MINI, UNPRICED))
    flip = found["price", UNPRICED.backend]
    assert decision.chosen == MINI.backend
    assert (flip["from"], flip["then"]) == (None, UNPRICED.backend)
    assert 0 < flip["to"] <= 500 * 150 + 80 * 600 + 1_000
    assert ("price", UNPRICED.backend) not in explained(*world(UNPRICED, MINI))[1]


def test_a_late_engine_would_win_below_a_stated_latency() -> None:
    """Scaling its predicted latency to the stated value makes its risk exactly what the price difference pays for."""
    snapshot, live = world(MINI, TRIAGE, local=slow(TRIAGE.backend))
    decision, found = explained(snapshot, live)
    flip = found["latency_ms", TRIAGE.backend]
    assert decision.reason is Why.SLO_RISK
    assert flip["then"] == TRIAGE.backend
    assert flip["to"] < flip["from"]
    state, factor = live[TRIAGE.backend], flip["to"] / flip["from"]
    assert state.ttft_ms is not None
    assert state.tpot_ms is not None
    moved = {**live, TRIAGE.backend: replace(state, ttft_ms=state.ttft_ms * factor, tpot_ms=state.tpot_ms * factor)}
    rows = weigh(HELLO, snapshot, [moved[MINI.backend], moved[TRIAGE.backend]])
    assert rows[0].score == pytest.approx(rows[1].score)


def test_a_winner_would_lose_above_a_stated_latency() -> None:
    """The choice is on time; above the stated latency the rival takes over."""
    decision, found = explained(*world(MINI, TRIAGE))
    flip = found["latency_ms", TRIAGE.backend]
    assert decision.chosen == TRIAGE.backend
    assert flip["to"] > flip["from"]
    assert flip["then"] == MINI.backend


def test_a_latency_without_spread_flips_at_the_aim() -> None:
    """Where the chance of a miss is a step, the choice flips where the step is."""
    step = replace(slow(TRIAGE.backend), log_sigma=0.0)
    found = explained(*world(MINI, TRIAGE, slo=Slo(None, 1500.0), local=step))[1]
    assert found["latency_ms", TRIAGE.backend]["to"] == pytest.approx(1500.0)


def test_lateness_could_be_priced_lower() -> None:
    """Below the stated factor the late free engine wins; at zero latency has no price at all."""
    snapshot, live = world(MINI, TRIAGE, local=slow(TRIAGE.backend))
    _, found = explained(snapshot, live)
    assert ("price", MINI.backend) not in found  # what a miss is worth rises with this price: the late engine only falls further behind
    flip = found["miss_price_factor", None]
    assert (flip["from"], flip["then"]) == (2.0, TRIAGE.backend)
    assert decide(HELLO, replace(snapshot, miss_price_factor=flip["to"] * 0.97), live, NOW, 1, "d").chosen == TRIAGE.backend
    assert decide(HELLO, replace(snapshot, miss_price_factor=flip["to"] * 1.03), live, NOW, 1, "d").chosen == MINI.backend
    free = explained(replace(snapshot, miss_price_factor=0.0), live)[1]
    assert not {what for what, _ in free} & {"miss_price_factor", "latency_ms"}


@pytest.mark.parametrize("in_flight", [0, 60])
def test_work_in_flight_flips_at_a_whole_number(in_flight: int) -> None:
    """An engine that has room loses from that many on; one that is full wins from that few on."""
    live_now = replace(quick(TRIAGE.backend), in_flight=in_flight, work_value=1e7)
    snapshot, live = world(MINI, TRIAGE, local=live_now)
    decision, found = explained(snapshot, live)
    flip = found["in_flight", TRIAGE.backend]
    assert (decision.chosen == TRIAGE.backend) == (in_flight == 0)
    assert flip["from"] == in_flight
    for count in range(61):
        moved = {**live, TRIAGE.backend: replace(live_now, in_flight=count)}
        chosen = decide(HELLO, snapshot, moved, NOW, 1, "d").chosen
        wins = count < flip["to"] if in_flight == 0 else count <= flip["to"]
        assert (chosen == TRIAGE.backend) == wins


def test_a_drop_that_mattered_is_listed() -> None:
    """A cheaper candidate behind a gate, and any candidate where there was no choice at all."""
    shadow = replace(TRIAGE, stage=Stage.SHADOW)
    _, found = explained(*world(MINI, shadow))
    assert found["gate", TRIAGE.backend] == {"what": "gate", "backend": TRIAGE.backend, "from": "quality_gate:shadow", "to": None, "then": TRIAGE.backend}
    decision, found = explained(*world(replace(LARGE, price=None), large=replace(quick(LARGE.backend), breaker="open")))
    assert decision.chosen is None
    assert found["gate", LARGE.backend]["from"] == "circuit"
    assert explained(*world(MINI, LARGE, large=replace(quick(LARGE.backend), breaker="open")))[1] == {}


def test_a_coin_is_called_a_coin() -> None:
    """Between twins the seed decided; no threshold is invented."""
    twin = replace(MINI, backend="azure/gpt-4o-mini", owner="azure")
    decision, found = explained(*world(MINI, twin))
    assert decision.reason is Why.EXPLORE_TIE
    assert list(found) == [("seed", None)]
    assert found["seed", None]["then"] == decision.order[1]


def test_nothing_to_change_is_an_empty_list() -> None:
    """No candidates, one candidate, only unknown prices."""
    assert flips(decide(HELLO, Snapshot("r", ()), {}, NOW, 1, "d"), Snapshot("r", ())) == []
    assert explained(*world(MINI))[1] == {}
    assert explained(*world(UNPRICED, replace(UNPRICED, backend="house/2")))[1] == {}


@given(worlds(), st.integers(0, 2**32))
def test_levers_point_somewhere_else(given_world: World, seed: int) -> None:
    """In any world: known backends, complete entries, and a different choice at the end of each."""
    features, snapshot, live = given_world
    decision = decide(features, snapshot, live, NOW, seed, "d-1")
    names = {c.backend for c in snapshot.candidates}
    for flip in flips(decision, snapshot):
        assert set(flip) == {"what", "backend", "from", "to", "then"}
        assert flip["then"] in names
        assert flip["then"] != decision.chosen
        assert flip["backend"] is None or flip["backend"] in names


@given(worlds(), st.integers(0, 2**32))
def test_factor_levers_hold_in_any_world(given_world: World, seed: int) -> None:
    """Moving the miss price a little past the stated factor makes the stated candidate score best; a little before, the chosen one still does."""
    features, snapshot, live = given_world
    decision = decide(features, snapshot, live, NOW, seed, "d-1")
    names = [c.backend for c in snapshot.candidates]
    feasible = [i for i, s in enumerate(decision.scored) if s.feasible]
    for flip in flips(decision, snapshot):
        if flip["what"] == "miss_price_factor":
            now, to = flip["from"], flip["to"]
            assert isinstance(now, float)
            assert isinstance(to, float)
            rows = weigh(features, replace(snapshot, miss_price_factor=to), list(decision.live))
            scores = {names[i]: score for i in feasible if (score := rows[i].score) is not None}
            best = min(scores.values())
            assert scores[str(flip["then"])] == pytest.approx(best, rel=1e-6)
            assert scores[str(decision.chosen)] == pytest.approx(best, rel=1e-6)
