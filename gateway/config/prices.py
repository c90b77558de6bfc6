"""The `prices:` section: what a provider charges for a model, in dollars per million tokens, from when until when. What the amounts mean for a bill is in
router.money; which of them holds at an instant is decided by gateway.prices."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import Count, Instant, Name, Usd
from router.money import parse_usd
from router.types import Price

# What answers say that were made at the list price: OpenAI's, Groq's and Anthropic's words for it.
ORDINARY_TIERS = frozenset({"default", "auto", "standard", "on_demand"})
# Usage field by field, and the key that prices it. The first two have to be given; what is left out of the others is unknown, `cached` and `reasoning` apart:
# tokens from the cache then have no discount, reasoning costs what output costs.
AMOUNTS = (
    ("input", "input_usd_per_m"),
    ("output", "output_usd_per_m"),
    ("cached", "cached_input_usd_per_m"),
    ("cache_write", "cache_write_usd_per_m"),
    ("reasoning", "reasoning_usd_per_m"),
    ("audio_input", "audio_input_usd_per_m"),
    ("audio_output", "audio_output_usd_per_m"),
)


class Amounts(Section):
    """Dollars per million tokens, by kind."""

    input_usd_per_m: Usd
    cached_input_usd_per_m: Usd | None = None
    cache_write_usd_per_m: Usd | None = None
    output_usd_per_m: Usd
    reasoning_usd_per_m: Usd | None = None
    audio_input_usd_per_m: Usd | None = None
    audio_output_usd_per_m: Usd | None = None

    def nanousd(self) -> dict[str, int | None]:
        """Nano-dollars per million tokens by the names router.types.Price has; None where nothing was given."""
        found: dict[str, Decimal | None] = {name: getattr(self, key) for name, key in AMOUNTS}
        return {name: None if amount is None else parse_usd(amount) for name, amount in found.items()}


class PriceStep(Amounts):
    """What every token of a request costs whose input is longer than `input_tokens`."""

    input_tokens: Count


class PriceOverride(Amounts):
    """What a provider charges for a model from `effective` (always, when left out) until `until`, or until the next override of the same model and tier.

    `service_tier`: only for answers in this tier (`flex`, `priority`, `batch`); left out: for every tier that has no override of its own.
    """

    provider: Name
    model: Name
    effective: Instant | None = None
    until: Instant | None = None
    service_tier: Name | None = None
    above: tuple[PriceStep, ...] = Field(default=())

    @property
    def source(self) -> str:
        """Where the price comes from, as people read it."""
        since = "always" if self.effective is None else self.effective.isoformat().removesuffix("T00:00:00+00:00").replace("+00:00", "Z")
        return f"override {since}"

    def to_router(self) -> Price:
        """The price of a short request, in nano-dollars per million tokens."""
        amounts = self.nanousd()
        entered, made = amounts.pop("input"), amounts.pop("output")
        return Price(input=entered or 0, output=made or 0, source=self.source, **amounts)
