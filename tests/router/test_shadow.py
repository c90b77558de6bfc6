"""router.shadow: GPU work is free until it displaces other work."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.shadow import gpu_seconds, opportunity, rate
from router.types import Live

LIVE = Live("local", ttft_ms=100.0, tpot_ms=9.0, slots=8, work_value=1_000_000.0)


def test_a_free_slot_costs_nothing() -> None:
    """Idle GPU is paid for anyway: pricing it would send traffic away exactly when it is empty."""
    assert opportunity(replace(LIVE, in_flight=7), 100.0) == 0.0


def test_a_full_engine_is_priced_by_what_it_displaces() -> None:
    """With 15 in flight on 8 slots, half of the work is displaced: half of the value of its GPU-seconds."""
    busy = replace(LIVE, in_flight=15)
    assert rate(busy) == pytest.approx(500_000.0)
    assert rate(replace(LIVE, in_flight=1, others_in_flight=14)) == rate(busy)
    assert gpu_seconds(busy, 100.0) == pytest.approx(0.125)
    assert opportunity(busy, 100.0) == pytest.approx(62_500.0)


def test_unknown_capacity_or_speed_has_no_price() -> None:
    """Nothing is invented where nothing was learnt."""
    busy = replace(LIVE, in_flight=100)
    assert opportunity(replace(busy, slots=0), 100.0) == 0.0
    assert opportunity(replace(busy, tpot_ms=None), 100.0) == 0.0
    assert opportunity(replace(busy, work_value=0.0), 100.0) == 0.0
    assert gpu_seconds(replace(busy, slots=0), 100.0) == 0.0


@given(st.integers(0, 500), st.integers(1, 64), st.floats(0, 1e12))
def test_the_price_rises_with_occupancy_and_never_reaches_the_value(in_flight: int, slots: int, value: float) -> None:
    """One more in flight never makes it cheaper."""
    live = replace(LIVE, in_flight=in_flight, slots=slots, work_value=value)
    assert 0.0 <= rate(live) <= rate(replace(live, in_flight=in_flight + 1)) <= value
