"""What answering a route on one's own GPU costs a month, and from which daily volume on a trained adapter pays for itself. Pure arithmetic in dollars.

Forecasts, not books: floats, rounded where they are shown. With V tokens a day, a hosted price h per token, a GPU that costs G a month and carries at most C
tokens a day, n GPUs cost

    running(V) = min over n >= 1 of  n x G + max(0, V - n x C) x 30.4375 x h      (what does not fit is answered by the hosted model, as the router does),

so that more traffic and dearer hosted tokens can only make it more worth while. C is what the GPU does at full use divided by the peak factor. Not here:
which assumption holds (worth.py), what is measured (the gateway).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

DAYS_PER_MONTH = 365.25 / 12
_MILLION = 1_000_000
_MOST_TOKENS = 1e15  # a day: beyond anything that exists


@dataclass(frozen=True, slots=True)
class Economy:
    """Everything the arithmetic needs. Dollars; `usd_per_m` is what a million tokens of the route's mix cost at the best alternative to training, `gpu_s_per_m`
    how long they keep one GPU busy at full use; `peak` is the busiest hour over the mean one, at least 1."""

    usd_per_m: float
    gpu_hour_usd: float
    gpu_s_per_m: float
    peak: float
    gpu_hours_per_month: float
    label_items: float
    label_usd: float
    engineering_weeks: float
    week_usd: float
    training_gpu_hours: float
    evaluation_usd: float
    operation_hours: float
    operation_hour_usd: float
    horizon_months: float

    @property
    def gpu_month_usd(self) -> float:
        """One GPU, a month."""
        return self.gpu_hour_usd * self.gpu_hours_per_month

    @property
    def tokens_per_gpu_day(self) -> float:
        """What one GPU carries with room for the peaks, tokens a day."""
        return self.gpu_hours_per_month / DAYS_PER_MONTH * 3600.0 / self.gpu_s_per_m * _MILLION / self.peak

    @property
    def one_off_usd(self) -> float:
        """Labels, work, training and evaluation, once."""
        return self.label_items * self.label_usd + self.engineering_weeks * self.week_usd + self.training_gpu_hours * self.gpu_hour_usd + self.evaluation_usd

    @property
    def operation_usd(self) -> float:
        """Looking after it, a month."""
        return self.operation_hours * self.operation_hour_usd

    @property
    def gpu_usd_per_m(self) -> float:
        """A million tokens on a GPU that never rests."""
        return self.gpu_hour_usd * self.gpu_s_per_m / 3600.0


def hosted_usd(economy: Economy, tokens: float) -> float:
    """A month of the alternative at `tokens` a day."""
    return tokens * DAYS_PER_MONTH / _MILLION * economy.usd_per_m


def running_usd(economy: Economy, tokens: float) -> float:
    """A month of own GPUs, and of the alternative for what does not fit, at `tokens` a day."""
    room = economy.tokens_per_gpu_day
    whole = max(1, math.floor(tokens / room))
    return min(n * economy.gpu_month_usd + hosted_usd(economy, max(0.0, tokens - n * room)) for n in {1, whole, whole + 1})


def trained_usd(economy: Economy, tokens: float) -> float:
    """The same with operation, and with the one-off costs spread over the horizon."""
    return running_usd(economy, tokens) + economy.operation_usd + economy.one_off_usd / economy.horizon_months


def saving_usd(economy: Economy, tokens: float) -> float:
    """What training saves a month, everything counted; below 0 it costs more than it saves."""
    return hosted_usd(economy, tokens) - trained_usd(economy, tokens)


def break_even_tokens(economy: Economy) -> float | None:
    """The tokens a day from which on training saves money; None: at no volume, because a busy GPU costs more than the alternative."""
    if saving_usd(economy, _MOST_TOKENS) <= 0.0:
        return None
    low, high = 0.0, 1.0
    while saving_usd(economy, high) <= 0.0:
        low, high = high, high * 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (low, middle) if saving_usd(economy, middle) > 0.0 else (middle, high)
    return high


def break_even_utilisation(economy: Economy) -> float | None:
    """The use of a GPU from which on its tokens are cheaper than the alternative's, one-off costs and operation left out; None: the alternative is free."""
    return economy.gpu_usd_per_m / economy.usd_per_m if economy.usd_per_m > 0.0 else None


def payback_months(economy: Economy, tokens: float) -> float | None:
    """After how many months at this volume the one-off costs are back; None: never."""
    monthly = hosted_usd(economy, tokens) - running_usd(economy, tokens) - economy.operation_usd
    return economy.one_off_usd / monthly if monthly > 0.0 else None


def with_value(economy: Economy, name: str, value: float) -> Economy:
    """The same with one number changed."""
    return replace(economy, **{name: value})
