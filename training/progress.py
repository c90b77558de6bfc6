"""How far a long piece of work is: a plain value, handed to a callback. Drawing it is the command line's business.

Public: `Progress`, `OnProgress`, `Numbers`, `OnNumbers`, `eta(done, total, elapsed_s)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment. `phase` is a short lower-case word (reading, loading, training, probing, evaluating); `done`/`total` count its units (steps, items).

    `eta_s` is None until something is done. `loss`, `tokens` (seen so far, padding left out) and `tokens_per_s` are None where the phase has none.
    """

    phase: str
    done: int
    total: int
    elapsed_s: float
    eta_s: float | None = None
    loss: float | None = None
    tokens: int | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a step of training measured, in nats per learnt token and shares of tokens; `valid_*` are of all validation examples, after a whole epoch."""

    step: int
    total: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None


OnProgress = Callable[[Progress], None]
OnNumbers = Callable[[Numbers], None]


def eta(done: int, total: int, elapsed_s: float) -> float | None:
    """Seconds left if the rest goes as the part so far; None before anything is done."""
    return elapsed_s / done * (total - done) if done > 0 else None


def never() -> bool:
    """What nobody wants to stop is asked."""
    return False


def silent(_: Progress) -> None:
    """The callback of callers that do not want to know."""
