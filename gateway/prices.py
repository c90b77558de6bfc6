"""The price book: what a provider charges for a model at an instant, from a maintained package and the overrides of the configuration. No network.

A price is known or it is None; nothing is guessed. How the package is read is in price_package.py, what overrides may say in config/prices.py, how the book
is shown in price_listing.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from genai_prices.data import providers as _package_providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider

from gateway import price_package as package
from gateway.config.models import Config
from gateway.config.prices import AMOUNTS, PriceOverride
from gateway.price_package import Rates
from router.types import Price

_MAX_REMEMBERED = 4096  # model names come from clients too
_INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class Quote:
    """What is known of a price: by kind and size, where from, since when (epoch seconds; None: always), and what else is to be said of it."""

    rates: Rates
    source: str
    since: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Override:
    """An override in force from `since` (included) to `until` (not included), epoch seconds."""

    since: float
    until: float
    quote: Quote


def book(config: Config) -> PriceBook:
    """The price book of a configuration."""
    return PriceBook(config.prices, {name: provider.base_url for name, provider in config.providers.items()})


class PriceBook:
    """Prices by provider name, provider kind, model and instant. Built once per configuration, safe to share between threads.

    `base_urls` maps a provider's name to its address: it tells whose price list a provider of kind `compatible` has.
    """

    def __init__(self, overrides: Iterable[PriceOverride] = (), base_urls: Mapping[str, str] | None = None) -> None:
        self._overrides = _by_model(overrides)
        self._base_urls = dict(base_urls or {})
        # a snapshot of our own: the package's shared one can be replaced by its updater
        self._package = DataSnapshot(providers=_package_providers, from_auto_update=False)
        self._read: dict[tuple[int, str], Rates | None] = {}
        self._models: dict[tuple[str, str, str], tuple[ModelInfo, str] | None] = {}

    @property
    def source(self) -> str:
        """Where prices come from that no override gives."""
        return package.SOURCE

    def price(
        self, provider: str, kind: str, model: str, at: datetime | float, *, input_tokens: int | None = None, service_tier: str | None = None
    ) -> Price | None:
        """What `provider` (of `kind` openai, azure or compatible) charges for `model` at `at`; None: unknown.

        Some models cost more above a number of input tokens: give `input_tokens` for the price of one request; without it the lowest bracket is
        returned and `source` says so. `service_tier` is what the answer says (`flex`, `priority`), or `batch`; an override holds for every tier that has
        no override of its own.
        """
        found = self.quote(provider, kind, model, at, service_tier)
        return None if found is None else found.rates.at(input_tokens, found.source, found.notes)

    def quote(self, provider: str, kind: str, model: str, at: datetime | float, service_tier: str | None = None) -> Quote | None:
        """The price by kind and size of the request, and what is known about it; None: unknown."""
        override = self._override(provider, model, at.timestamp() if isinstance(at, datetime) else at, service_tier)
        if override is not None:
            return override
        found = self._find(provider, kind, model)
        if found is None:
            return None
        (info, owner), when = found, at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
        listed = package.listed(info, when, service_tier)
        rates = None if listed is None else self._rates_of(listed, owner, service_tier)
        if rates is None:
            return None
        day = package.since(info, when, service_tier)
        since = None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        return Quote(rates, self.source, since, () if package.is_ordinary(service_tier) else (f"{service_tier} tier",))

    def tiers(self, provider: str, kind: str, model: str, at: float) -> list[str]:
        """The service tiers that have prices of their own at `at`."""
        found = self._find(provider, kind, model)
        named = set() if found is None else set(package.tiers(found[0], datetime.fromtimestamp(at, UTC)))
        named |= {tier for tier, spans in self._overrides.get((provider, model), {}).items() if tier is not None and _in_force(spans, at) is not None}
        return sorted(named)

    def next_change(self, provider: str, kind: str, model: str, at: float) -> float:
        """Epoch seconds up to which the price of `at` holds for certain; infinity where no change is recorded."""
        edges = [edge for spans in self._overrides.get((provider, model), {}).values() for span in spans for edge in (span.since, span.until) if edge > at]
        found = self._find(provider, kind, model)
        return min([*edges, _INFINITE if found is None else package.next_change(found[0], datetime.fromtimestamp(at, UTC))])

    def context_tokens(self, model: str, provider: str = "openai", kind: str = "openai") -> int | None:
        """How many tokens the model reads at most; None: unknown."""
        found = self._find(provider, kind, model)
        return None if found is None else found[0].context_window

    def _override(self, provider: str, model: str, at: float, service_tier: str | None) -> Quote | None:
        tiers = self._overrides.get((provider, model))
        if tiers is None:
            return None
        own = None if package.is_ordinary(service_tier) else _in_force(tiers.get(service_tier, ()), at)
        return own or _in_force(tiers.get(None, ()), at)

    def _rates_of(self, listed: ModelPrice, owner: str, service_tier: str | None) -> Rates | None:
        if not package.is_ordinary(service_tier):
            return package.rates(listed, owner)  # a copy made for this call
        key = (id(listed), owner)
        if key not in self._read:
            self._read[key] = package.rates(listed, owner)  # one of the package's own, alive as long as this book
        return self._read[key]

    def _find(self, provider: str, kind: str, model: str) -> tuple[ModelInfo, str] | None:
        """The package's entry, and whose list it stands in."""
        key = (provider, kind, model)
        if key not in self._models:
            if len(self._models) >= _MAX_REMEMBERED:
                self._models.clear()
            lists = self._price_list(provider, kind)
            info = None if lists is None else lists.find_model(model, all_providers=self._package.providers)
            self._models[key] = None if info is None or lists is None else (info, lists.id)
        return self._models[key]

    def _price_list(self, provider: str, kind: str) -> Provider | None:
        address = self._base_urls.get(provider)
        try:
            if kind in {"openai", "azure"}:
                return self._package.find_provider(None, kind, None)
            return None if address is None else self._package.find_provider(None, None, address)
        except LookupError:
            return None


def _by_model(overrides: Iterable[PriceOverride]) -> dict[tuple[str, str], dict[str | None, tuple[_Override, ...]]]:
    """By provider and model, then by service tier (None: all of them); each ends where the next one begins, if not before."""
    given: dict[tuple[str, str], dict[str | None, list[PriceOverride]]] = {}
    for override in overrides:
        given.setdefault((override.provider, override.model), {}).setdefault(override.service_tier, []).append(override)
    return {model: {tier: _spans(entries) for tier, entries in tiers.items()} for model, tiers in given.items()}


def _spans(entries: list[PriceOverride]) -> tuple[_Override, ...]:
    starts = [(-_INFINITE if entry.effective is None else entry.effective.timestamp(), entry) for entry in entries]
    starts.sort(key=lambda item: item[0])
    ends = [*(since for since, _ in starts[1:]), _INFINITE]
    found = []
    for (since, entry), end in zip(starts, ends, strict=True):
        until = end if entry.until is None else min(end, entry.until.timestamp())
        found.append(_Override(since, until, _quote(entry)))
    return tuple(found)


def _in_force(spans: Iterable[_Override], at: float) -> Quote | None:
    return next((span.quote for span in spans if span.since <= at < span.until), None)


def _quote(entry: PriceOverride) -> Quote:
    steps = [(0, entry.nanousd()), *((step.input_tokens, step.nanousd()) for step in entry.above)]
    kinds = {name: tuple((start, amounts[name]) for start, amounts in steps) for name, _ in AMOUNTS}
    known = {name: brackets for name, brackets in kinds.items() if any(price is not None for _, price in brackets)}
    since = None if entry.effective is None else entry.effective.timestamp()
    return Quote(Rates(**known), entry.source, since, () if entry.service_tier is None else (f"{entry.service_tier} tier",))
