"""Drift as gauges: one level for each version on each route, one distance for each of its features. Bounded by routes, versions in use and features. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.store.drift import State
from router.drift import LEVELS


def backend(state: State) -> str:
    """The label of a version: its adapter and number."""
    return f"{state.place[1]}@{state.place[2]}"


def levels(states: Iterable[State]) -> dict[tuple[str, ...], float]:
    """`breakeven_drift_level`: 0 none to 4 retrain."""
    return {(state.place[0], backend(state)): float(LEVELS.index(state.level)) for state in states}


def features(states: Iterable[State]) -> dict[tuple[str, ...], float]:
    """`breakeven_drift`: value over threshold of each feature's last look."""
    return {
        (state.place[0], backend(state), each["feature"]): each["value"] / each["threshold"]
        for state in states
        for each in state.report.get("features", ())
        if each["threshold"]
    }
