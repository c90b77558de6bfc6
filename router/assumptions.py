"""What the verdict takes for granted where nobody measured it: each number with its range and where it comes from. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Origin = Literal["default", "configured", "measured", "given"]


@dataclass(frozen=True, slots=True)
class Assumption:
    """One number of the arithmetic. `low` and `high` are how far it may reasonably be off; `origin` says who said so, `source` why."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    origin: Origin = "default"

    def set(self, value: float, origin: Origin, source: str, spread: float | None = None) -> Assumption:
        """The same with a value somebody stated. The range keeps its proportions, or becomes `spread` (a share) up and down."""
        if spread is None:
            lower, upper = (self.low / self.value, self.high / self.value) if self.value else (1.0, 1.0)
        else:
            lower, upper = 1.0 - spread, 1.0 + spread
        return replace(self, value=value, low=value * lower, high=value * upper, origin=origin, source=source)


_WAGE = "US Bureau of Labor Statistics: a software developer's median wage of 133,080 dollars a year (May 2024), times 1.42 for benefits, over 52 weeks of 40 h"
# Names are the fields of router.economy.Economy that nobody can read off the ledger.
DEFAULTS: tuple[Assumption, ...] = (
    Assumption("gpu_hour_usd", 1.50, 1.00, 2.50, "USD/h", "a rented A100 at 1 to 1.50 dollars an hour, published 2026; an H100 costs up to 2.50"),
    Assumption("gpu_s_per_m", 333.0, 167.0, 667.0, "s", "published: 7-8B models on an A100 at full use, 3,000 to 6,000 tokens/s less 5 to 25 % for LoRA"),
    Assumption("peak", 3.0, 1.5, 6.0, "times the mean", "an assumption: the busiest hour of an office day; measured once the ledger has a week of traffic"),
    Assumption("gpu_hours_per_month", 730.5, 730.5, 730.5, "h", "a GPU that is there day and night"),
    Assumption(
        "label_items",
        2000,
        1000,
        4000,
        "items",
        "930 to 1,550 gold items prove a margin of 2 points, and some hundreds to train on",
    ),
    Assumption("label_usd", 1.0, 0.25, 4.0, "USD/item", "an assumption: two minutes of somebody who costs 30 dollars an hour"),
    Assumption("engineering_weeks", 4, 2, 8, "weeks", "an assumption: dataset, evaluation, roll-out and monitoring of a first adapter"),
    Assumption("week_usd", 3630, 2500, 6000, "USD/week", _WAGE),
    Assumption("training_gpu_hours", 10, 3, 40, "h", "20 minutes for 2,000 examples of 600 tokens, three times (published), and some dozens of runs"),
    Assumption("evaluation_usd", 50, 10, 300, "USD", "an assumption: the ladder over the suite, with its hosted answers, a few times"),
    Assumption("operation_hours", 8, 4, 24, "h/month", "an assumption: watching, a retraining a quarter, upgrades"),
    Assumption("operation_hour_usd", 91, 60, 150, "USD/h", _WAGE),
    Assumption("horizon_months", 12, 6, 24, "months", "an assumption: by then hosted prices and models have changed"),
)
NAMES = tuple(each.name for each in DEFAULTS)


def stated(known: Mapping[str, Assumption], values: Mapping[str, float], origin: Origin, source: str) -> dict[str, Assumption]:
    """`known` with values somebody stated, by name. KeyError for a name there is none of."""
    return dict(known) | {name: known[name].set(value, origin, source) for name, value in values.items()}


def defaults() -> dict[str, Assumption]:
    """All of them by name."""
    return {each.name: each for each in DEFAULTS}
