"""The GPU bill over time, on both databases."""

from __future__ import annotations

from sqlalchemy import Engine

from gateway.store import gpu, gpu_series
from gateway.store.period import Period
from serving.database import reading, writing


def test_steps_sum_the_closed_minutes_by_engine(database: Engine, noon: float) -> None:
    """Two engines, three minutes: one step of an hour each; a period cuts by the minute's beginning; an unpriced engine's bill is unknown."""
    first = int(noon // 60)
    with writing(database) as conn:
        for minute in range(first, first + 3):
            gpu.record_uptime(conn, "a", 0, minute, 60, 3_600_000_000)
            gpu.record_uptime(conn, "b", 0, minute, 30, None)
        gpu.close_minutes(conn, noon + 600)
    with reading(database) as conn:
        a, b = gpu_series.steps(conn, Period(), 60)
        assert gpu_series.Step("a", noon, 180.0, 180_000_000, 0, 180_000_000, 0) == a
        assert [b.engine, b.seconds_up, b.bill_nanousd, b.idle_nanousd, b.foreign_nanousd] == ["b", 90.0, None, None, None]
        one = gpu_series.steps(conn, Period(noon + 60, noon + 120), 1)
        assert [[step.engine, step.start, step.seconds_up] for step in one] == [["a", noon + 60, 60.0], ["b", noon + 60, 30.0]]
