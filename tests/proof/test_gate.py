"""The gate's error rates with its real bootstrap, over many evaluations and three true differences: printed, and held against theory."""

from __future__ import annotations

import math

import pytest

from tests.training.gate_rates import DISCORDANT, admitted, theory
from training import statistics

RUNS = 400


@pytest.mark.proof
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("floor", "difference"), [(-0.05, -0.05), (-0.05, -0.025), (-0.05, 0.0)])
def test_rates_match_theory(floor: float, difference: float) -> None:
    """False admits at the margin at most one in twenty; elsewhere as often as theory says, at most a tenth stricter."""
    n = statistics.needed(floor, DISCORDANT)
    found, wanted = admitted(n, floor, difference, RUNS, 11), theory(n, floor, difference)
    print(f"gate: {n} items, floor {floor:+.3f}, true difference {difference:+.3f}: admitted {found:.3f}, theory {wanted:.3f}")
    noise = 3 * math.sqrt(wanted * (1 - wanted) / RUNS)
    assert wanted - 0.1 - noise <= found <= wanted + noise
