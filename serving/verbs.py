"""What an operator may ask of an adapter, as a pure function: the adapter as it is and a change in, the adapter as it is wanted out. No database here.

Public: `Change`, `Plan`, `plan`, `settle`, `done`, `stage_changes`, `default_stages`.
A refusal raises before anything is written: AdapterRefused, GateRequired, StateError, RequestError. Asking for what is already so changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from router.errors import AdapterRefused, GateRequired, RequestError, StateError
from router.naming import parse_digest, parse_version
from router.types import Stage
from serving.states import Event, State, step
from serving.views import AdapterView, Stages, VersionView

Verb = Literal["load", "canary", "promote", "rollback", "retire"]
VERBS: tuple[Verb, ...] = get_args(Verb)
# How long a version that is on its way out keeps its name on the engines: workers see the new state within 1 s, answers in flight finish after an unload.
DRAIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked: `version` is a number or a digest (None: the previous one, `rollback` only), `percent` is for `canary`, `force` needs a `reason`."""

    verb: Verb
    adapter: str
    version: int | str | None = None
    percent: float | None = None
    force: bool = False
    reason: str = ""
    actor: str = "unknown"


@dataclass(frozen=True, slots=True)
class Plan:
    """The adapter as wanted and, in sentences, what will happen on the way. `version` is the one that was meant."""

    before: AdapterView
    after: AdapterView
    version: int | None
    steps: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether anything is to be written."""
        return self.before != self.after


def plan(view: AdapterView, change: Change, suites: Mapping[str, bool], now: float) -> Plan:
    """What `change` asks of `view`. `suites` maps each route that has this adapter to whether it has a suite, and so a gate."""
    if change.verb == "rollback":
        return _rollback(view, change)
    version = find(view, change.version)
    if change.verb == "load":
        return _finish(view, _load(view, version), version.version, [])
    if change.verb == "canary":
        return _canary(view, version, change, suites)
    if change.verb == "promote":
        return _promote(view, version, change, suites)
    return _retire(view, version, change, now)


def find(view: AdapterView, wanted: int | str | None) -> VersionView:
    """The version meant by a number or a digest; StateError says which there are."""
    if wanted is None:
        raise RequestError("say which version: a number or a digest", param="version")
    number = wanted if isinstance(wanted, int) else parse_version(wanted)
    digest = None if isinstance(wanted, int) else parse_digest(wanted)
    for version in reversed(view.versions):
        if version.version == number or (digest is not None and version.digest == digest):
            return version
    known = ", ".join(str(v.version) for v in view.versions) or "none"
    raise RequestError(f"{view.name} has no version {wanted}; known: {known}", status=404, code="version_not_found", param="version")


def settle(view: AdapterView, now: float, ready: frozenset[int] = frozenset()) -> AdapterView:
    """Apply what has become possible: a wanted version that every ready replica verified is loaded, a loaded one goes live, a drained one is retired.

    `ready` are the indices of replicas that answer; without any, nothing newly becomes loaded. Pure and idempotent.
    """
    for version in view.versions:
        if version.wanted and version.state is State.REGISTERED and ready and ready <= set(version.replicas):
            view = _with(view, replace(version, state=step(version.state, Event.VERIFY)))
        elif version.state is State.DRAINING and not version.present and now >= (version.drain_until or 0.0):
            view = _with(view, replace(version, state=step(version.state, Event.UNLOAD), drain_until=None))
    live = _wanted(view, view.want_live)
    if live is not None and live.state is State.LOADED:
        view = _go_live(view, live.version)
    elif live is not None and live.state is not State.REGISTERED:
        view = replace(view, want_live=None, want_back=False)
    canary = _wanted(view, view.want_canary)
    if canary is not None and canary.state is State.LOADED:
        view = replace(view, canary_version=canary.version, canary_percent=view.want_percent, want_canary=None, want_percent=0.0)
    elif canary is not None and canary.state is not State.REGISTERED:
        view = replace(view, want_canary=None, want_percent=0.0)
    return view


def done(view: AdapterView, change: Change, version: int | None) -> bool:
    """Whether what `change` asked is so. Raises AdapterRefused when the version was refused on the way."""
    target = None if version is None else view.version(version)
    if target is not None and target.state is State.REFUSED and change.verb != "retire":
        raise AdapterRefused(f"{view.name}@{version} was refused: {_said(target)}", target.reasons)
    if change.verb == "load":
        return target is not None and target.state is State.LOADED
    if change.verb == "canary":
        return view.want_canary is None
    if change.verb == "retire":
        return target is not None and target.state is State.RETIRED
    return view.want_live is None


def stage_changes(before: AdapterView, after: AdapterView, routes: Mapping[str, bool]) -> dict[tuple[str, int], Stage]:
    """What a change of live or canary means for the router: (route, version) -> stage, for the routes that have this adapter."""
    stages: dict[int, Stage] = {}
    for gone in (before.live, before.canary_version):
        if gone is not None and gone not in {after.live, after.canary_version}:
            stages[gone] = Stage.BLOCKED
    if after.canary_version is not None and after.canary_version != before.canary_version:
        stages[after.canary_version] = Stage.CANARY
    if after.live is not None and after.live != before.live:
        stages[after.live] = Stage.OPEN
    return {(route, version): stage for route in routes for version, stage in stages.items()}


def default_stages(view: AdapterView, routes: Mapping[str, bool], known: Stages) -> dict[tuple[str, int], Stage]:
    """Stages for routes that came to the configuration after the live version: open, unless the route has a suite whose gate it never passed."""
    found: dict[tuple[str, int], Stage] = {}
    live = None if view.live is None else view.version(view.live)
    for route, suite in routes.items():
        if live is not None and (route, view.name, live.version) not in known:
            found[route, live.version] = Stage.BLOCKED if suite and live.gate_for(route) is not True else Stage.OPEN
    return found


def _load(view: AdapterView, version: VersionView) -> AdapterView:
    if version.state is State.REFUSED:
        raise AdapterRefused(f"{view.name}@{version.version} was refused: {_said(version)}", version.reasons)
    if version.state is State.RETIRED:
        raise StateError(f"{view.name}@{version.version} is retired and its files are gone; add the directory again, it becomes a new version")
    return _with(view, replace(version, state=step(version.state, Event.LOAD), wanted=True, drain_until=None))


def _canary(view: AdapterView, version: VersionView, change: Change, suites: Mapping[str, bool]) -> Plan:
    if change.percent is None or not 0 <= change.percent <= 100:
        raise RequestError("say which share of this adapter's requests: percent from 0 to 100", param="percent")
    if change.percent == 0:
        return _finish(view, _end_canary(view), version.version, [])
    if version.version == view.live:
        raise StateError(f"{view.name}@{version.version} is live already; make another version the canary")
    if not _forced(change):
        failed = [route for route, suite in suites.items() if suite and version.gate_for(route) is False]
        if failed:
            raise GateRequired(f"the gate of {', '.join(failed)} did not pass for {view.name}@{version.version}; use force with a reason to do it anyway")
    after = _load(view, version)
    if (view.canary_version, view.canary_percent) != (version.version, change.percent):
        after = replace(after, want_canary=version.version, want_percent=change.percent)
    steps = [f"{view.name}@{version.version} gets {change.percent:g} % of the requests that the router sends to {view.name}"]
    return _finish(view, after, version.version, steps)


def _promote(view: AdapterView, version: VersionView, change: Change, suites: Mapping[str, bool]) -> Plan:
    missing = [route for route, suite in suites.items() if suite and version.gate_for(route) is not True]
    if missing and not _forced(change) and version.version != view.live:
        raise GateRequired(
            f"{view.name}@{version.version} has not passed the gate of {', '.join(missing)}; run `breakeven eval {missing[0]} "
            f"--adapter {view.name}@{version.version}`, or use force with a reason"
        )
    after = _load(view, version)
    steps = []
    if version.version == view.live:
        after = replace(after, want_live=None, want_back=False)
    else:
        after = replace(after, want_live=version.version, want_back=False)
        steps.append(f"{view.name}@{version.version} becomes live" + ("" if view.live is None else f" in place of {view.name}@{view.live}, which stays loaded"))
    return _finish(view, after, version.version, steps)


def _rollback(view: AdapterView, change: Change) -> Plan:
    if change.version is not None:
        back = find(view, change.version)
    elif view.canary_version is not None or view.want_canary is not None:
        return _finish(view, _end_canary(view), view.live, [])
    elif view.previous is None:
        if view.rolled_back is not None or view.want_back:  # asked again: it is done, or on its way
            return Plan(view, view, view.want_live or view.live, ())
        raise StateError(f"{view.name} has no previous version to go back to; promote one, or retire the live one with force and a reason")
    else:
        back = find(view, view.previous)
    after = _end_canary(_load(view, back))
    if back.version != view.live:
        after = replace(after, want_live=back.version, want_back=True)
    steps = [f"{view.name}@{back.version} becomes live again; {view.name}@{view.live} stays loaded"] if back.version != view.live else []
    return _finish(view, after, back.version, steps)


def _retire(view: AdapterView, version: VersionView, change: Change, now: float) -> Plan:
    used = "live" if version.version == view.live else "the canary" if version.version == view.canary_version else None
    if version.version in {view.want_live, view.want_canary}:
        used = "about to take traffic"
    if used is not None and not _forced(change):
        raise StateError(f"{view.name}@{version.version} is {used}; promote or roll back to another first, or use force with a reason")
    if version.state in {State.DRAINING, State.RETIRED}:
        return Plan(view, view, version.version, ())
    number = version.version
    after = _with(view, replace(version, state=step(version.state, Event.DRAIN), wanted=False, drain_until=now + DRAIN_S))
    after = replace(
        after,
        live=None if after.live == number else after.live,
        previous=None if after.previous == number else after.previous,
        rolled_back=None if after.rolled_back == number else after.rolled_back,
        want_live=None if after.want_live == number else after.want_live,
    )
    if number in {after.canary_version, after.want_canary}:
        after = _end_canary(after)
    return _finish(view, after, number, [f"{view.name}@{number} gets no new requests, is unloaded after {DRAIN_S:g} s, and its files are removed"])


def _finish(before: AdapterView, after: AdapterView, version: int | None, steps: list[str]) -> Plan:
    first = []
    target = None if version is None else after.version(version)
    old = None if version is None else before.version(version)
    if target is not None and old is not None and target.wanted and target.state is State.REGISTERED:
        first.append(f"{before.name}@{version} is loaded on every replica of {before.engine} without traffic, and verified against its training record")
    if before.canary_version is not None and after.canary_version is None and after.want_live != before.canary_version:
        first.append(f"the canary {before.name}@{before.canary_version} gets no more requests; it stays loaded")
    return Plan(before, after, version, (*first, *steps) if before != after else ())


def _go_live(view: AdapterView, number: int) -> AdapterView:
    if number == view.live:
        return replace(view, want_live=None, want_back=False)
    previous, rolled_back = (None, view.live) if view.want_back else (view.live, None)
    view = replace(view, live=number, previous=previous, rolled_back=rolled_back, want_live=None, want_back=False)
    return _end_canary(view) if number in {view.canary_version, view.want_canary} else view


def _end_canary(view: AdapterView) -> AdapterView:
    return replace(view, canary_version=None, canary_percent=0.0, want_canary=None, want_percent=0.0)


def _wanted(view: AdapterView, number: int | None) -> VersionView | None:
    return None if number is None else view.version(number)


def _with(view: AdapterView, version: VersionView) -> AdapterView:
    return replace(view, versions=tuple(version if v.version == version.version else v for v in view.versions))


def _forced(change: Change) -> bool:
    if change.force and not change.reason.strip():
        raise RequestError("force needs a reason: it is kept in the audit trail", param="reason")
    return change.force


def _said(version: VersionView) -> str:
    return "; ".join(reason.message for reason in version.reasons) or "no reason was recorded"
