"""The price book as it is shown: what each hosted model in use costs by kind, where that comes from, since when, and how old the data is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gateway import price_package as package
from gateway.config.models import Config
from gateway.prices import PriceBook, book
from gateway.store.period import rfc3339
from router.errors import Problem
from router.money import usd
from router.types import Price

# Providers change prices every few weeks and the package follows within days: after two months without a change it is behind.
STALE_AFTER_DAYS = 60

# The kinds as they are shown, beside the names router.types.Price has.
_SHOWN = {
    "input": "input",
    "cached_input": "cached",
    "cache_write": "cache_write",
    "output": "output",
    "reasoning": "reasoning",
    "audio_input": "audio_input",
    "audio_output": "audio_output",
}


def listing(config: Config, model: str | None, now: float) -> dict[str, Any]:
    """What the hosted models a configuration names cost at `now` (epoch seconds), as a list document; with `model`, that one at every provider."""
    named = _named(config) if model is None else [(name, model) for name in config.providers]
    prices, age = book(config), data_age(now)
    rows = [_row(config, prices, name, wanted, now, age) for name, wanted in dict.fromkeys(named)]
    return {"object": "list", "data": rows, "has_more": False, "next_cursor": None, "package": age}


def data_age(now: float) -> dict[str, Any]:
    """Which package the prices come from that no override gives, and how old its data is at most. Nulls: it is not known when it was installed."""
    as_of = package.as_of()
    days = None if as_of is None else max((datetime.fromtimestamp(now, UTC).date() - as_of).days, 0)
    return {
        "source": package.SOURCE,
        "as_of": None if as_of is None else as_of.isoformat(),
        "age_days": days,
        "stale": None if days is None else days > STALE_AFTER_DAYS,
        "stale_after_days": STALE_AFTER_DAYS,
    }


def doubts(config: Config, now: float) -> list[Problem]:
    """What `breakeven check` warns of: models in use whose price is unknown, so that their costs will be, and data that is old."""
    prices, file = book(config), str(config.source)
    found = [
        Problem(f"{provider}/{model}: its price is unknown, so its costs will be: give it in prices:", file, key=place)
        for place, provider, model in _in_use(config)
        if prices.price(provider, config.providers[provider].kind, model, now) is None
    ]
    age = data_age(now)
    if age["stale"]:
        what = f"{age['source']} knows of no price change after {age['as_of']}, {age['age_days']} days ago"
        found.append(Problem(f"{what}: upgrade the package genai-prices, or give what has changed in prices:", file, key="prices"))
    return found


def _named(config: Config) -> list[tuple[str, str]]:
    return [(provider, model) for _, provider, model in _in_use(config)] + [(override.provider, override.model) for override in config.prices]


def _in_use(config: Config) -> Iterator[tuple[str, str, str]]:
    """Where a hosted model is named, its provider and itself; each once."""
    seen: set[tuple[str, str]] = set()
    routes = (
        (f"routes.{route}.candidates[{n}]", c.owner, c.model or "")
        for route, section in config.routes.items()
        for n, c in enumerate(section.candidates)
        if c.kind == "hosted"
    )
    listed = (
        (f"providers.{name}.models[{n}]", name, model) for name, provider in config.providers.items() for n, model in enumerate(provider.listed) if model != "*"
    )
    for place, provider, model in (*routes, *listed):
        if (provider, model) not in seen:
            seen.add((provider, model))
            yield place, provider, model


def _row(config: Config, prices: PriceBook, provider: str, model: str, now: float, age: dict[str, Any]) -> dict[str, Any]:
    kind = config.providers[provider].kind
    quote = prices.quote(provider, kind, model, now)
    price = None if quote is None else quote.rates.at(None, quote.source, quote.notes)
    from_package = quote is not None and quote.source == age["source"]
    return {
        "provider": provider,
        "model": model,
        **_amounts(price),
        "cost_state": "unknown" if price is None else "known",
        "source": None if price is None else price.source,
        "effective": None if quote is None or quote.since is None else rfc3339(quote.since),
        "age_days": age["age_days"] if from_package else None,
        "stale": age["stale"] if from_package else None if quote is None else False,
        "variants": list(_variants(prices, provider, kind, model, now)),
    }


def _variants(prices: PriceBook, provider: str, kind: str, model: str, now: float) -> Iterator[dict[str, Any]]:
    """The other prices of a model: of long requests and of service tiers."""
    for tier in (None, *prices.tiers(provider, kind, model, now)):
        quote = prices.quote(provider, kind, model, now, tier)
        if quote is None:
            continue
        for start in (0, *quote.rates.steps):
            if tier is not None or start:
                yield {"service_tier": tier, "above_input_tokens": start, **_amounts(quote.rates.at(start + 1, quote.source))}


def _amounts(price: Price | None) -> dict[str, int | str | None]:
    found: dict[str, int | str | None] = {}
    for shown, name in _SHOWN.items():
        amount = None if price is None else getattr(price, name)
        found |= {f"{shown}_nanousd_per_m": amount, f"{shown}_usd_per_m": usd(amount)}
    return found
