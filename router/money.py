"""Money: what an answer cost, what a request is expected to cost, and exact text forms. Not here: prices (gateway.prices), GPU minutes (router.allocate).

Integer nano-dollars (1e-9 USD); prices are nano-dollars per million tokens. A settled cost is rounded once, half to even, by `cost` alone.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from router.types import Price, Usage

NANO = 1_000_000_000
_PER_TOKENS = 1_000_000
# A bound on what a person can mean, so that a slip of the exponent is a problem and not a billion-digit integer.
_MAX_USD_EXPONENT = 12


def cost(usage: Usage, price: Price) -> int | None:
    """Nano-dollars for one answer; None where it has tokens of a kind whose price is unknown. Parts that exceed their whole are held to it.

    Cached tokens, cache writes and audio are taken out of the input and charged at their own price, reasoning and audio out of the output.
    """
    fresh = max(usage.input, 0)
    cached = min(max(usage.cached, 0), fresh)
    cached_price = price.input if price.cached is None else price.cached
    made = max(usage.output, 0)
    exact = (fresh - cached) * price.input + cached * cached_price + made * price.output
    # An ordinary text answer ends here; this runs for every request.
    if usage.cache_write or usage.audio_input or usage.audio_output or price.reasoning is not None:
        entering, leaving = _beyond_input(usage, price, fresh, cached, cached_price), _beyond_output(usage, price, made)
        if entering is None or leaving is None:
            return None
        exact += entering + leaving
    return half_even(exact, _PER_TOKENS)


def _beyond_input(usage: Usage, price: Price, entered: int, cached: int, cached_price: int) -> int | None:
    """What cache writes and audio cost more than the text they were counted as; None: unknown."""
    written = min(max(usage.cache_write, 0), entered - cached)
    heard = min(max(usage.audio_input, 0), entered)
    if (written and price.cache_write is None) or (heard and price.audio_input is None):
        return None
    write_price, audio_price = price.cache_write or 0, price.audio_input or 0
    if heard and ((cached and cached_price != price.input) or (written and write_price != price.input)):
        return None  # how much of the audio was in the cache is not said, and both have prices of their own
    return (written and written * (write_price - price.input)) + (heard and heard * (audio_price - price.input))


def _beyond_output(usage: Usage, price: Price, made: int) -> int | None:
    """What reasoning and audio cost more than the text they were counted as; None: unknown."""
    thought = min(max(usage.reasoning, 0), made)
    spoken = min(max(usage.audio_output, 0), made - thought)
    if spoken and price.audio_output is None:
        return None
    thinking = 0 if price.reasoning is None else thought * (price.reasoning - price.output)
    return thinking + (0 if price.audio_output is None else spoken * (price.audio_output - price.output))


def expected(input_tokens: float, cached_share: float, output_tokens: float, price: Price) -> float:
    """Nano-dollars a request will cost on average, unrounded: same terms as `cost`, with expected token counts. Token counts may be fractions."""
    cached_price = price.input if price.cached is None else price.cached
    per_input = price.input + cached_share * (cached_price - price.input)
    return (input_tokens * per_input + output_tokens * price.output) / _PER_TOKENS


def half_even(numerator: int, denominator: int) -> int:
    """The integer nearest to numerator / denominator; a half goes to the even neighbour. `denominator` must be positive."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and whole % 2):
        return whole + 1
    return whole


def usd(nanousd: int | None) -> str | None:
    """Dollars as a plain decimal string: exact, no exponent, no trailing zeros (`"0.000123456"`, `"12"`); None stays None (unknown is never 0)."""
    if nanousd is None:
        return None
    whole, nano = divmod(abs(nanousd), NANO)
    fraction = f"{nano:09d}".rstrip("0")
    sign = "-" if nanousd < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def parse_usd(amount: str | float | Decimal) -> int:
    """Nano-dollars of an amount in dollars, exactly. Floats count as the decimal they print as (YAML's `2.50` is 2.5).

    Raises ValueError for what is no number, is finer than a nano-dollar, or is beyond any sum a person can mean.
    """
    if isinstance(amount, bool):
        raise ValueError(f"{amount!r} is not an amount of dollars; write a number such as 2.50")  # noqa: TRY004 - config errors are ValueErrors
    try:
        value = amount if isinstance(amount, Decimal) else Decimal(repr(amount) if isinstance(amount, float) else amount)
    except InvalidOperation:
        raise ValueError(f"{amount!r} is not an amount of dollars; write a number such as 2.50") from None
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{amount!r} is not an amount of dollars; write a finite number")  # noqa: TRY004 - as above
    if not value:
        return 0
    if value.adjusted() > _MAX_USD_EXPONENT:
        raise ValueError(f"{amount!r} dollars is more than can be meant; check the unit")
    shift = exponent + 9
    unsigned = int("".join(map(str, digits)))
    if shift >= 0:
        nano, rest = unsigned * _power(shift), 0
    elif -shift > len(digits):
        nano, rest = 0, 1
    else:
        nano, rest = divmod(unsigned, _power(-shift))
    if rest:
        raise ValueError(f"{amount!r} dollars is finer than a nano-dollar; round it to nine decimals")
    return -nano if sign else nano


def _power(exponent: int) -> int:
    return int(10**exponent)
