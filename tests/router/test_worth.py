"""The verdict: flips where the arithmetic says, says what is missing, dates only what grows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import assumptions
from router.assumptions import Assumption
from router.worth import worth
from router.worth_facts import BASE, HOSTED, TRAINED, Facts, Rung, Traffic, volume

NOW = 1_795_442_400.0  # 2026-11-23
_VALUES = {
    "gpu_hour_usd": 2.0,
    "gpu_s_per_m": 200.0,
    "peak": 3.0,
    "gpu_hours_per_month": 730.5,
    "label_items": 1000.0,
    "label_usd": 1.0,
    "engineering_weeks": 2.0,
    "week_usd": 4000.0,
    "training_gpu_hours": 10.0,
    "evaluation_usd": 100.0,
    "operation_hours": 10.0,
    "operation_hour_usd": 100.0,
    "horizon_months": 12.0,
}
KNOWN = assumptions.stated(assumptions.defaults(), _VALUES, "given", "a test")
EVEN = 3221.0 / (365.25 / 12) * 1e6  # tests/router/test_economy.py


def traffic(tokens: float, growth: tuple[float, float, float] | None = None) -> Traffic:
    return Traffic(28, tokens / 1000, tokens * 0.8, 0.0, tokens * 0.2, tokens * 0.02, *(growth or (None, None, None)))


def facts(tokens: float, **changes: Any) -> Facts:
    return replace(Facts("triage", NOW, traffic(tokens), 1.0, KNOWN), **changes)


def rung(name: str, quality: float, factor: float | None, *, good: bool = True) -> Rung:
    return Rung(name, f"x/{name}", quality, quality - 0.02, quality + 0.02, good, False, factor)


def test_the_verdict_flips_at_the_break_even() -> None:
    """A thousandth below the worked-out volume it is not yet, a thousandth above it is train."""
    below, above = worth(facts(EVEN * 0.999)), worth(facts(EVEN * 1.001))
    assert (below["verdict"], below["recommended_rung"]) == ("not_yet", HOSTED)
    assert (above["verdict"], above["recommended_rung"]) == ("train", TRAINED)
    assert above["break_even"]["tokens_per_day"] == pytest.approx(EVEN, abs=1)
    assert below["saving_usd_per_month"] < 0 < above["saving_usd_per_month"]
    assert below["monthly_usd"][HOSTED] == pytest.approx(3221 * 0.999, abs=0.01)
    assert below["monthly_usd"][TRAINED] == pytest.approx(3221.0, abs=0.01)


def test_stay_where_no_volume_pays() -> None:
    """A hosted price below a busy GPU's is never beaten, and the reason names both."""
    found = worth(facts(1e9, hosted_usd_per_m=0.3))
    assert found["verdict"] == "stay"
    assert "at no volume" in found["reason"]
    assert found["break_even"]["tokens_per_day"] is None
    assert found["break_even"]["utilisation"] == pytest.approx(200 * 2 / 3600 / 0.3)


def test_unknown_prices_are_no_guess() -> None:
    """What is missing is named; nothing is worked out from it."""
    found = worth(facts(1e9, hosted_usd_per_m=None, missing=("the price of openai/odd: give it in prices:",)))
    assert found["verdict"] == "not_yet"
    assert "openai/odd" in found["reason"]
    assert found["monthly_usd"] == {HOSTED: None, TRAINED: None}
    assert set(found["break_even"].values()) == {None}
    hour = worth(facts(EVEN, missing=("what an hour of local costs: set engines.local.gpu_hour_usd",)))
    assert hour["monthly_usd"] == {HOSTED: pytest.approx(3221.0, abs=0.01), TRAINED: None}


def test_no_traffic_has_a_break_even_and_no_date() -> None:
    """Before any traffic the volume that would pay is known already."""
    found = worth(facts(0.0))
    assert found["verdict"] == "not_yet"
    assert "no traffic" in found["reason"]
    assert found["break_even"]["tokens_per_day"] == pytest.approx(EVEN, abs=1)
    assert found["break_even"]["date"] is None
    assert any("for a week" in step for step in found["next"])


def test_a_growing_route_has_a_date() -> None:
    """Half of what it takes, growing by a tenth a month: ln 2 / ln 1.1 = 7.27 months from now. Growth alone does not make it worth it today."""
    found = worth(facts(EVEN / 2, traffic=traffic(EVEN / 2, (0.10, 0.05, 0.20))))
    assert found["verdict"] == "not_yet"
    assert found["break_even"]["date"] == "2027-07-02"
    assert found["break_even"]["date_low"] < "2027-07-02"
    assert worth(facts(EVEN * 2))["break_even"]["date"] == "2026-11-23"
    assert worth(facts(EVEN / 2, traffic=traffic(EVEN / 2, (-0.1, -0.2, 0.1))))["break_even"]["date"] is None


def test_shrinking_traffic_is_judged_by_its_mean() -> None:
    """A route that loses half its traffic a month for certain is not judged by today's."""
    shrinking = traffic(EVEN * 1.5, (-0.5, -0.6, -0.4))
    assert volume(shrinking, 12) == pytest.approx(EVEN * 1.5 * (0.5**12 - 1) / (-0.6931471805599453 * 12))
    assert worth(facts(0, traffic=shrinking))["verdict"] == "not_yet"
    assert volume(traffic(EVEN, (-0.1, -0.3, 0.2)), 12) == pytest.approx(EVEN)


def test_the_cheapest_good_rung_is_what_training_is_compared_with() -> None:
    """Good prompting at half the price moves the break-even up by the same; a cheap rung that is not good enough does not."""
    good = (rung(HOSTED, 0.95, 1.0), rung("few_shot", 0.95, 0.5), rung("structured", 0.6, 0.1, good=False), rung(TRAINED, 0.95, 1.0))
    found = worth(facts(EVEN * 1.1, rungs=good))
    assert (found["verdict"], found["recommended_rung"]) == ("not_yet", "few_shot")
    assert found["monthly_usd"]["few_shot"] == pytest.approx(3221 * 1.1 / 2, abs=0.01)
    # two full GPUs save 1,461 of the 1,760 that it takes; a third (1,461) pays from 404 M a day on: 403.6 x 30.44 x 0.5 = 3 x 1,461 + 1,760
    assert worth(facts(403e6, rungs=good))["verdict"] == "not_yet"
    assert worth(facts(404e6, rungs=good))["verdict"] == "train"
    assert worth(facts(EVEN * 1.1, rungs=(good[0], good[2])))["recommended_rung"] == TRAINED
    only = (rung(HOSTED, 0.5, 1.0, good=False), rung("few_shot", 0.7, 3.0, good=False), rung(TRAINED, 0.95, 1.0))
    assert worth(facts(EVEN / 2.9, rungs=only))["verdict"] == "train"


def test_an_adapter_that_is_not_good_enough_is_not_worth_it() -> None:
    """No saving buys a quality below the floor."""
    found = worth(facts(EVEN * 100, rungs=(rung(HOSTED, 0.95, 1.0), rung(TRAINED, 0.7, 1.0, good=False))))
    assert found["verdict"] == "stay"
    assert "not good enough" in found["reason"]


def test_a_trained_model_that_needs_fewer_tokens_carries_more() -> None:
    """Half the GPU work doubles what one GPU carries; the base is shown without one-off costs."""
    found = worth(facts(EVEN, rungs=(rung(HOSTED, 0.95, 1.0), rung(BASE, 0.5, 1.0, good=False), rung(TRAINED, 0.95, 0.5))))
    assert found["tokens_per_gpu_day"] == 288_000_000
    assert found["monthly_usd"][BASE] == pytest.approx(1461 + 1000, abs=0.01)


def test_the_sensitivity_is_sorted_and_says_what_flips() -> None:
    """Longest bar first; an assumption without a range has none; the break-even's range covers each end alone."""
    found = worth(facts(EVEN))
    bars = found["sensitivity"]
    swings = [abs(bar["saving_usd_high"] - bar["saving_usd_low"]) for bar in bars]
    assert swings == sorted(swings, reverse=True)
    assert "gpu_hours_per_month" not in {bar["name"] for bar in bars}
    assert any(bar["flips"] for bar in bars)
    even = found["break_even"]
    ends = [bar[end] for bar in bars for end in ("tokens_per_day_low", "tokens_per_day_high") if bar[end] is not None]
    assert even["low"] <= min(ends)
    assert even["high"] is None or even["high"] >= max(ends)


def test_an_assumption_keeps_the_proportions_of_its_range() -> None:
    """What is stated is stated: twice the value has twice the range, and says who said so."""
    made = Assumption("x", 2.0, 1.0, 6.0, "", "", "default").set(4.0, "given", "me")
    assert (made.low, made.high, made.origin) == (2.0, 12.0, "given")
    assert Assumption("x", 0.0, 0.0, 0.0, "", "").set(4.0, "given", "me").high == 4.0


@given(st.floats(0, 1e10), st.floats(0, 1e10), st.floats(0.01, 20))
@settings(max_examples=60, deadline=None)
def test_the_verdict_only_moves_towards_training_with_traffic(one: float, other: float, price: float) -> None:
    """stay, not yet, train: never backwards as the traffic grows, never forwards as the price falls."""
    order = ("stay", "not_yet", "train")
    few, many = sorted((one, other))
    assert order.index(worth(facts(few, hosted_usd_per_m=price))["verdict"]) <= order.index(worth(facts(many, hosted_usd_per_m=price))["verdict"])
    assert order.index(worth(facts(many, hosted_usd_per_m=price / 2))["verdict"]) <= order.index(worth(facts(many, hosted_usd_per_m=price))["verdict"])
