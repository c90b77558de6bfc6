"""Claims about adapters from the command line: functions on the database, with or without a running gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway import adapters
from gateway.adapters import Asked
from gateway.config.models import Config
from router.errors import AdapterRefused, GateRequired, Reason, RequestError
from serving import registry
from serving.database import reading, writing
from serving.verbs import Change
from tests.gateway.engine_world import adapter, configured

NOW = 1_795_442_400.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Config, Engine]]:
    config, database = configured(tmp_path)
    yield config, database
    database.dispose()


def ask(world: tuple[Config, Engine], verb: str, number: int | None = None, wait_s: float = 0.0, name: str = "colour", **more: object) -> dict[str, object]:
    change = Change(verb, name, number, **more)  # type: ignore[arg-type]
    return adapters.carried_out(world[1], world[0], change, wait_s, (lambda: NOW, lambda _s: None))


def add(world: tuple[Config, Engine], path: str, name: str = "colour", *, dry_run: bool = False) -> dict[str, object]:
    return adapters.added(world[1], world[0], Asked(name, path, dry_run=dry_run), NOW, {})


def test_what_is_shown_of_an_adapter(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """The document of the admin API, key for key, from registered to pending."""
    made = add(world, adapter(tmp_path, "red"))
    assert (made["adapter"], made["version"], made["state"], len(str(made["digest"]))) == ("colour", 1, "registered", 64)
    assert set(made["checks"].values()) == {"passed"}  # type: ignore[attr-defined]
    assert ask(world, "promote", 1)["done"] is False
    found = adapters.body_of(world[1], "colour")
    assert (found["live"], found["previous"], found["canary"]) == (None, None, {"version": None, "percent": 0.0})
    assert found["pending"] == "1 is being loaded; 1 becomes live then"
    version = found["versions"][0]
    assert (version["version"], version["digest"], version["state"], version["stage"], version["replicas"], version["gate"]) == (
        1,
        made["digest"],
        "registered",
        "blocked",
        [],
        None,
    )
    assert adapters.listed(world[1]) == {"object": "list", "data": [found], "has_more": False, "next_cursor": None}
    shown = adapters.shown(world[1], "colour")
    assert [line["verb"] for line in shown["audit"]] == ["promote", "add"]


def test_a_dry_run_leaves_no_trace(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """Adding and changing can be tried: same numbers, same steps, nothing kept."""
    path = adapter(tmp_path, "red")
    assert add(world, path, dry_run=True)["version"] == 1
    assert adapters.listed(world[1])["data"] == []
    add(world, path)
    again = add(world, path, dry_run=True)
    assert (again["version"], again["dry_run"]) == (1, True)
    assert add(world, adapter(tmp_path, "green", 0.7, 0.7), dry_run=True)["version"] == 2
    made = adapters.previewed(world[1], world[0], Change("promote", "colour", 1), NOW)
    assert made["dry_run"] is True
    assert "becomes live" in made["steps"][1]
    assert adapters.body_of(world[1], "colour")["pending"] is None
    ask(world, "load", 1)
    assert adapters.previewed(world[1], world[0], Change("load", "colour", 1), NOW)["steps"] == ("nothing: it is so already",)


def test_waiting_ends_when_it_is_done(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """Once the controller has seen it loaded the command returns, having looked a few times only."""
    add(world, adapter(tmp_path, "red"))
    looks = 0

    def pause(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            with writing(world[1]) as conn:
                registry.saw(conn, ("local", 0), ("colour", 1), "verified", "", NOW)
                registry.apply(conn, {"local": frozenset({0})}, {}, NOW)

    found = adapters.carried_out(world[1], world[0], Change("promote", "colour", 1), 10.0, (lambda: NOW, pause))
    assert (found["done"], found["live"], looks) == (True, 1, 2)
    assert found["versions"][0]["stage"] == "open"


def test_a_version_refused_while_waiting_is_an_error(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """The reasons come out, and the document shows them afterwards."""
    add(world, adapter(tmp_path, "red"))
    ask(world, "load", 1)
    with writing(world[1]) as conn:
        registry.refuse(conn, "colour", 1, [Reason("no_effect", "does nothing", "train it")], NOW)
    with pytest.raises(AdapterRefused, match="does nothing"):
        ask(world, "load", 1)
    assert adapters.body_of(world[1], "colour")["versions"][0]["reasons"] == [{"code": "no_effect", "message": "does nothing", "remedy": "train it"}]


def test_a_gate_is_asked_for_where_the_route_has_a_suite(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """409 without, fine with a passed one; the verdict and the route's stage are shown."""
    add(world, adapter(tmp_path, "red"), "judged")
    with pytest.raises(GateRequired, match="gate of suited"):
        ask(world, "promote", 1, name="judged")
    with writing(world[1]) as conn:
        registry.set_gate(conn, "judged", 1, {"passed": True, "route": "suited", "margin": -0.02}, NOW)
    ask(world, "promote", 1, name="judged")
    assert adapters.body_of(world[1], "judged")["versions"][0]["gate"] == {"passed": True, "route": "suited", "margin": -0.02}


def test_names_and_engines_are_checked_first(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """A name that cannot be one, and an adapter that is not there."""
    with pytest.raises(RequestError, match="cannot name an adapter"):
        add(world, adapter(tmp_path, "red"), "../up")
    with pytest.raises(RequestError, match="no adapter 'none'"):
        adapters.shown(world[1], "none")
    with reading(world[1]) as conn:
        assert registry.views(conn) == {}


def test_what_is_on_its_way_is_said(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """Draining versions and coming canaries are part of the sentence."""
    add(world, adapter(tmp_path, "red"))
    add(world, adapter(tmp_path, "green", 0.7, 0.7))
    ask(world, "retire", 1)
    ask(world, "canary", 2, percent=5.0)
    assert adapters.body_of(world[1], "colour")["pending"] == "2 is being loaded; 1 is on its way out; 2 becomes the canary then"
