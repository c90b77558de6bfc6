"""The arithmetic of the break-even, against numbers worked out by hand, and what must hold for any numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import economy
from router.economy import DAYS_PER_MONTH, Economy

# A GPU at 2 dollars an hour that does a million tokens in 200 s: 432 M a day without peaks, 144 M with a peak of 3. One dollar a million hosted.
PLAIN = Economy(
    usd_per_m=1.0,
    gpu_hour_usd=2.0,
    gpu_s_per_m=200.0,
    peak=3.0,
    gpu_hours_per_month=24 * DAYS_PER_MONTH,
    label_items=1000,
    label_usd=1.0,
    engineering_weeks=2,
    week_usd=4000.0,
    training_gpu_hours=10,
    evaluation_usd=100.0,
    operation_hours=10,
    operation_hour_usd=100.0,
    horizon_months=12,
)
numbers = st.builds(
    Economy,
    usd_per_m=st.floats(0.001, 100),
    gpu_hour_usd=st.floats(0.01, 50),
    gpu_s_per_m=st.floats(1, 10_000),
    peak=st.floats(1, 20),
    gpu_hours_per_month=st.floats(10, 744),
    label_items=st.floats(0, 1e5),
    label_usd=st.floats(0, 100),
    engineering_weeks=st.floats(0, 100),
    week_usd=st.floats(0, 1e5),
    training_gpu_hours=st.floats(0, 1e4),
    evaluation_usd=st.floats(0, 1e5),
    operation_hours=st.floats(0, 200),
    operation_hour_usd=st.floats(0, 1000),
    horizon_months=st.floats(1, 60),
)


def test_costs_by_hand() -> None:
    """1,000 labels, 2 weeks at 4,000, 10 GPU hours, 100 of evaluation: 9,120 once. A GPU: 1,461 a month; it carries 144 M tokens a day."""
    assert PLAIN.one_off_usd == pytest.approx(1000 + 8000 + 20 + 100)
    assert PLAIN.gpu_month_usd == pytest.approx(1461.0)
    assert PLAIN.tokens_per_gpu_day == pytest.approx(144e6)
    assert PLAIN.gpu_usd_per_m == pytest.approx(2.0 * 200 / 3600)
    assert economy.hosted_usd(PLAIN, 100e6) == pytest.approx(100 * DAYS_PER_MONTH)
    assert economy.running_usd(PLAIN, 100e6) == pytest.approx(1461.0)
    assert economy.trained_usd(PLAIN, 100e6) == pytest.approx(1461.0 + 1000.0 + 9120 / 12)


def test_break_even_by_hand() -> None:
    """One GPU, operation and a twelfth of the one-off costs are 3,221 a month: 105.82 M tokens a day at a dollar a million."""
    assert economy.break_even_tokens(PLAIN) == pytest.approx(3221.0 / DAYS_PER_MONTH * 1e6, rel=1e-9)
    assert economy.break_even_utilisation(PLAIN) == pytest.approx(1 / 9)


def test_what_does_not_fit_is_hosted_until_another_gpu_is_cheaper() -> None:
    """200 M a day: one GPU and 56 M hosted (1,704 dollars more) is dearer than two GPUs; 160 M: 16 M hosted (487) is cheaper than a second."""
    assert economy.running_usd(PLAIN, 200e6) == pytest.approx(2 * 1461.0)
    assert economy.running_usd(PLAIN, 160e6) == pytest.approx(1461.0 + 16 * DAYS_PER_MONTH)


def test_never_where_a_busy_gpu_is_dearer() -> None:
    """With peaks of 3 a token costs a third of a dollar per million of hosted at least: below that price training pays at no volume."""
    dear = replace(PLAIN, usd_per_m=0.33)
    assert economy.break_even_tokens(dear) is None
    assert economy.break_even_tokens(replace(PLAIN, usd_per_m=0.34)) is not None
    assert economy.payback_months(dear, 1e9) is None


def test_payback_by_hand() -> None:
    """At 144 M a day hosted costs 4,383; less 1,461 and 1,000 leaves 1,922 a month against 9,120 once."""
    assert economy.payback_months(PLAIN, 144e6) == pytest.approx(9120 / (144 * DAYS_PER_MONTH - 2461.0))


@given(numbers, st.floats(0, 1e10), st.floats(0, 1e10))
@settings(max_examples=200, deadline=None)
def test_more_traffic_never_makes_training_less_worth_it(some: Economy, one: float, other: float) -> None:
    """The saving does not fall with the volume, whatever the numbers: not even where another GPU must be bought."""
    few, many = sorted((one, other))
    slack = 1e-9 * (1.0 + economy.hosted_usd(some, many) + economy.trained_usd(some, many))
    assert economy.saving_usd(some, many) >= economy.saving_usd(some, few) - slack


@given(numbers, st.floats(0, 1e10), st.floats(0.0, 1.0))
@settings(max_examples=200, deadline=None)
def test_cheaper_hosted_never_makes_training_more_worth_it(some: Economy, tokens: float, share: float) -> None:
    """A falling price of the alternative lowers the saving and moves the break-even up, or away."""
    cheaper = replace(some, usd_per_m=some.usd_per_m * share)
    slack = 1e-9 * (1.0 + economy.hosted_usd(some, tokens) + economy.trained_usd(some, tokens))
    assert economy.saving_usd(cheaper, tokens) <= economy.saving_usd(some, tokens) + slack
    before, after = economy.break_even_tokens(some), economy.break_even_tokens(cheaper)
    if after is not None:
        assert before is not None
        assert after >= before * (1 - 1e-9)


@given(numbers)
@settings(max_examples=200, deadline=None)
def test_the_break_even_is_where_the_saving_changes_its_sign(some: Economy) -> None:
    """A little less traffic loses money, a little more does not."""
    even = economy.break_even_tokens(some)
    if even is None:
        assert economy.saving_usd(some, 1e12) <= 1e-6 * economy.hosted_usd(some, 1e12)
    else:
        assert economy.saving_usd(some, even * (1 + 1e-6)) >= 0.0
        assert economy.saving_usd(some, even * (1 - 1e-6)) <= 1e-9 * economy.trained_usd(some, even)
