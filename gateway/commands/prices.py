"""The command `breakeven prices`."""

from __future__ import annotations

import time

from gateway.commands.frame import ConfigPath, Json, configuration, show


def prices(model: str | None = None, config: ConfigPath = None, json: Json = False) -> None:
    """What each configured hosted model costs and where the figure comes from; unknown is shown as unknown."""
    from gateway import terminal_prices
    from gateway.price_listing import listing

    show(listing(configuration(config), model, time.time()), json, terminal_prices.prices)
