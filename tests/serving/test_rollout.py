"""Claims about what is done next on a replica."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from serving.rollout import Step, mapped, steps
from serving.states import State
from serving.views import AdapterView, VersionView
from tests.serving.making import version

NOW = 100.0


def view(*versions: VersionView, **more: object) -> AdapterView:
    return AdapterView("a", "local", versions=versions, **more)  # type: ignore[arg-type]


def kinds(found: list[Step]) -> list[tuple[str, str]]:
    return [(step.kind, step.name) for step in found]


def there(number: int, **more: object) -> VersionView:
    return version("a", number, state=State.LOADED, wanted=True, replicas=(0,), present=(0,), **more)


def test_what_is_wanted_and_missing_is_loaded_and_verified() -> None:
    """The live version comes first, then canary and pending ones."""
    found = steps(
        [view(version("a", 1, wanted=True), version("a", 2, wanted=True), version("a", 3, wanted=True), live=2, canary_version=3)], "local", 0, {}, NOW
    )
    assert [(s.kind, s.version) for s in found] == [("load", 2), ("verify", 2), ("load", 3), ("verify", 3), ("load", 1), ("verify", 1)]
    assert found[0] == Step("load", "local/a@2", "a", 2, "/adapters/a/2", new=True)


def test_what_is_there_is_left_alone() -> None:
    """A loaded and verified version needs nothing; one that is only loaded is verified."""
    actual = {"local/a@1": "/adapters/a/1"}
    assert steps([view(there(1))], "local", 0, actual, NOW) == []
    assert kinds(steps([view(replace(there(1), replicas=()))], "local", 0, actual, NOW)) == [("verify", "local/a@1")]
    assert kinds(steps([view(there(1))], "local", 1, {}, NOW)) == [("load", "local/a@1"), ("verify", "local/a@1")]


def test_a_name_with_another_directory_is_taken_away_first() -> None:
    """The right name over the wrong path is a wrong answer waiting: out, then in again."""
    found = steps([view(there(1))], "local", 0, {"local/a@1": "/elsewhere"}, NOW)
    assert kinds(found) == [("unload", "local/a@1"), ("load", "local/a@1"), ("verify", "local/a@1")]


def test_a_draining_version_keeps_its_name_until_its_time() -> None:
    """Until the drain is over nothing happens, then it is unloaded; where it is not listed the registry forgets it."""
    out = version("a", 1, state=State.DRAINING, drain_until=NOW, present=(0,))
    actual = {"local/a@1": "/adapters/a/1"}
    assert steps([view(out)], "local", 0, actual, NOW - 1) == []
    assert kinds(steps([view(out)], "local", 0, actual, NOW)) == [("unload", "local/a@1")]
    assert kinds(steps([view(out)], "local", 0, {}, NOW)) == [("forget", "local/a@1")]


def test_refused_and_unknown_versions_are_unloaded() -> None:
    """A refused version that is still listed goes, and so does a name of ours that the registry never heard of; foreign names stay."""
    refused = version("a", 1, state=State.REFUSED)
    actual = {"local/a@1": "/adapters/a/1", "local/b@1": "/x", "theirs": "/y", "localish/c@1": "/z"}
    assert kinds(steps([view(refused)], "local", 0, actual, NOW)) == [("unload", "local/a@1"), ("unload", "local/b@1")]


def test_other_engines_adapters_are_not_loaded_here() -> None:
    """An adapter belongs to one engine."""
    assert steps([AdapterView("a", "other", versions=(version("a", 1, wanted=True),))], "local", 0, {}, NOW) == []


def test_what_failed_a_moment_ago_waits() -> None:
    """A name in `waiting` is not tried again yet, neither loaded nor verified."""
    assert steps([view(version("a", 1, wanted=True))], "local", 0, {}, NOW, {"local/a@1"}) == []
    assert steps([view(version("a", 1, wanted=True))], "local", 0, {"local/a@1": "/adapters/a/1"}, NOW, {"local/a@1"}) == []


def test_paths_of_a_server_elsewhere() -> None:
    """The longest prefix counts, at directory borders only."""
    paths = {"/var/adapters": "/mnt/x/", "/var/adapters/deep": "/mnt/deep"}
    assert mapped("/var/adapters/a/1", paths) == "/mnt/x/a/1"
    assert mapped("/var/adapters/deep/1", paths) == "/mnt/deep/1"
    assert mapped("/var/adapters", paths) == "/mnt/x"
    assert mapped("/var/adapters2/1", paths) == "/var/adapters2/1"
    found = steps([view(version("a", 1, wanted=True, path="/var/adapters/a/1"))], "local", 0, {}, NOW, (), paths)
    assert found[0].path == "/mnt/x/a/1"


@given(st.lists(st.tuples(st.sampled_from(list(State)), st.booleans(), st.booleans(), st.booleans()), max_size=6), st.booleans())
def test_steps_lead_to_what_is_wanted(rows: list[tuple[State, bool, bool, bool]], wrong_root: bool) -> None:
    """Whatever the start: doing the steps once leaves exactly the wanted versions there, under their own directories; doing them again asks nothing."""
    versions, actual = [], {"theirs": "/y"}
    for number, (state, asked, listed, known) in enumerate(rows, 1):
        wanted = asked and state in {State.REGISTERED, State.LOADED}
        seen = (0,) if known else ()
        versions.append(version("a", number, state=state, wanted=wanted, present=seen, replicas=seen if listed else (), drain_until=0.0))
        if listed:
            actual[f"local/a@{number}"] = "/wrong" if wrong_root else f"/adapters/a/{number}"
    for _ in range(2):
        for step in steps([view(*versions)], "local", 0, actual, NOW):
            seen = tuple({0} if step.kind in {"load", "verify"} else ())
            if step.kind == "load":
                actual[step.name] = step.path
            elif step.kind == "unload":
                actual.pop(step.name)
            if step.version:
                versions[step.version - 1] = replace(versions[step.version - 1], present=seen, replicas=seen if step.kind == "verify" else ())
    assert actual == {"theirs": "/y"} | {f"local/a@{v.version}": v.path for v in versions if v.wanted}
    assert steps([view(*versions)], "local", 0, actual, NOW) == []
