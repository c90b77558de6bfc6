"""Claims about GET /admin/timeline: what happened to adapters, in the design's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving import registry
from serving.database import writing
from serving.states import State
from serving.verbs import Change
from serving.views import VersionView
from tests.gateway.admin import world
from tests.gateway.admin.world import NOW, World

MANIFEST = {"dataset": {"digest": "d" * 64, "train": 800, "validation": 100, "test": 100}, "quantization": "nf4", "metrics": {"steps": 300}}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    """A gateway with adapters that were added, gated, promoted and put into a canary."""
    config = world.configure(tmp_path)
    database = world.fresh(config)
    world.adapters(database, config, NOW - 1000)
    with world.serve(config, database) as running:
        yield running


def _events(made: World, **query: str) -> list[dict[str, object]]:
    return list(httpx.get(f"{made.url}/admin/timeline", params=query).json()["data"])


def test_events_tell_a_version_s_life_in_order(made: World) -> None:
    """Registered, loaded, gated, promoted, then the canary of the next; each with its adapter, engine and version."""
    events = _events(made)
    told = [event["kind"] for event in events if (event["adapter"], event["version"]) == ("support-triage", 2)]
    assert told == ["registered", "loaded", "gated", "promoted"]
    assert [event["time"] for event in events] == sorted(str(event["time"]) for event in events)
    assert {event["engine"] for event in events} == {"local"}
    gate = next(event for event in events if event["kind"] == "gated")
    assert [gate["passed"], gate["route"]] == [True, "support-triage"]
    canary = next(event for event in events if event["kind"] == "canary")
    assert [canary["adapter"], canary["version"], canary["percent"]] == ["invoice-fields", 2, 10]
    assert all(event["percent"] is None for event in events if event["kind"] != "canary")


def test_rolling_back_and_refusing_are_told(made: World) -> None:
    """A roll-back names the version that is live again; a refusal carries its reason."""
    with writing(made.gateway.database) as conn:
        registry.request(conn, Change("promote", "invoice-fields", 2, reason="better", actor="tests"), {"invoice-fields": False}, NOW)
        registry.request(conn, Change("rollback", "invoice-fields", reason="drift", actor="tests"), {"invoice-fields": False}, NOW + 5)
    last = _events(made, since="2026-11-23T14:00:00Z")
    assert [(event["kind"], event["version"], event["reason"]) for event in last] == [("promoted", 2, "better"), ("rolled_back", 1, "drift")]


def test_a_trained_version_says_what_it_was_trained_on(made: World) -> None:
    """The trainer's manifest is read; one from elsewhere has none."""
    with writing(made.gateway.database) as conn:
        version = VersionView("support-triage", 0, "e" * 64, "/data/e", State.REGISTERED, manifest=MANIFEST)
        registry.add_version(conn, version, "local", "tests", "tests", NOW)
    events = _events(made)
    assert events[-1]["trained"] == {"examples": 800, "dataset": "d" * 64, "steps": 300, "quantization": "nf4"}
    assert events[0]["trained"] is None


def test_the_period_bounds_it(made: World) -> None:
    """`until` is not included, nothing is outside, and a wrong time is a clean error."""
    assert _events(made, until="2020-01-01") == []
    assert _events(made, since="2027-01-01") == []
    assert httpx.get(f"{made.url}/admin/timeline?since=yesterday").json()["error"]["param"] == "since"
