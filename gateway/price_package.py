"""What the maintained price package says, read into our own terms: rates by kind and size of the request, since when they hold, when they change next, and how
new the data is. No provider of the configuration, no overrides: those are gateway.prices'.

None stands for what the package does not say: models nobody has priced, models with a fee per call (a price per token would understate them), a date before
the first recorded price, a service tier that is not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path

import genai_prices
from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, PriceVariant, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from gateway.config.prices import ORDINARY_TIERS
from router.money import parse_usd
from router.types import Price

SOURCE = f"genai-prices {genai_prices.__version__}"

_NANO_PLACES = Decimal("1e-9")
# Fees for what usage does not count: per call, per citation.
_UNCOUNTED = ("requests_kcount", "output_citation_mtok")
# OpenAI's words (and Azure's, who sells the same models): writing to the cache is free where no price for it is listed, so those tokens cost what input costs.
_FREE_CACHE_WRITES = frozenset({"openai", "azure"})

# A price of one kind as (above this many input tokens, nano-dollars per million tokens), the first from 0; None: unknown there. Empty: unknown throughout.
Brackets = tuple[tuple[int, int | None], ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of a model by kind (the names of router.types.Price) and size of the request."""

    input: Brackets
    output: Brackets
    cached: Brackets = ()
    cache_write: Brackets = ()
    reasoning: Brackets = ()
    audio_input: Brackets = ()
    audio_output: Brackets = ()

    @property
    def steps(self) -> list[int]:
        """The numbers of input tokens above which something costs another price, rising."""
        return sorted({start for kind in KINDS for start, _ in getattr(self, kind)[1:]})

    def at(self, input_tokens: int | None, source: str, notes: tuple[str, ...] = ()) -> Price:
        """The price of a request of that size; without a size the lowest bracket, and the source says so."""
        tokens, steps = input_tokens or 0, self.steps
        if steps and input_tokens is None:
            notes = (*notes, f"up to {steps[0]} input tokens")
        elif steps and tokens > steps[0]:
            notes = (*notes, f"above {max(step for step in steps if tokens > step)} input tokens")
        picked = {kind: _pick(getattr(self, kind), tokens) for kind in KINDS}
        entered, made = picked.pop("input"), picked.pop("output")
        return Price(input=entered or 0, output=made or 0, source=", ".join((source, *notes)), **picked)


KINDS = tuple(field.name for field in fields(Rates))


def listed(info: ModelInfo, at: datetime, service_tier: str | None) -> ModelPrice | None:
    """The package's entry that holds at `at`, with the changes of a service tier; None where it records none."""
    if isinstance(info.prices, list) and not any(_active(step, at) for step in info.prices):
        return None
    if is_ordinary(service_tier):
        return info.get_prices(at)
    context = {"processing": "batch"} if service_tier == "batch" else {"service_tier": str(service_tier)}
    recorded = any(_applies(variant, context) and _active(variant, at) for variant in info.price_variants or ())
    return info.get_prices(at, context) if recorded else None


def is_ordinary(service_tier: str | None) -> bool:
    """Whether an answer of this tier costs the list price."""
    return service_tier is None or service_tier in ORDINARY_TIERS


def tiers(info: ModelInfo, at: datetime) -> list[str]:
    """The service tiers with prices of their own at `at`."""
    named = {"batch" if variant.when.get("processing") == "batch" else variant.when.get("service_tier", "") for variant in info.price_variants or ()}
    return sorted(tier for tier in named if tier and not is_ordinary(tier) and listed(info, at, tier) is not None)


def rates(found: ModelPrice, provider: str = "") -> Rates | None:
    """An entry of the price list `provider` in our terms; None where it is not priced by the token alone."""
    if found.input_mtok is None or any(getattr(found, key) is not None for key in _UNCOUNTED):
        return None
    entered, cached, written = _brackets(found.input_mtok), _brackets(found.cache_read_mtok), _brackets(found.cache_write_mtok)
    return Rates(
        input=entered,
        # embeddings answer without output tokens and have no price for them
        output=_brackets(found.output_mtok) or ((0, 0),),
        cached=cached,
        cache_write=entered if cached and not written and provider in _FREE_CACHE_WRITES else written,
        reasoning=_brackets(found.output_reasoning_mtok),
        audio_input=_brackets(found.input_audio_mtok),
        audio_output=_brackets(found.output_audio_mtok),
    )


def since(info: ModelInfo, at: datetime, service_tier: str | None) -> date | None:
    """From which day the price that holds at `at` is recorded to hold; None: always."""
    if is_ordinary(service_tier):
        steps: list[ConditionalPrice | PriceVariant] = list(info.prices) if isinstance(info.prices, list) else []
        found = next((step for step in reversed(steps) if _active(step, at)), None)
    else:
        context = {"processing": "batch"} if service_tier == "batch" else {"service_tier": str(service_tier)}
        found = next((variant for variant in info.price_variants or () if _applies(variant, context) and _active(variant, at)), None)
    return found.constraint.start_date if found is not None and isinstance(found.constraint, StartDateConstraint) else None


def next_change(info: ModelInfo, at: datetime) -> float:
    """Epoch seconds at which the price may be another one; infinity: nothing is recorded."""
    steps: list[ConditionalPrice | PriceVariant] = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    found = [moment for step in steps for moment in _edges(step, at) if moment > at]
    return min(found).timestamp() if found else float("inf")


@cache
def as_of() -> date | None:
    """The newest price change in the data that had come into force when the package was installed here: the data is at least as new as that. None: it is
    not known when it was installed."""
    installed = datetime.fromtimestamp(Path(genai_prices.__file__).stat().st_mtime, UTC).date()
    steps: list[ConditionalPrice | PriceVariant] = []
    for provider in providers:
        for model in provider.models:
            steps += [*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ())]
    days = [step.constraint.start_date for step in steps if isinstance(step.constraint, StartDateConstraint)]
    return max((day for day in days if day <= installed), default=None)


def _edges(step: ConditionalPrice | PriceVariant, at: datetime) -> list[datetime]:
    if isinstance(step.constraint, StartDateConstraint):
        return [datetime.combine(step.constraint.start_date, time(), UTC)]
    if isinstance(step.constraint, TimeOfDateConstraint):
        today = at.astimezone(UTC).date()
        hours = (step.constraint.start_time, step.constraint.end_time)
        return [datetime.combine(today + timedelta(days=n), hour.replace(tzinfo=hour.tzinfo or UTC)) for n in (0, 1) for hour in hours]
    return []


def _active(step: ConditionalPrice | PriceVariant, at: datetime) -> bool:
    return step.constraint is None or step.constraint.active(at)


def _applies(variant: PriceVariant, context: dict[str, str]) -> bool:
    return all(context.get(key) == value for key, value in variant.when.items())


def _brackets(amount: Decimal | TieredPrices | None) -> Brackets:
    if amount is None:
        return ()
    if isinstance(amount, TieredPrices):
        return ((0, _nanousd(amount.base)), *((tier.start, _nanousd(tier.price)) for tier in amount.tiers))
    return ((0, _nanousd(amount)),)


def _nanousd(amount: Decimal) -> int:
    """Dollars per million tokens as nano-dollars per million tokens; a few lists divide by three and are rounded to a nano-dollar."""
    return parse_usd(amount.quantize(_NANO_PLACES, ROUND_HALF_EVEN))


def _pick(brackets: Brackets, input_tokens: int) -> int | None:
    return next((price for start, price in reversed(brackets) if input_tokens > start or start == 0), None)
