"""Claims about the adapters in the database."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from router.errors import AdapterRefused, GateRequired, Reason, RequestError
from router.types import Stage
from serving import registry, replica_table
from serving.database import reading, state_version, writing
from serving.states import State
from serving.verbs import DRAIN_S, Change
from serving.views import AdapterView, ReplicaView
from tests.serving.making import version

PLACE = ("local", 0)
READY = {"local": frozenset({0})}
ROUTES = {"a": {"triage": False}}


def add(database: Engine, digest: str = "d1", now: float = 1.0) -> int:
    with writing(database) as conn:
        return registry.add_version(conn, version("a", 0, digest, checks={"config": "passed"}), "local", "/src", "me", now).version


def ask(database: Engine, verb: str, number: int | None = None, **more: object) -> registry.Plan:
    with writing(database) as conn:
        return registry.request(conn, Change(verb, "a", number, actor="me", **more), ROUTES["a"], 2.0)  # type: ignore[arg-type]


def arrive(database: Engine, number: int, now: float = 3.0) -> list[str]:
    with writing(database) as conn:
        registry.saw(conn, PLACE, ("a", number), "verified", "", now)
        due = registry.due(conn, READY, ROUTES, now)
        said = registry.apply(conn, READY, ROUTES, now)
        assert due == bool(said)
        assert not registry.due(conn, READY, ROUTES, now)
        return said


def view(database: Engine) -> AdapterView:
    with reading(database) as conn:
        return registry.view(conn, "a")


def changes(database: Engine) -> int:
    with reading(database) as conn:
        return state_version(conn)


def test_the_same_content_is_the_same_version(database: Engine) -> None:
    """Numbers count from one per adapter; adding a digest again gives its number and changes nothing."""
    assert (add(database, "d1"), add(database, "d2")) == (1, 2)
    before = changes(database)
    assert add(database, "d1") == 1
    assert changes(database) == before


def test_a_name_belongs_to_one_engine_and_must_be_a_name(database: Engine) -> None:
    """Another engine cannot take a name, and odd names never get in: they end up in paths and in `model`."""
    add(database)
    with pytest.raises(RequestError, match="belongs to the engine local") as caught, writing(database) as conn:
        registry.add_version(conn, version("a", 0, "d9"), "other", "/src", "me", 1.0)
    assert caught.value.status == 409
    for name in ("../x", "a/b", "a@1", "", "ä", "x" * 64):
        with pytest.raises(RequestError, match="cannot name an adapter"), writing(database) as conn:
            registry.add_version(conn, version(name, 0, "d9"), "local", "/src", "me", 1.0)


def test_promotion_from_nothing_to_live(database: Engine) -> None:
    """Wanted, seen verified, applied: the version is loaded, live and open on its route, and every step moved the state version."""
    add(database)
    assert ask(database, "promote", 1).changes
    assert (view(database).live, view(database).want_live) == (None, 1)
    before = changes(database)
    assert arrive(database, 1) == ["a@1 is loaded", "a@1 is live"]
    assert changes(database) > before
    found = view(database)
    assert (found.live, found.versions[0].state, found.versions[0].replicas) == (1, State.LOADED, (0,))
    with reading(database) as conn:
        assert registry.stages(conn) == {("triage", "a", 1): Stage.OPEN}
    assert arrive(database, 1) == []


def test_a_flip_between_loaded_versions_needs_no_controller(database: Engine) -> None:
    """Rollback between loaded versions is done by the request itself, in its own transaction."""
    for digest in ("d1", "d2"):
        number = add(database, digest)
        ask(database, "promote", number)
        arrive(database, number)
    assert (view(database).live, view(database).previous) == (2, 1)
    ask(database, "rollback")
    assert (view(database).live, view(database).rolled_back) == (1, 2)
    with reading(database) as conn:
        assert registry.stages(conn) == {("triage", "a", 1): Stage.OPEN, ("triage", "a", 2): Stage.BLOCKED}


def test_what_changes_nothing_writes_nothing(database: Engine) -> None:
    """Asking for what is so already leaves no audit line and no change for workers."""
    add(database)
    ask(database, "load", 1)
    before = changes(database)
    assert not ask(database, "load", 1).changes
    assert changes(database) == before
    with reading(database) as conn:
        assert [row["verb"] for row in registry.audit(conn, "a")] == ["load", "add"]


def test_refusals_write_nothing(database: Engine) -> None:
    """A missing gate, and an adapter that is not there, leave the database as it was."""
    add(database)
    before = changes(database)
    with pytest.raises(GateRequired), writing(database) as conn:
        registry.request(conn, Change("promote", "a", 1), {"triage": True}, 2.0)
    with pytest.raises(RequestError, match="no adapter 'b'"), writing(database) as conn:
        registry.request(conn, Change("load", "b", 1), {}, 2.0)
    assert changes(database) == before


def test_a_refused_version_keeps_its_reasons_and_may_try_again(database: Engine) -> None:
    """Refusal stores reasons, drops the pending promotion, and adding the same content again makes it registered once more."""
    add(database)
    ask(database, "promote", 1)
    with writing(database) as conn:
        registry.saw(conn, PLACE, ("a", 1), "failed", "does nothing", 3.0)
        registry.refuse(conn, "a", 1, [Reason("no_effect", "does nothing", "train it")], 3.0)
    found = view(database).versions[0]
    assert (found.state, found.wanted, found.reasons[0].code, found.failed) == (State.REFUSED, False, "no_effect", {0: "does nothing"})
    assert view(database).want_live is None
    with pytest.raises(AdapterRefused, match="does nothing"):
        ask(database, "load", 1)
    assert add(database) == 1
    again = view(database).versions[0]
    assert (again.state, again.reasons, again.failed) == (State.REGISTERED, (), {})


def test_a_version_in_service_is_not_refused(database: Engine) -> None:
    """A loaded version that fails on one replica stays what it is; the others go on."""
    add(database)
    ask(database, "promote", 1)
    arrive(database, 1)
    with writing(database) as conn:
        registry.refuse(conn, "a", 1, [Reason("x", "y", "z")], 4.0)
    assert (view(database).live, view(database).versions[0].state) == (1, State.LOADED)


def test_retirement_ends_in_a_new_version(database: Engine) -> None:
    """A drained version is retired once it is nowhere; the same content added later is a new version, because the old files are gone."""
    add(database)
    ask(database, "load", 1)
    arrive(database, 1)
    ask(database, "retire", 1)
    assert view(database).versions[0].replicas == ()  # nobody is sent there while its name is still there
    assert view(database).versions[0].present == (0,)
    with writing(database) as conn:
        registry.saw(conn, PLACE, ("a", 1), "gone", "", 9.0)
        assert registry.apply(conn, READY, ROUTES, 2.0 + DRAIN_S) == ["a@1 is retired"]
        registry.removed_files(conn, "a", 1)
    assert view(database).versions[0].files_removed
    assert add(database) == 2


def test_a_lost_replica_has_nothing(database: Engine) -> None:
    """When a process ends its adapters are gone from the registry's picture, and workers are told."""
    add(database)
    ask(database, "load", 1)
    arrive(database, 1)
    before = changes(database)
    with writing(database) as conn:
        registry.lost(conn, "local", 0)
    assert view(database).versions[0].replicas == ()
    assert changes(database) == before + 1
    arrive(database, 1)
    with writing(database) as conn:
        registry.lost(conn, "local")
        registry.lost(conn, "local")
    assert view(database).versions[0].present == ()


def test_gates_are_kept_by_route(database: Engine) -> None:
    """A verdict is for its route or for all; the one that failed is shown; judging again replaces it."""
    add(database)
    with writing(database) as conn:
        registry.set_gate(conn, "a", 1, {"passed": True, "route": "triage"}, 2.0)
        registry.set_gate(conn, "a", 1, {"passed": False, "route": "other", "reason": "two points short"}, 2.0)
    found = view(database).versions[0]
    assert found.gate is not None
    assert (found.gate["route"], found.gate_for("triage"), found.gate_for("other"), found.gate_for("third")) == ("other", True, False, None)
    with writing(database) as conn:
        registry.set_gate(conn, "a", 1, {"passed": True, "route": "other"}, 3.0)
        registry.set_gate(conn, "a", 1, {"passed": True}, 3.0)
    assert view(database).versions[0].gate_for("third") is True


def test_the_audit_trail_says_who_and_why(database: Engine) -> None:
    """Every change has a line with actor, reason and whether it was proven; newest first."""
    add(database)
    ask(database, "promote", 1, force=True, reason="incident 12")
    with writing(database) as conn:
        line = registry.audit(conn, "a")[0]
    assert (line["verb"], line["actor"], line["reason"], line["detail"]["force"], line["detail"]["unproven"]) == ("promote", "me", "incident 12", True, True)


def test_a_preview_writes_nothing(database: Engine) -> None:
    """A dry run says the steps and leaves no trace."""
    add(database)
    before = changes(database)
    with reading(database) as conn:
        made = registry.preview(conn, Change("promote", "a", 1), {}, 2.0)
    assert made.changes
    assert made.steps
    assert changes(database) == before


@pytest.mark.parametrize(
    ("verb", "number", "more", "says"),
    [
        ("load", 3, {}, ["a@3 is loaded on every replica of local without traffic"]),
        ("canary", 2, {"percent": 5.0}, ["a@2 gets 5 % of the requests"]),
        ("promote", 3, {}, ["a@3 is loaded on every replica", "a@3 becomes live in place of a@1, which stays loaded"]),
        ("promote", 2, {}, ["a@2 becomes live in place of a@1"]),
        ("rollback", 2, {}, ["a@2 becomes live again; a@1 stays loaded"]),
        ("retire", 2, {}, ["a@2 gets no new requests, is unloaded after 3 s, and its files are removed"]),
    ],
)
def test_a_dry_run_says_what_then_happens(database: Engine, verb: str, number: int, more: dict[str, float], says: list[str]) -> None:
    """Every verb: the sentences of the dry run are those of the change itself, and the dry run wrote nothing."""
    for digest in ("d1", "d2", "d3"):
        add(database, digest)
    for loaded in (1, 2):
        ask(database, "load", loaded)
        arrive(database, loaded)
    ask(database, "promote", 1)
    before = changes(database)
    with writing(database) as conn:
        dry = registry.preview(conn, Change(verb, "a", number, actor="me", **more), ROUTES["a"], 2.0)  # type: ignore[arg-type]
    assert changes(database) == before
    assert len(dry.steps) == len(says)
    assert all(said.startswith(start) for said, start in zip(dry.steps, says, strict=True)), dry.steps
    assert ask(database, verb, number, **more).steps == dry.steps
    assert changes(database) > before


def test_new_routes_get_their_stage(database: Engine) -> None:
    """A route that comes to the configuration later is opened or blocked when the controller next looks."""
    add(database)
    ask(database, "promote", 1)
    arrive(database, 1)
    more = {"a": {"triage": False, "suited": True, "free": False}}
    with writing(database) as conn:
        assert registry.due(conn, READY, more, 5.0)
        registry.apply(conn, READY, more, 5.0)
        assert not registry.due(conn, READY, more, 5.0)
        assert registry.stages(conn) == {("triage", "a", 1): Stage.OPEN, ("suited", "a", 1): Stage.BLOCKED, ("free", "a", 1): Stage.OPEN}


def test_the_last_verification_is_kept(database: Engine) -> None:
    """Its numbers stand beside the version."""
    add(database)
    with writing(database) as conn:
        registry.verified(conn, "a", 1, {"proof": "proven", "adapter_mean": 0.001})
    assert view(database).versions[0].verified == {"proof": "proven", "adapter_mean": 0.001}


def test_canaries_are_told(database: Engine) -> None:
    """The operator reads when a canary begins and when there is no live version any more."""
    add(database)
    ask(database, "canary", 1, percent=5.0)
    assert arrive(database, 1) == ["a@1 is loaded", "a@1 is the canary with 5 %"]
    with reading(database) as conn:
        assert registry.stages(conn) == {("triage", "a", 1): Stage.CANARY}


def test_replicas_are_told_when_it_matters(database: Engine) -> None:
    """Health, url and state wake the workers; a progress line does not; replicas that are not configured any more are forgotten."""
    first = ReplicaView("local", 0, "", "starting", healthy=False, restarts=0, detail="")
    with writing(database) as conn:
        replica_table.put(conn, first, 1.0)
        replica_table.put(conn, ReplicaView("local", 1, "", "starting", healthy=False, restarts=0, detail=""), 1.0)
    before = changes(database)
    with writing(database) as conn:
        replica_table.put(conn, first, 2.0)
        replica_table.put(conn, ReplicaView("local", 0, "", "starting", healthy=False, restarts=0, detail="loading"), 2.0)
    assert changes(database) == before
    with writing(database) as conn:
        replica_table.put(conn, ReplicaView("local", 0, "http://x", "ready", healthy=True, restarts=0, detail="", model="local", max_model_len=64), 3.0)
    assert changes(database) == before + 1
    with writing(database) as conn:
        replica_table.keep_only(conn, {("local", 0)})
        found = registry.replicas(conn)
    assert [(r.index, r.healthy, r.model, r.max_model_len, r.changed_at) for r in found] == [(0, True, "local", 64, 3.0)]
    assert changes(database) == before + 2
