"""How much the verdict depends on each number: every assumption moved alone over its range, and the range of the break-even that follows. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from router import economy
from router.assumptions import Assumption
from router.economy import Economy
from router.worth_facts import Facts


def cents(value: float | None) -> float | None:
    """Dollars as they are shown; None stays unknown."""
    return None if value is None else round(value, 2)


def whole(value: float | None) -> int | None:
    """Tokens as they are shown."""
    return None if value is None else round(value)


def sensitivity(facts: Facts, made: Economy, tokens: float, even: float | None, trains: bool) -> tuple[float | None, float | None, list[dict[str, Any]]]:
    """The break-even's range (each number moved alone over its range, put together as independent: in quadrature of the logarithms), and the tornado's bars,
    longest first. None above: at the far end training pays at no volume."""
    below = above = 0.0
    never, bars = even is None, []
    for name, item in [*facts.assumptions.items(), *_measured(facts, tokens)]:
        ends = []
        for value in (item.low, item.high):
            other, amount = (made, value) if name == "tokens_per_day" else (_moved(facts, made, name, value), tokens)
            ends.append((value, economy.break_even_tokens(other), economy.saving_usd(other, amount)))
        if ends[0][1:] == ends[1][1:]:
            continue
        for _, there, _ in ends:
            if there is None:
                never = True
            elif even is not None:
                step = math.log(there / even)
                below, above = (below + step * step, above) if step < 0.0 else (below, above + step * step)
        bars.append(_bar(item, ends, trains))
    bars.sort(key=lambda bar: -abs(bar["saving_usd_high"] - bar["saving_usd_low"]))
    if even is None:
        return None, None, bars
    return even * math.exp(-math.sqrt(below)), None if never else even * math.exp(math.sqrt(above)), bars


def _measured(facts: Facts, tokens: float) -> list[tuple[str, Assumption]]:
    """What is measured or listed, and still may be otherwise tomorrow: the price and the traffic."""
    price, off = facts.hosted_usd_per_m or 0.0, 1.96 * facts.traffic.spread
    return [
        ("usd_per_m", Assumption("usd_per_m", price, price * 0.5, price, "USD/M tokens", "the price may be half as high before the horizon", "measured")),
        ("tokens_per_day", Assumption("tokens_per_day", tokens, max(0.0, tokens - off), tokens + off, "tokens/day", "the days differ", "measured")),
    ]


def _moved(facts: Facts, made: Economy, name: str, value: float) -> Economy:
    if name in ("usd_per_m", "gpu_s_per_m"):
        base = facts.hosted_usd_per_m if name == "usd_per_m" else facts.assumptions["gpu_s_per_m"].value
        return economy.with_value(made, name, getattr(made, name) * (value / base if base else 1.0))
    return economy.with_value(made, name, value)


def _bar(item: Assumption, ends: Sequence[tuple[float, float | None, float]], trains: bool) -> dict[str, Any]:
    (low, even_low, saving_low), (high, even_high, saving_high) = ends
    flips = any((saving > 0.0) != trains for saving in (saving_low, saving_high))
    return {
        "name": item.name,
        "unit": item.unit,
        "value": item.value,
        "low": low,
        "high": high,
        "tokens_per_day_low": whole(even_low),
        "tokens_per_day_high": whole(even_high),
        "saving_usd_low": cents(saving_low),
        "saving_usd_high": cents(saving_high),
        "flips": flips,
    }
