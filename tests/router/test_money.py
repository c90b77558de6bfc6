"""router.money: exact sums, one rounding, exact text."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.money import cost, expected, half_even, parse_usd, usd
from router.types import Price, Usage

tokens = st.integers(0, 10**7)
prices = st.integers(0, 10**12)


def test_a_known_bill_to_the_nano_dollar() -> None:
    """1,000 input of which 400 cached and 200 output at 0.15 / 0.075 / 0.60 dollars per million cost 0.00024 dollars."""
    price = Price(input=parse_usd("0.15"), cached=parse_usd("0.075"), output=parse_usd("0.60"))
    assert cost(Usage(input=1000, cached=400, output=200), price) == 240_000
    assert usd(240_000) == "0.00024"


def test_cached_tokens_cost_the_input_price_without_a_discount() -> None:
    """Without a cached price, cached tokens are not free."""
    assert cost(Usage(input=10, cached=10), Price(2_000_000, 0)) == 20
    assert cost(Usage(input=10, cached=10), Price(2_000_000, 0, cached=0)) == 0


def test_impossible_usage_never_makes_a_negative_bill() -> None:
    """More cached than input tokens, or negative counts, are held to what is possible."""
    price = Price(1_000_000, 1_000_000, cached=0)
    assert cost(Usage(input=5, cached=9), price) == 0
    assert cost(Usage(input=-5, cached=-1, output=-7), price) == 0


@pytest.mark.parametrize(("numerator", "whole"), [(5, 0), (15, 2), (25, 2), (26, 3), (24, 2), (-5, 0), (-15, -2), (-16, -2)])
def test_halves_go_to_the_even_neighbour(numerator: int, whole: int) -> None:
    """Rounding is half to even, for negative amounts as well."""
    assert half_even(numerator, 10) == whole


@given(tokens, tokens, tokens, prices, prices, st.none() | prices)
def test_a_cost_is_rounded_once(fresh: int, cached: int, output: int, p_in: int, p_out: int, p_cached: int | None) -> None:
    """The cost is within half a nano-dollar of the exact rational sum, whatever its parts."""
    usage = Usage(input=fresh + cached, cached=cached, output=output)
    exact = Fraction(fresh * p_in + cached * (p_in if p_cached is None else p_cached) + output * p_out, 10**6)
    got = cost(usage, Price(p_in, p_out, p_cached))
    assert got == round(exact)


@given(tokens, tokens, tokens, prices, prices, st.none() | prices)
def test_expected_cost_agrees_with_the_bill(fresh: int, cached: int, output: int, p_in: int, p_out: int, p_cached: int | None) -> None:
    """An expectation that comes true is what is billed."""
    whole = fresh + cached
    price = Price(p_in, p_out, p_cached)
    bill = cost(Usage(input=whole, cached=cached, output=output), price)
    assert expected(whole, cached / whole if whole else 0.0, output, price) == pytest.approx(bill, rel=1e-9, abs=1)


@given(st.integers(-(10**21), 10**21))
def test_dollar_text_is_exact(nano: int) -> None:
    """Printed dollars read back to the same nano-dollars, without exponent or trailing zeros."""
    text = usd(nano)
    assert text is not None
    assert int(Decimal(text).scaleb(9)) == nano
    assert "E" not in text.upper()
    assert "." not in text or not text.endswith("0")
    assert parse_usd(text) == nano


def test_unknown_money_stays_unknown() -> None:
    """None is not zero."""
    assert usd(None) is None
    assert usd(0) == "0"
    assert usd(123_456) == "0.000123456"
    assert usd(-1_500_000_000) == "-1.5"


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        ("2.50", 2_500_000_000),
        (2.50, 2_500_000_000),
        (0.1, 100_000_000),
        ("1e-9", 1),
        (1e-9, 1),
        ("0.000000001", 1),
        (20, 20_000_000_000),
        ("0.00", 0),
        ("1E+3", 10**12),
        (Decimal("0.075"), 75_000_000),
        ("-0.5", -500_000_000),
        ("0.10000000000000", 100_000_000),
        (0, 0),
    ],
)
def test_config_amounts_are_read_exactly(amount: str | float | Decimal, nano: int) -> None:
    """What the user wrote is what is counted, floats included."""
    assert parse_usd(amount) == nano


@pytest.mark.parametrize("amount", ["", "two", "nan", "inf", float("nan"), float("inf"), "1e-10", "0.0000000001", "1e-400000000", "1e400000000", "1e13", True])
def test_amounts_that_cannot_be_meant_are_refused(amount: str | float) -> None:
    """No number, too fine, too large: a ValueError that says so, at once."""
    with pytest.raises(ValueError, match="dollars"):
        parse_usd(amount)
