"""Progress of a benchmark."""

from __future__ import annotations

from gateway.bench.meter import Meter, Moment


def test_what_is_left_goes_as_the_plan_has_fared() -> None:
    """The plan's own seconds at first; then, where steps took twice as long as planned, twice as long; never more than all of it."""
    shown: list[Moment] = []
    now = 0.0
    meter = Meter(shown.append, lambda: now, 100.0)
    meter.step("one", 20.0)
    now = 40.0
    meter.step("two", 200.0)
    now = 50.0
    meter.step("done")
    assert [(m.phase, m.done, m.total, m.eta_s) for m in shown] == [("one", 0, 100, 100.0), ("two", 20, 100, 160.0), ("done", 100, 100, 0.0)]
