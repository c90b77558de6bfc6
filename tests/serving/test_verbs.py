"""Claims about what operators may ask, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.errors import AdapterRefused, GateRequired, Reason, RequestError, StateError
from router.types import Stage
from serving.states import State
from serving.verbs import DRAIN_S, Change, default_stages, done, plan, settle, stage_changes
from serving.views import AdapterView, VersionView, stage_of
from tests.serving.making import version

NOW = 1000.0
READY = frozenset({0, 1})


def adapter(*versions: VersionView, **more: object) -> AdapterView:
    return AdapterView("a", "local", versions=versions, **more)  # type: ignore[arg-type]


def loaded(number: int, **more: object) -> VersionView:
    return version("a", number, state=State.LOADED, wanted=True, replicas=(0, 1), present=(0, 1), **more)


def ask(view: AdapterView, verb: str, number: int | str | None = None, suites: dict[str, bool] | None = None, **more: object) -> AdapterView:
    change = Change(verb, "a", number, **more)  # type: ignore[arg-type]
    return settle(plan(view, change, suites or {}, NOW).after, NOW)


def arrive(view: AdapterView, number: int) -> AdapterView:
    versions = tuple(replace(v, replicas=(0, 1), present=(0, 1)) if v.version == number else v for v in view.versions)
    return settle(replace(view, versions=versions), NOW, READY)


def test_promote_takes_effect_only_once_every_ready_replica_verified() -> None:
    """Asking for a version that is not loaded changes no answer until it is loaded and verified everywhere."""
    view = ask(adapter(loaded(1), version("a", 2), live=1), "promote", 2)
    assert (view.live, view.want_live) == (1, 2)
    half = replace(view, versions=(view.versions[0], replace(view.versions[1], replicas=(0,), present=(0,))))
    assert settle(half, NOW, READY).live == 1
    assert settle(half, NOW).live == 1
    after = arrive(view, 2)
    assert (after.live, after.previous, after.want_live) == (2, 1, None)
    assert after.versions[0].state is State.LOADED


def test_promote_of_a_loaded_version_is_at_once_and_idempotent() -> None:
    """A loaded version goes live in the same step; asking again changes nothing."""
    view = ask(adapter(loaded(1), loaded(2), live=1), "promote", 2)
    assert (view.live, view.previous) == (2, 1)
    again = plan(view, Change("promote", "a", 2), {}, NOW)
    assert not again.changes
    assert again.steps == ()


def test_rollback_goes_back_once_however_often_it_is_asked() -> None:
    """Rollback makes the previous version live and is idempotent: a retry does not flip forth."""
    view = ask(adapter(loaded(1), loaded(2), live=2, previous=1), "rollback")
    assert (view.live, view.previous, view.rolled_back) == (1, None, 2)
    assert not plan(view, Change("rollback", "a"), {}, NOW).changes
    forward = ask(view, "promote", 2)
    assert (forward.live, forward.previous, forward.rolled_back) == (2, 1, None)


def test_rollback_ends_a_canary_first() -> None:
    """With a canary running, rollback without a version ends the canary and leaves the live version alone."""
    view = ask(adapter(loaded(1), loaded(2), live=1, previous=None, canary_version=2, canary_percent=10.0), "rollback")
    assert (view.live, view.canary_version, view.canary_percent) == (1, None, 0.0)
    assert view.versions[1].state is State.LOADED


def test_rollback_without_a_previous_version_says_so() -> None:
    """There is nothing to go back to before the second promotion."""
    with pytest.raises(StateError, match="no previous version"):
        plan(adapter(loaded(1), live=1), Change("rollback", "a"), {}, NOW)


def test_rollback_to_a_named_version() -> None:
    """A version may be named; one that is live already changes nothing."""
    view = adapter(loaded(1), loaded(2), loaded(3), live=3, previous=2)
    assert ask(view, "rollback", 1).live == 1
    assert ask(view, "rollback", 3) == view


def test_canary_has_its_share_and_zero_ends_it() -> None:
    """A canary gets its percentage once loaded; 0 percent ends it; promoting it ends it too."""
    view = ask(adapter(loaded(1), loaded(2), live=1), "canary", 2, percent=5.0)
    assert (view.canary_version, view.canary_percent) == (2, 5.0)
    assert not plan(view, Change("canary", "a", 2, 5.0), {}, NOW).changes
    assert ask(view, "canary", 2, percent=0.0).canary_version is None
    live = ask(view, "promote", 2)
    assert (live.live, live.canary_version) == (2, None)


def test_canary_refusals() -> None:
    """A share outside 0..100, none at all, and the live version itself are refused."""
    view = adapter(loaded(1), loaded(2), live=1)
    for percent in (None, -1.0, 101.0):
        with pytest.raises(RequestError, match="percent from 0 to 100"):
            plan(view, Change("canary", "a", 2, percent), {}, NOW)
    with pytest.raises(StateError, match="live already"):
        plan(view, Change("canary", "a", 1, 5.0), {}, NOW)


def test_a_gate_is_required_on_routes_with_a_suite() -> None:
    """Without a passed gate promotion is refused unless forced with a reason; without a suite it is allowed."""
    view = adapter(loaded(1))
    with pytest.raises(GateRequired, match="breakeven eval triage --adapter a@1"):
        plan(view, Change("promote", "a", 1), {"triage": True}, NOW)
    with pytest.raises(RequestError, match="force needs a reason"):
        plan(view, Change("promote", "a", 1, force=True, reason=" "), {"triage": True}, NOW)
    assert ask(view, "promote", 1, {"triage": True}, force=True, reason="incident 12").live == 1
    assert ask(view, "promote", 1, {"triage": False}).live == 1
    passed = adapter(loaded(1, gates={"triage": {"passed": True}}))
    assert ask(passed, "promote", 1, {"triage": True}).live == 1
    with pytest.raises(GateRequired, match="gate of other"):
        plan(passed, Change("promote", "a", 1), {"triage": True, "other": True}, NOW)


def test_a_failed_gate_stops_a_canary_too() -> None:
    """A version that was judged and failed gets no traffic at all without force; one not judged yet may be a canary."""
    failed = adapter(loaded(1), loaded(2, gates={"": {"passed": False}}), live=1)
    with pytest.raises(GateRequired, match="did not pass"):
        plan(failed, Change("canary", "a", 2, 5.0), {"triage": True}, NOW)
    assert ask(failed, "canary", 2, {"triage": True}, percent=5.0, force=True, reason="try").canary_version == 2
    assert ask(adapter(loaded(1), loaded(2), live=1), "canary", 2, {"triage": True}, percent=5.0).canary_version == 2


def test_retire_drains_before_it_is_gone() -> None:
    """A retired version keeps its name for the drain time and is retired when no replica has it any more."""
    view = ask(adapter(loaded(1), loaded(2), live=2, previous=1), "retire", 1)
    out = view.versions[0]
    assert (out.state, out.wanted, out.drain_until, view.previous) == (State.DRAINING, False, NOW + DRAIN_S, None)
    assert settle(view, NOW + DRAIN_S).versions[0].state is State.DRAINING
    gone = replace(view, versions=(replace(out, present=(), replicas=()), view.versions[1]))
    assert settle(gone, NOW).versions[0].state is State.DRAINING
    retired = settle(gone, NOW + DRAIN_S)
    assert retired.versions[0].state is State.RETIRED
    assert not plan(retired, Change("retire", "a", 1), {}, NOW).changes
    with pytest.raises(StateError, match="add the directory again"):
        plan(retired, Change("load", "a", 1), {}, NOW)


def test_what_is_in_service_is_retired_by_force_only() -> None:
    """The live version, the canary and a pending one are protected; force with a reason takes them out."""
    view = adapter(loaded(1), loaded(2), version("a", 3, wanted=True), live=1, canary_version=2, canary_percent=5.0, want_live=3)
    for number, said in ((1, "live"), (2, "the canary"), (3, "about to take traffic")):
        with pytest.raises(StateError, match=said):
            plan(view, Change("retire", "a", number), {}, NOW)
        out = ask(view, "retire", number, force=True, reason="bad")
        assert out.versions[number - 1].state is State.DRAINING
        assert number not in {out.live, out.canary_version, out.want_live}


def test_load_wants_it_and_revives_what_was_on_its_way_out() -> None:
    """Loading marks a version as wanted; a draining one is registered again; a refused one is refused with its reasons."""
    assert ask(adapter(version("a", 1)), "load", 1).versions[0].wanted
    draining = version("a", 1, state=State.DRAINING, drain_until=NOW + 1)
    revived = ask(adapter(draining), "load", 1).versions[0]
    assert (revived.state, revived.wanted, revived.drain_until) == (State.REGISTERED, True, None)
    refused = version("a", 1, state=State.REFUSED, reasons=(Reason("no_effect", "does nothing", "train"),))
    with pytest.raises(AdapterRefused, match="does nothing"):
        plan(adapter(refused), Change("load", "a", 1), {}, NOW)


def test_a_pending_promotion_is_dropped_when_the_version_is_refused() -> None:
    """The live version stays when what was to replace it turns out bad, for promotions and canaries alike."""
    bad = version("a", 2, state=State.REFUSED)
    view = settle(adapter(loaded(1), bad, live=1, want_live=2, want_canary=2, want_percent=5.0), NOW, READY)
    assert (view.live, view.want_live, view.want_canary) == (1, None, None)


def test_versions_are_found_by_number_or_digest() -> None:
    """Both name the same version; what is not there is 404 with what is."""
    view = adapter(loaded(1), loaded(2))
    assert plan(view, Change("load", "a", f"sha256:{2:064x}"), {}, NOW).version == 2
    assert plan(view, Change("load", "a", "1"), {}, NOW).version == 1
    with pytest.raises(RequestError, match="known: 1, 2") as caught:
        plan(view, Change("load", "a", 9), {}, NOW)
    assert caught.value.status == 404
    with pytest.raises(RequestError, match="say which version"):
        plan(view, Change("load", "a"), {}, NOW)


def test_done_says_when() -> None:
    """Each verb is done when its effect is there; a version refused on the way is an error."""
    view = adapter(loaded(1), version("a", 2, wanted=True), live=1, want_live=2)
    assert done(view, Change("load", "a", 1), 1)
    assert not done(view, Change("load", "a", 2), 2)
    assert not done(view, Change("promote", "a", 2), 2)
    assert not done(view, Change("rollback", "a"), 2)
    assert done(view, Change("canary", "a", 1, 0.0), 1)
    assert not done(view, Change("retire", "a", 1), 1)
    assert done(adapter(version("a", 1, state=State.RETIRED)), Change("retire", "a", 1), 1)
    refused = adapter(version("a", 1, state=State.REFUSED))
    with pytest.raises(AdapterRefused, match="no reason was recorded"):
        done(refused, Change("promote", "a", 1), 1)


def test_stages_follow_live_and_canary_on_every_route() -> None:
    """What goes live opens, what leaves is blocked, a canary is a canary, on each route that has the adapter."""
    before = adapter(loaded(1), loaded(2), live=1)
    canary = replace(before, canary_version=2, canary_percent=5.0)
    assert stage_changes(before, canary, {"r": True, "s": False}) == {("r", 2): Stage.CANARY, ("s", 2): Stage.CANARY}
    live = replace(canary, live=2, canary_version=None, canary_percent=0.0)
    assert stage_changes(canary, live, {"r": True}) == {("r", 1): Stage.BLOCKED, ("r", 2): Stage.OPEN}
    assert stage_changes(live, replace(live, live=None), {"r": True}) == {("r", 2): Stage.BLOCKED}


def test_routes_that_come_later_are_blocked_until_their_gate_passed() -> None:
    """A new route with a suite does not get an adapter it was never judged on; without a suite it does."""
    view = adapter(loaded(1, gates={"old": {"passed": True}}), live=1)
    assert default_stages(view, {"old": True, "new": True, "free": False}, {("old", "a", 1): Stage.OPEN}) == {
        ("new", 1): Stage.BLOCKED,
        ("free", 1): Stage.OPEN,
    }
    assert default_stages(adapter(loaded(1)), {"new": True}, {}) == {}


def test_stage_of_an_undecided_route() -> None:
    """Where nothing was decided, live is open, the canary is a canary, the rest is blocked."""
    view = adapter(loaded(1), loaded(2), loaded(3), live=1, canary_version=2)
    assert [stage_of(view, n, "r", {}) for n in (1, 2, 3)] == [Stage.OPEN, Stage.CANARY, Stage.BLOCKED]
    assert stage_of(view, 1, "r", {("r", "a", 1): Stage.SHADOW}) is Stage.SHADOW


def test_the_steps_say_what_will_happen() -> None:
    """A plan tells an operator in sentences: the load, the flip, what stays, what ends."""
    view = adapter(loaded(1), version("a", 2), loaded(3), live=1, canary_version=3, canary_percent=5.0)
    steps = plan(view, Change("promote", "a", 2), {}, NOW).steps
    assert len(steps) == 2
    assert "a@2 is loaded on every replica" in steps[0]
    assert "a@2 becomes live in place of a@1, which stays loaded" in steps[1]
    assert "canary a@3 gets no more requests" in plan(view, Change("rollback", "a"), {}, NOW).steps[0]
