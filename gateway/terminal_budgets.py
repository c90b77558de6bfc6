"""Budgets as people see them in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import terminal


def budgets(found: Mapping[str, Any]) -> None:
    """Every budget, what is left of it and how it is going."""
    shown = [
        {
            "budget": f"{each['scope']} {each['name']}",
            "per": each["period"],
            "limit": f"${each['limit_usd']}",
            "spent": f"${each['spent_usd']} ({_share(each)})",
            "reserved": None if each["reserved_usd"] is None else f"${each['reserved_usd']}",
            "left": f"${each['left_usd']}",
            "forecast": None if each["forecast_usd"] is None else f"${each['forecast_usd']}",
            "gone": "now" if each["exhausted"] else each["exhausted_at"],
            "resets": each["resets_at"],
        }
        for each in found["data"]
    ]
    columns = ("budget", "per", "limit", "spent", "reserved", "left", "forecast", "gone", "resets")
    terminal.rows(shown, columns, "no budgets: set one on a route or tag in the configuration, or with breakeven keys update ID --usd-per-day 20")
    if found["data"] and not found.get("live", True):
        terminal.line("no gateway runs here: what is reserved is not known, and the newest requests may be missing")


def _share(budget: Mapping[str, Any]) -> str:
    limit = budget["limit_nanousd"]
    return f"{budget['spent_nanousd'] / limit:.0%}" if limit else "-"
