"""The price book: what a provider charges for a model at an instant, from a maintained package and the overrides of the configuration. No network.

A price is known or it is None; nothing is guessed. None are: models nobody has priced, models with a fee per call (a price per token would understate
them), a date before the first recorded price, a service tier that is not recorded. Text tokens only: audio and image tokens have prices of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from genai_prices import __version__ as _package_version
from genai_prices.data import providers as _package_providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from gateway.config.models import Config, PriceOverride
from router.money import parse_usd, usd
from router.types import Price

_NANO_PLACES = Decimal("1e-9")
_MAX_REMEMBERED = 4096  # model names come from clients too
_PER_CALL = "requests_kcount"
_STANDARD = (None, "default", "auto")

Brackets = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Rates:
    """Nano-dollars per million tokens as (above this many input tokens, price), the first from 0. `cached` empty: no discount is known.

    `writes`: this provider also charges for filling its cache, which usage in router.types does not count.
    """

    input: Brackets
    output: Brackets
    cached: Brackets
    writes: bool


def book(config: Config) -> PriceBook:
    """The price book of a configuration."""
    return PriceBook(config.prices, {name: provider.base_url for name, provider in config.providers.items()})


def listing(config: Config, model: str | None, now: float) -> dict[str, object]:
    """What the hosted models a configuration names cost at `now` (epoch seconds), as a list document; with `model`, that one at every provider."""
    if model is None:
        named = [(c.owner, c.model or "") for route in config.routes.values() for c in route.candidates if c.kind == "hosted"]
        named += [(name, listed) for name, provider in config.providers.items() for listed in provider.listed if listed != "*"]
        named += [(override.provider, override.model) for override in config.prices]
    else:
        named = [(name, model) for name in config.providers]
    prices = book(config)
    rows = [_row(name, wanted, prices.price(name, config.providers[name].kind, wanted, now)) for name, wanted in dict.fromkeys(named)]
    return {"object": "list", "data": rows, "has_more": False, "next_cursor": None}


def _row(provider: str, model: str, price: Price | None) -> dict[str, object]:
    amounts = (None, None, None) if price is None else (price.input, price.cached, price.output)
    row: dict[str, object] = {"provider": provider, "model": model}
    for name, amount in zip(("input", "cached_input", "output"), amounts, strict=True):
        row |= {f"{name}_nanousd_per_m": amount, f"{name}_usd_per_m": usd(amount)}
    return row | {"cost_state": "unknown" if price is None else "known", "source": None if price is None else price.source}


class PriceBook:
    """Prices by provider name, provider kind, model and instant. Built once per configuration, safe to share between threads.

    `base_urls` maps a provider's name to its address: it tells whose price list a provider of kind `compatible` has.
    """

    def __init__(self, overrides: Iterable[PriceOverride] = (), base_urls: Mapping[str, str] | None = None) -> None:
        self._overrides: dict[tuple[str, str], list[tuple[float, Price]]] = {}
        for override in overrides:
            since = float("-inf") if override.effective is None else override.effective.timestamp()
            self._overrides.setdefault((override.provider, override.model), []).append((since, override.to_router()))
        for entries in self._overrides.values():
            entries.sort(key=lambda entry: entry[0])
        self._base_urls = dict(base_urls or {})
        # a snapshot of our own: the package's shared one can be replaced by its updater
        self._package = DataSnapshot(providers=_package_providers, from_auto_update=False)
        self._read: dict[int, _Rates | None] = {}
        self._models: dict[tuple[str, str, str], ModelInfo | None] = {}

    @property
    def source(self) -> str:
        """Where prices come from that no override gives."""
        return f"genai-prices {_package_version}"

    def price(
        self, provider: str, kind: str, model: str, at: datetime | float, *, input_tokens: int | None = None, service_tier: str | None = None
    ) -> Price | None:
        """What `provider` (of `kind` openai, azure or compatible) charges for `model` at `at`; None: unknown.

        Some models cost more above a number of input tokens: give `input_tokens` for the price of one request; without it the lowest bracket is
        returned and `source` says so. `service_tier` is what the answer says (`flex`, `priority`), or `batch`; an override holds for every tier.
        """
        override = self._override(provider, model, at)
        if override is not None:
            return override
        info = self._find(provider, kind, model)
        if info is None:
            return None
        when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
        listed = _listed(info, when, service_tier)
        rates = None if listed is None else self._rates_of(listed, service_tier)
        return None if rates is None else self._at(rates, input_tokens, service_tier)

    def context_tokens(self, model: str, provider: str = "openai", kind: str = "openai") -> int | None:
        """How many tokens the model reads at most; None: unknown."""
        info = self._find(provider, kind, model)
        return None if info is None else info.context_window

    def _override(self, provider: str, model: str, at: datetime | float) -> Price | None:
        entries = self._overrides.get((provider, model))
        if entries is None:
            return None
        instant = at.timestamp() if isinstance(at, datetime) else at
        return next((price for since, price in reversed(entries) if since <= instant), None)

    def _rates_of(self, listed: ModelPrice, service_tier: str | None) -> _Rates | None:
        if service_tier not in _STANDARD:
            return _rates(listed)  # a copy made for this call
        if id(listed) not in self._read:
            self._read[id(listed)] = _rates(listed)  # one of the package's own, alive as long as this book
        return self._read[id(listed)]

    def _at(self, rates: _Rates, input_tokens: int | None, service_tier: str | None) -> Price:
        tokens = input_tokens or 0
        notes = [] if service_tier in _STANDARD else [f"{service_tier} tier"]
        steps = {start for brackets in (rates.input, rates.output, rates.cached) for start, _ in brackets[1:]}
        if steps and input_tokens is None:
            notes.append(f"up to {min(steps)} input tokens")
        elif any(tokens > start for start in steps):
            notes.append(f"above {max(start for start in steps if tokens > start)} input tokens")
        if rates.writes:
            notes.append("without cache writes")
        cached = _pick(rates.cached, tokens) if rates.cached else None
        return Price(_pick(rates.input, tokens), _pick(rates.output, tokens), cached, ", ".join([self.source, *notes]))

    def _find(self, provider: str, kind: str, model: str) -> ModelInfo | None:
        key = (provider, kind, model)
        if key not in self._models:
            if len(self._models) >= _MAX_REMEMBERED:
                self._models.clear()
            lists = self._price_list(provider, kind)
            self._models[key] = None if lists is None else lists.find_model(model, all_providers=self._package.providers)
        return self._models[key]

    def _price_list(self, provider: str, kind: str) -> Provider | None:
        address = self._base_urls.get(provider)
        try:
            if kind in {"openai", "azure"}:
                return self._package.find_provider(None, kind, None)
            return None if address is None else self._package.find_provider(None, None, address)
        except LookupError:
            return None


def _listed(info: ModelInfo, at: datetime, service_tier: str | None) -> ModelPrice | None:
    """The package's entry that holds at `at`, with the changes of a service tier; None where it records none."""
    if isinstance(info.prices, list) and not any(step.constraint is None or step.constraint.active(at) for step in info.prices):
        return None
    if service_tier in _STANDARD:
        return info.get_prices(at)
    context = {"processing": "batch"} if service_tier == "batch" else {"service_tier": str(service_tier)}
    recorded = any(
        all(context.get(key) == value for key, value in variant.when.items()) and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )
    return info.get_prices(at, context) if recorded else None


def _rates(listed: ModelPrice) -> _Rates | None:
    if listed.input_mtok is None or getattr(listed, _PER_CALL) is not None:
        return None
    # embeddings answer without output tokens and have no price for them
    output = ((0, 0),) if listed.output_mtok is None else _brackets(listed.output_mtok)
    cached = () if listed.cache_read_mtok is None else _brackets(listed.cache_read_mtok)
    return _Rates(_brackets(listed.input_mtok), output, cached, listed.cache_write_mtok is not None)


def _brackets(amount: Decimal | TieredPrices) -> Brackets:
    if isinstance(amount, TieredPrices):
        return ((0, _nanousd(amount.base)), *((tier.start, _nanousd(tier.price)) for tier in amount.tiers))
    return ((0, _nanousd(amount)),)


def _nanousd(amount: Decimal) -> int:
    """Dollars per million tokens as nano-dollars per million tokens; a few lists divide by three and are rounded to a nano-dollar."""
    return parse_usd(amount.quantize(_NANO_PLACES, ROUND_HALF_EVEN))


def _pick(brackets: Brackets, input_tokens: int) -> int:
    return next(price for start, price in reversed(brackets) if input_tokens > start or start == 0)
