"""router.latency: what is predicted, and how risk follows from it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.latency import Prediction, Risk, Work, crowd, limits, p_late, predict, risk, slowdown
from router.types import Candidate, Features, Live, Slo

ENGINE = Candidate("local/t@1", "local", "local", "local/t@1", adapter="t", version=1)
HOSTED = Candidate("openai/m", "hosted", "openai", "m")
LIVE = Live("local/t@1", ttft_ms=50.0, tpot_ms=10.0, slots=4, log_sigma=0.3)


def p_miss(prediction: Prediction | None, first: float | None, whole: float | None, target: float, evidence: float | None = None) -> float:
    return risk(prediction, (first, whole), target, replace(LIVE, evidence=evidence), Work()).p_miss


def test_an_unhurried_request_takes_first_token_plus_the_rest() -> None:
    """50 ms and 100 tokens of 10 ms make 1,050 ms."""
    assert predict(ENGINE, LIVE, 100.0) == Prediction(50.0, 1050.0, 0.3)


def test_what_was_never_observed_is_not_predicted() -> None:
    """Half an observation is none."""
    assert predict(ENGINE, replace(LIVE, ttft_ms=None), 100.0) is None
    assert predict(ENGINE, replace(LIVE, tpot_ms=None), 100.0) is None


@pytest.mark.parametrize(("in_flight", "stretch"), [(0, 1.0), (3, 1.0), (4, 1.25), (7, 2.0), (39, 10.0)])
def test_full_slots_stretch_the_work(in_flight: int, stretch: float) -> None:
    """With more in flight than slots, work takes (in flight + 1) / slots as long; the wait comes before the first token."""
    live = replace(LIVE, in_flight=in_flight)
    got = predict(ENGINE, live, 100.0)
    assert slowdown(live) == stretch
    assert got is not None
    assert got.total_ms == pytest.approx(1050.0 * stretch)
    assert got.total_ms - got.ttft_ms == pytest.approx(1000.0)


def test_adapters_of_one_engine_share_its_slots() -> None:
    """Work under other names counts as its own does."""
    shared, own = replace(LIVE, in_flight=3, others_in_flight=4), replace(LIVE, in_flight=7)
    assert predict(ENGINE, shared, 100.0) == predict(ENGINE, own, 100.0)
    assert slowdown(shared) == 2.0


def test_our_calls_do_not_slow_a_provider_and_unknown_capacity_is_no_limit() -> None:
    """In-flight work stretches engines of known capacity only."""
    busy = replace(LIVE, in_flight=50)
    assert predict(HOSTED, busy, 10.0) == Prediction(50.0, 150.0, 0.3)
    assert predict(ENGINE, replace(busy, slots=0), 10.0) == Prediction(50.0, 150.0, 0.3)


def test_the_chance_to_be_late_is_that_of_a_log_normal() -> None:
    """Against 40,000 drawn latencies with the same mean and sigma."""
    random, sigma, mean = Random(3), 0.5, 1000.0
    drawn = [mean * random.lognormvariate(-sigma * sigma / 2, sigma) for _ in range(40_000)]
    for limit in (500.0, 1000.0, 1500.0, 3000.0):
        assert p_late(mean, sigma, limit) == pytest.approx(sum(x > limit for x in drawn) / len(drawn), abs=0.01)


def test_certain_latencies_are_on_time_or_late() -> None:
    """Degenerate inputs give 0 or 1, never an error."""
    assert p_late(100.0, 0.0, 99.0) == 1.0
    assert p_late(100.0, 0.0, 100.0) == 0.0
    assert p_late(0.0, 0.5, 10.0) == 0.0
    assert p_late(100.0, 0.5, 0.0) == 1.0


@given(st.floats(1, 1e5), st.floats(1.0, 10.0), st.floats(0.05, 2.0), st.floats(1, 1e5))
def test_slower_is_never_safer(mean: float, stretch: float, sigma: float, limit: float) -> None:
    """A larger mean never lowers the chance of a miss."""
    assert 0.0 <= p_late(mean, sigma, limit) <= p_late(mean * stretch, sigma, limit) <= 1.0


def test_aims_are_the_routes_and_the_requests() -> None:
    """Only a stream shows its first token; a request's own total replaces the route's."""
    slo = Slo(ttft_ms=400.0, total_ms=1500.0)
    assert limits(Features(10), slo) == (None, 1500.0)
    assert limits(Features(10, stream=True), slo) == (400.0, 1500.0)
    assert limits(Features(10, slo_total_ms=90.0), slo) == (None, 90.0)


def test_risk_without_aims_or_without_evidence() -> None:
    """No aim, no risk; no evidence, the risk that the target allows; else the worse of the two aims."""
    assert p_miss(None, None, None, 0.95) == 0.0
    assert p_miss(None, None, 100.0, 0.95) == pytest.approx(0.05)
    fast_then_slow = Prediction(10.0, 5000.0, 0.3)
    assert p_miss(fast_then_slow, 400.0, None, 0.95) < 0.001
    assert p_miss(fast_then_slow, 400.0, 1500.0, 0.95) > 0.99
    assert p_miss(Prediction(5000.0, 5001.0, 0.3), 400.0, 1e9, 0.95) > 0.99


def test_a_first_token_waits_for_the_prompts_before_it() -> None:
    """Around the mean that was seen at 1,000 tokens: 0.02 ms for each token ahead or of its own; never below a tenth of the mean."""
    live = replace(LIVE, prompt_ms=0.02, usual_prompt=1000.0, ahead_tokens=3000.0)
    assert predict(ENGINE, live, 0.0, 500.0) == Prediction(pytest.approx(50.0 + 0.02 * 2500), pytest.approx(100.0), 0.3)
    near = predict(HOSTED, replace(live, ahead_tokens=0.0, prompt_ms=1.0), 0.0, 10.0)
    assert near is not None
    assert near.ttft_ms == pytest.approx(5.0)


def test_tokens_come_slower_the_more_is_in_flight() -> None:
    """By the prompts that are read for every token, up to the engine's slots; beyond them requests wait instead. A provider does not care."""
    live = replace(LIVE, slots=8, load_ms=0.005, usual_load=200.0)
    states = [replace(live, in_flight=n, load_tokens=100.0 * n) for n in (0, 1, 5, 7, 15)]
    found = [predict(ENGINE, state, 100.0, 100.0) for state in states]
    each = [(p.total_ms - p.ttft_ms) / 100.0 for p in found if p is not None]
    assert each == pytest.approx([9.5, 10.0, 12.0, 13.0, 13.0])
    assert found[4] is not None
    assert found[4].ttft_ms == pytest.approx(50.0 + (50.0 + 1300.0))
    assert predict(HOSTED, replace(live, load_tokens=700.0), 100.0) == Prediction(50.0, 1050.0, 0.3)
    least = predict(ENGINE, replace(live, load_ms=9.0, usual_load=9000.0), 100.0)
    assert least is not None
    assert least.total_ms == pytest.approx(150.0)


def test_adapters_wait_for_slots() -> None:
    """Who has none waits as long as is said, before the first token."""
    got = predict(ENGINE, replace(LIVE, blocked_ms=700.0), 100.0)
    assert got is not None
    assert (got.ttft_ms, got.total_ms) == (750.0, 1750.0)


def test_late_answers_are_the_long_ones() -> None:
    """What is lost by a late end is more than the chance of it, as far as the price is for the answer: against a sum over drawn lengths."""
    random, sigma, mean, limit = Random(5), 0.9, 2000.0, 5000.0
    drawn = [mean * random.lognormvariate(-sigma * sigma / 2, sigma) for _ in range(200_000)]
    late = [length for length in drawn if length > limit]
    found = risk(Prediction(10.0, mean, sigma), (None, limit), 0.95, LIVE, Work(output_share=0.6))
    assert found.p_miss == pytest.approx(len(late) / len(drawn), abs=0.003)
    assert found.lost == pytest.approx(0.4 * len(late) / len(drawn) + 0.6 * sum(late) / sum(drawn), abs=0.01)
    assert risk(Prediction(10.0, mean, sigma), (None, limit), 0.95, LIVE, Work()) == Risk(found.p_miss, found.p_miss, 0.0)


def test_one_more_harms_those_in_flight() -> None:
    """As many as there are, up to the slots; by the time to read its prompt and what its tokens slow theirs. Nobody is harmed who is early in any case."""
    live = replace(LIVE, in_flight=2, others_in_flight=1, load_ms=0.001, prompt_ms=0.1, slots=8)
    many, slower = crowd(ENGINE, live, 200.0, 100.0)
    assert (many, slower) == (pytest.approx(4.5), pytest.approx(100 * 0.001 * 300 + 20.0))
    assert crowd(ENGINE, replace(live, in_flight=50), 200.0, 100.0)[0] == pytest.approx(12.0)
    assert crowd(HOSTED, live, 200.0, 100.0) == crowd(ENGINE, LIVE, 200.0, 100.0) == (0.0, 0.0)
    aims, work = (None, 1000.0), Work(0.5, many, slower)
    assert risk(Prediction(10.0, 900.0, 0.3), aims, 0.95, live, work).harm > 0.1
    assert risk(Prediction(10.0, 50.0, 0.3), aims, 0.95, live, work).harm < 1e-6


def test_little_evidence_is_held_against_the_assumption() -> None:
    """What a few bad answers said fades, so that a backend is asked again; all the evidence there is stands for itself."""
    bad = Prediction(5000.0, 5001.0, 0.3)
    assert p_miss(bad, 400.0, None, 0.95, None) > 0.99
    assert p_miss(bad, 400.0, None, 0.95, 8.0) == pytest.approx(0.525, abs=0.01)
    assert p_miss(bad, 400.0, None, 0.95, 0.0) == pytest.approx(0.05)


def test_the_first_token_has_a_spread_of_its_own() -> None:
    """A total that scatters widely does not make a first token uncertain."""
    steady = Prediction(300.0, 9000.0, 0.9, 0.1)
    assert p_miss(steady, 400.0, None, 0.95) < 0.01
    assert p_miss(steady._replace(ttft_sigma=0.0), 400.0, None, 0.95) > 0.1
