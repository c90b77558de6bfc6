"""The two ends: nobody is below the bound, and the clairvoyant is no worse than a constant schedule."""

from __future__ import annotations

import pytest

from gateway.live import Board
from gateway.simulation.run import lesson
from router.simulation import oracle
from router.simulation.baselines import BASELINES
from router.simulation.compare import compare
from router.simulation.ours import Ours
from router.simulation.scenarios import SCENARIOS, on_trace, setting
from router.simulation.trace import Shape, Trace, synthetic
from router.simulation.world import World

SHORT = synthetic("short", Shape(rate=30.0, seconds=15.0), 9)
DENSE = synthetic("dense", Shape(rate=70.0, seconds=12.0), 9)


@pytest.mark.parametrize("name", SCENARIOS)
def test_nobody_is_below_the_bound(name: str) -> None:
    """In every kind of weather, moved into a short trace that asks for more than the engine has."""
    found = on_trace(name, DENSE)
    moved = found._replace(
        hosted_faults=tuple(fault._replace(since=fault.since / 80.0, until=fault.until / 80.0) for fault in found.hosted_faults),
        local_faults=tuple(fault._replace(since=fault.since / 80.0, until=fault.until / 80.0) for fault in found.local_faults),
    )
    least = oracle.bound(moved, rounds=40)
    for policy in (BASELINES["all hosted"](moved, 1), BASELINES["Prequal"](moved, 1), Ours(moved, Board(), lesson)):
        assert least <= oracle.total(World(moved, policy, 1).run())


def test_the_bound_says_something() -> None:
    """Of four times what an engine can do, a part has to be paid for; and never more than all of it."""
    found = on_trace("overload", synthetic("much", Shape(rate=120.0, seconds=60.0), 9))
    everything = sum(World(found, BASELINES["all hosted"](found, 1), 1).list_cost(ask) for ask in found.trace.asks)
    assert 0.2 * everything < oracle.bound(found) < everything


def test_the_clairvoyant() -> None:
    """It finds a schedule that is no dearer than all hosted, all local, or local first; and not below the bound."""
    found = on_trace("calm", DENSE)
    reached, schedule = oracle.achieve(found, 1, tries=26)
    assert len(schedule.most) == 1
    others = min(oracle.total(World(found, BASELINES[name](found, 1), 1).run()) for name in ("all hosted", "all local", "local first, 64"))
    assert oracle.bound(found) <= reached <= others


def test_a_comparison() -> None:
    """All hosted captures nothing, the best of all captures everything the clairvoyant is credited with; intervals hold the figure."""
    found = on_trace("calm", SHORT)
    ticks: list[None] = []
    made = compare("calm", [(found, 1), (found, 2)], [BASELINES["all hosted"], BASELINES["all local"]], tries=4, on_run=lambda: ticks.append(None))
    assert (made.runs, made.requests, len(ticks)) == (2, len(SHORT.asks), 5)
    hosted, local = made.results
    assert (hosted.relative, hosted.capture, hosted.local) == (1.0, 0.0, 0.0)
    assert local.low <= local.relative <= local.high
    assert local.capture is not None
    assert local.capture <= 1.0
    assert made.clairvoyant_nanousd is not None
    assert made.bound_nanousd is not None
    assert made.bound_nanousd <= made.clairvoyant_nanousd


def test_nothing_to_do() -> None:
    """An empty trace costs nothing, and divides by nothing."""
    empty = on_trace("calm", Trace("empty", ()))
    assert oracle.bound(empty) == 0
    made = compare("calm", [(empty, 1)], [BASELINES["all hosted"]], tries=2)
    assert (made.requests, made.results[0].capture) == (0, None)


@pytest.mark.parametrize("name", ["calm", "overload", "turns"])
def test_scenarios(name: str) -> None:
    """Traffic of a scenario's own comes at the load it says."""
    found = setting(name, 1)
    work = sum(found.engine.work_s(ask.input, ask.output) for ask in found.trace.asks)
    load = work / SCENARIOS[name].shape.seconds
    assert 0.8 * SCENARIOS[name].load < load < 1.2 * SCENARIOS[name].load
