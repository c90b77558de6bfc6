"""How often the gate is wrong, by simulation: what it admits at a true difference is what theory says, and never more than one in twenty at the margin."""

from __future__ import annotations

import math

import pytest

from tests.training.gate_rates import DISCORDANT, admitted, theory
from training import statistics

FLOOR = -0.05
N = statistics.needed(FLOOR, DISCORDANT)  # 248 items: 80 % power where there is no difference
RUNS = 100


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coarser bootstrap: the long proof (tests/proof/test_gate.py) has the real one."""
    monkeypatch.setattr(statistics, "RESAMPLES", 200)


def test_the_size_is_the_one_that_is_promised() -> None:
    """(1.645 + 0.842)^2 x 0.1 / 0.05^2."""
    assert math.ceil(2.4865**2 * 0.1 / 0.0025) == N


def test_a_difference_at_the_margin_is_admitted_one_time_in_twenty_at_most() -> None:
    """False admits at the margin: 5 %, and three standard errors of these runs; far below it none."""
    assert admitted(N, FLOOR, FLOOR, RUNS, 1) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)
    assert admitted(N, FLOOR, 2 * FLOOR + 0.01, RUNS // 4, 2) == 0.0


def test_an_equal_adapter_is_refused_as_seldom_as_the_size_promises() -> None:
    """False refusals without a difference: a fifth; the gate is a little stricter than theory, since it takes the lower of two bounds."""
    found = admitted(N, FLOOR, 0.0, RUNS, 3)
    assert theory(N, FLOOR, 0.0) == pytest.approx(0.80, abs=0.01)
    assert theory(N, FLOOR, 0.0) - 0.13 <= found <= theory(N, FLOOR, 0.0) + 3 * math.sqrt(0.16 / RUNS)


def test_a_better_adapter_is_hardly_ever_refused() -> None:
    """Three points better on the same items."""
    assert admitted(N, FLOOR, 0.03, RUNS // 2, 4) >= theory(N, FLOOR, 0.03) - 0.05
