"""The verdict on a route as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.terminal import line, note, rows

WORDS = {"train": "train", "not_yet": "not yet", "stay": "stay"}
_BARS = 6


def verdict(found: Mapping[str, Any]) -> None:
    """The whole document of router/worth.py."""
    line(f"{found['route']}: {WORDS[found['verdict']]}. {_sentence(found['reason'])}")
    if found["sandbox"]:
        note("the hosted model is the sandbox provider: its prices are stated, not real")
    for said in found["notes"]:
        note(said)
    line("\na month at the traffic there is:")
    rows(
        [
            {"rung": name, "dollars": dollars(value), "": "recommended" if name == found["recommended_rung"] else ""}
            for name, value in found["monthly_usd"].items()
        ],
        ("rung", "dollars", ""),
    )
    even = found["break_even"]
    if even["tokens_per_day"] is not None:
        line(f"\nbreak-even at {even['tokens_per_day']:,} tokens a day ({span(even['low'], even['high'])}); {when(even)}")
    if even["utilisation"] is not None:
        room = f"peaks leave it {100 / found['assumptions']['peak']['value']:.3g} %"
        line(f"an own GPU is cheaper per token from {100 * even['utilisation']:.3g} % utilisation on; {room}")
    if found["sensitivity"]:
        line("\nwhat it depends on most (saving a month at either end of the range):")
        rows([bar(each) for each in found["sensitivity"][:_BARS]], ("assumption", "from", "to", "saving at from", "saving at to", "flips"))
    line("\nnext:")
    for step in found["next"]:
        line(f"  - {step}")


def bar(each: Mapping[str, Any]) -> dict[str, str]:
    """A row of the sensitivity."""
    return {
        "assumption": f"{each['name']} ({each['unit']})",
        "from": f"{each['low']:,.4g}",
        "to": f"{each['high']:,.4g}",
        "saving at from": dollars(each["saving_usd_low"]),
        "saving at to": dollars(each["saving_usd_high"]),
        "flips": "flips the verdict" if each["flips"] else "",
    }


def dollars(value: float | None) -> str:
    """An amount, or that nobody knows it."""
    return "unknown" if value is None else f"{value:,.2f}"


def span(low: int | None, high: int | None) -> str:
    """The break-even's range in words."""
    return f"{0 if low is None else low:,} to {high:,}" if high is not None else f"from {0 if low is None else low:,}; at worst at no volume"


def when(even: Mapping[str, Any]) -> str:
    """The date in words."""
    if even["date"] is None:
        return "no date: the traffic does not grow towards it, or growth is not known"
    return f"on {even['date']} as the traffic grows ({even['date_low'] or 'not known'} to {even['date_high'] or 'never'})"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
