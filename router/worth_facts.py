"""What the verdict on a route is made from: its traffic, the rungs the ladder measured, prices and assumptions; and what follows from them at once. Values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.assumptions import Assumption
from router.economy import Economy

HOSTED, BASE, TRAINED = "zero_shot_hosted", "zero_shot_base", "fine_tuned"
LOCAL = frozenset({BASE, TRAINED})


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the ledger saw of the route, a day: means over `days` whole days. `growth` is the change per month as a share with its 95 % interval; None: too few
    days to tell. `spread` is the standard error of `tokens`."""

    days: int = 0
    requests: float = 0.0
    input_tokens: float = 0.0
    cached_tokens: float = 0.0
    output_tokens: float = 0.0
    spread: float = 0.0
    growth: float | None = None
    growth_low: float | None = None
    growth_high: float | None = None

    @property
    def tokens(self) -> float:
        """Tokens a day."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Rung:
    """One way of answering as the ladder measured it. `cost_factor`: dollars per request over those of the hosted model as it is (None: unknown; local rungs:
    GPU work over that of the same tokens). `good`: no worse than the best rung by more than the floor; `proven`: the suite proves it."""

    name: str
    backend: str
    quality: float
    low: float
    high: float
    good: bool
    proven: bool
    cost_factor: float | None
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the verdict is made from. `hosted_usd_per_m`: a million tokens of the route's mix at its first hosted candidate; None: unknown.
    `missing`: what nobody knows and how to say it. `now`: epoch seconds."""

    route: str
    now: float
    traffic: Traffic
    hosted_usd_per_m: float | None
    assumptions: Mapping[str, Assumption]
    rungs: Sequence[Rung] = ()
    missing: Sequence[str] = ()
    sandbox: bool = False
    notes: Sequence[str] = field(default_factory=tuple)


def volume(traffic: Traffic, horizon_months: float) -> float:
    """The tokens a day to judge by: today's, or where traffic shrinks for certain their mean until the horizon. Growth is not counted on."""
    if traffic.growth is None or traffic.growth_high is None or traffic.growth_high >= 0.0:
        return traffic.tokens
    rate = math.log(max(1.0 + traffic.growth, 1e-6))
    return traffic.tokens * (math.exp(rate * horizon_months) - 1.0) / (rate * horizon_months)


def economy_of(facts: Facts, values: Mapping[str, float]) -> Economy:
    """The numbers with the cheapest way of answering without training as the alternative, and the GPU work of the trained one."""
    factor = next((rung.cost_factor for rung in facts.rungs if rung.name == TRAINED and rung.cost_factor is not None), 1.0)
    numbers = {**values, "gpu_s_per_m": values["gpu_s_per_m"] * factor}
    return Economy(usd_per_m=(facts.hosted_usd_per_m or 0.0) * alternative(facts)[1], **numbers)


def alternative(facts: Facts) -> tuple[str, float]:
    """The cheapest hosted rung that is good enough, and its cost factor; where none is, the best of them; before any evaluation the model as it is."""
    hosted = [(rung.name, rung.cost_factor, rung.quality) for rung in facts.rungs if rung.name not in LOCAL and rung.cost_factor is not None and rung.good]
    if hosted:
        name, factor, _ = min(hosted, key=lambda rung: (rung[1], -rung[2]))
        return name, factor
    known = [(rung.name, rung.cost_factor, rung.quality) for rung in facts.rungs if rung.name not in LOCAL and rung.cost_factor is not None]
    if known:
        name, factor, _ = max(known, key=lambda rung: (rung[2], -rung[1]))
        return name, factor
    return HOSTED, 1.0
