"""Reading the configuration again while the gateway runs: checked whole, then applied whole; what needs a restart stays as it was."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gateway import quotas
from gateway.config.load import load
from gateway.config.models import Config
from gateway.prices import PriceBook
from gateway.quotas import Budgets

# The tag of shadow calls, by route: what they may cost is its budget.
SHADOW_TAG = "shadow"
log = logging.getLogger("breakeven.config")

# Sockets, processes and files are made once; a change of these waits for the next start.
_FIXED = ("host", "port", "admin_port", "workers", "data_dir")


def reread(current: Config, environ: Mapping[str, str]) -> Config:
    """The file's configuration as it may be applied now. ConfigError with every problem when it is not valid."""
    fresh = load(current.source, environ)
    kept = {name: getattr(current.server, name) for name in _FIXED}
    changed = [f"server.{name}" for name in _FIXED if getattr(fresh.server, name) != kept[name]]
    if fresh.database != current.database:
        changed.append("database")
    if changed:
        log.warning("changes of %s are taken up at the next start", ", ".join(changed))
    return fresh.model_copy(update={"server": fresh.server.model_copy(update=kept), "database": current.database})


def price_book(config: Config) -> PriceBook:
    """The prices a configuration stands for."""
    return PriceBook(config.prices, {name: str(provider.base_url) for name, provider in config.providers.items()})


def budgets(config: Config) -> Budgets:
    """The budgets of routes and tags that a configuration sets."""
    routes = {name: quotas.of("route", name, name, route.budget.nanousd_per_day, route.budget.nanousd_per_month) for name, route in config.routes.items()}
    tags = {each.tag: quotas.of("tag", each.tag, each.tag, each.nanousd_per_day, each.nanousd_per_month) for each in config.budgets.tags}
    shadows = {f"{SHADOW_TAG}={name}": route.quality.shadow for name, route in config.routes.items() if route.quality.shadow.share > 0.0}
    tags |= {tag: quotas.of("tag", tag, tag, shadow.nanousd_per_day, None) for tag, shadow in shadows.items() if tag not in tags}
    return Budgets({name: found for name, found in routes.items() if found}, tags)
