"""How far a benchmark is: steps of a known length, shown as they begin. Drawing is the caller's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Before this share of the plan is done, how it has fared says nothing yet.
_TELLING = 0.1


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment, as gateway/terminal.py shows it: `done` and `total` are planned seconds."""

    phase: str
    done: int
    total: int
    eta_s: float | None
    loss: float | None = None
    tokens_per_s: float | None = None


class Meter:
    """Counts planned seconds against those that passed: what is left is estimated from how the plan has fared so far."""

    def __init__(self, show: Callable[[Moment], None], clock: Callable[[], float], total_s: float) -> None:
        self._show, self._clock = show, clock
        self._total_s, self._began = total_s, clock()
        self._done_s = self._step_s = 0.0

    def step(self, phase: str, planned_s: float = 0.0) -> None:
        """The step before is done; the next one begins and is planned to take `planned_s`."""
        self._done_s = min(self._done_s + self._step_s, self._total_s)
        self._step_s = planned_s
        passed_s = self._clock() - self._began
        left_s = self._total_s - self._done_s
        told = self._done_s >= self._total_s * _TELLING
        eta_s = left_s * max(1.0, passed_s / self._done_s) if told else left_s
        self._show(Moment(phase, round(self._done_s), max(1, round(self._total_s)), eta_s))
