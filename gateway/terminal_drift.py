"""Drift as people see it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import terminal


def drift(found: Mapping[str, Any]) -> None:
    """Every watched version with its level, below it the features that are not as usual, or how far they are."""
    versions = [
        {
            "route": each["route"],
            "version": each["backend"],
            "level": each["level"],
            "since": each["since"],
            "measured": each["samples"],
            "action": each["action"],
        }
        for each in found["data"]
    ]
    nothing = "nothing is watched yet: routes with a live adapter are, once requests come (drift.enabled)"
    terminal.rows(versions, ("route", "version", "level", "since", "measured", "action"), nothing)
    for each in found["data"]:
        for reason in each["reasons"]:
            terminal.line(f"{each['backend']} on {each['route']}: {reason}")
    features = [_feature(version, each) for version in found["data"] for each in version["features"]]
    if features:
        columns = ("version", "feature", "statistic", "value", "threshold", "changed", "PSI", "window", "baseline", "usual", "now")
        terminal.rows(features, columns, "")


def accepted(found: Mapping[str, Any]) -> None:
    """A version whose traffic was accepted."""
    terminal.line(f"{found['backend']} on {found['route']}: {found['action']}; a new baseline begins")


def _feature(version: Mapping[str, Any], each: Mapping[str, Any]) -> dict[str, Any]:
    mark = " !" if each["firing"] else ""
    return {
        "version": version["backend"],
        "feature": each["feature"] + mark,
        "statistic": each["statistic"],
        "value": f"{each['value']:.3f}",
        "threshold": None if each["threshold"] is None else f"{each['threshold']:.3f}",
        "changed": None if each["changed"] is None else f"{each['changed']:.0%}",
        "PSI": None if each["psi"] is None else f"{each['psi']:.2f}",
        "window": each["window"] or None,
        "baseline": each["baseline_n"],
        "usual": _summary(each["baseline"]),
        "now": _summary(each["current"]),
    }


def _summary(found: Mapping[str, float]) -> str | None:
    shown = [f"{name} {value:g}" if name in {"p50", "p95"} else f"{name} {value:.0%}" for name, value in list(found.items())[:2]]
    return ", ".join(shown) or None
