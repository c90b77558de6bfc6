"""The controller's duty: look at the evidence of every version on every route, take stages where it leads, and say so.

One look reads sums (gather.py), asks router/stage.py, and applies through the registry, with an audit line by `controller` that has the numbers. A version
that is clearly worse is taken back at once: a canary ends, a live version gives way to the previous one. What an operator forced stays as it is. Nothing is
remembered that is not in the database, so a restart changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, Engine

from gateway.config.models import Config
from gateway.engine_specs import adapter_routes
from gateway.quality.gather import NO_CALLS, Gatherer, Sums, span_of
from gateway.store import drift, quality_states
from router.errors import BreakevenError
from router.evidence import NOTHING, Finding
from router.naming import backend_name
from router.stage import Evidence, Proposal, findings, missing, propose
from router.types import Stage
from serving import registry
from serving.database import reading, state_version, writing
from serving.states import State
from serving.verbs import Change
from serving.views import AdapterView, Stages, stage_of

Place = tuple[str, str, int]
ACTOR = "controller"
# The share of an adapter's requests that a version gets when it comes out of shadow, and while it ramps.
CANARY_PERCENT = 5.0
RAMP_PERCENT = 50.0
# What people see of judgements is written this often; stages change at once.
SHOWN_S = 5.0
# Looking may take this part of one core's time.
_REST = 20.0
_ORDER = list(Stage)


@dataclass(frozen=True, slots=True)
class Judged:
    """A version on a route: what is known of it and what follows. `reference` is the backend it is compared with."""

    place: Place
    stage: Stage
    since: float
    reference: str | None
    evidence: Evidence
    proposal: Proposal | None
    held: str | None = None


class Quality:
    """One per controller. `clock` gives epoch seconds, `say` takes lines for the operator."""

    def __init__(self, database: Engine, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._database, self._clock, self._say = database, clock, say
        self._gatherer = Gatherer()
        self._shown: dict[Place, dict[str, Any]] = {}
        self._shown_at, self._next = float("-inf"), 0.0

    async def once(self, config: Config) -> None:
        """One look at everything, unless the last one took so long that it is not yet time again."""
        began = perf_counter()
        if began >= self._next:
            await asyncio.to_thread(self.look, config)
            self._next = began + _REST * (perf_counter() - began)

    def look(self, config: Config) -> list[str]:
        """One look, blocking: a sentence for each change."""
        now = self._clock()
        with reading(self._database) as conn:
            version = state_version(conn)
            judged = judge(conn, config, self._gatherer, now)
        self._gatherer.forget()
        said: list[str] = []
        if any(each.proposal is not None for each in judged):
            with writing(self._database) as conn:
                if state_version(conn) == version:  # somebody changed something meanwhile: look again instead
                    said, judged = apply(conn, config, judged, now)
        for line in said:
            self._say(f"quality: {line}")
        self._show(judged, now)
        return said

    def _show(self, judged: list[Judged], now: float) -> None:
        if now - self._shown_at < SHOWN_S:
            return
        bodies = {each.place: shown(each) for each in judged}
        fresh = {place: body for place, body in bodies.items() if self._shown.get(place) != body}
        self._shown, self._shown_at = bodies, now
        if fresh:
            with writing(self._database) as conn:
                for place, body in fresh.items():
                    quality_states.put(conn, place, body, now)


def judge(conn: Connection, config: Config, gatherer: Gatherer, now: float) -> list[Judged]:
    """Every loaded version on every route that has its adapter, with what the evidence proposes."""
    stages, entered, drifted = registry.stages(conn), registry.entered(conn), drift.stopped(conn)
    found: list[Judged] = []
    for name, routes in adapter_routes(config).items():
        view = registry.views(conn).get(name)
        if view is None:
            continue
        pinned = registry.pins(conn, name)
        for route, suite in routes.items():
            for version in view.versions:
                if version.state is not State.LOADED:
                    continue
                place = (route, name, version.version)
                since, stage = span_of(entered.get(place, version.changed_at), now), stage_of(view, version.version, route, stages)
                reference, gate = _reference(config, view, version.version, route, stages), version.gate_for(route) if suite else None
                known = Evidence(
                    gate_passed=gate,
                    drifted=place in drifted,
                    expected_agreement=config.routes[route].quality.shadow.agree,
                    floor=config.routes[route].quality.floor,
                    shadowing=config.routes[route].quality.shadow.share > 0.0,
                    may_enter=place not in stages and stage is Stage.BLOCKED and (not suite or gate is True),
                    pinned=version.version in pinned,
                )
                evidence = known if stage is Stage.BLOCKED else _with_sums(known, gatherer.sums(conn, route, since, now), view, version.version, reference)
                held = f"pinned by hand ({pinned[version.version]})" if version.version in pinned else None
                found.append(Judged(place, stage, since, reference, evidence, propose(stage, evidence), held))
    return found


def apply(conn: Connection, config: Config, judged: list[Judged], now: float) -> tuple[list[str], list[Judged]]:
    """Take what is proposed into force: a sentence for each change, and the judgements with what holds the others back."""
    said: list[str] = []
    after: list[Judged] = []
    downs = [each for each in judged if each.proposal is not None and _is_down(each)]
    ups = [each for each in judged if each.proposal is not None and not _is_down(each)]
    touched = {each.place[1] for each in downs}
    for each in downs:
        _take_back(conn, config, each, now)
        said.append(_sentence(each))
    for each in ups:
        held = f"{each.place[1]} has just changed" if each.place[1] in touched else _move_up(conn, config, each, judged, now)
        if held is None:
            said.append(_sentence(each))
            touched.add(each.place[1])
        else:
            after.append(replace(each, proposal=None, held=held))
    kept = {each.place for each in after}
    return said, [each for each in judged if each.place not in kept] + after


def shown(judged: Judged) -> dict[str, Any]:
    """A judgement as the admin API and the dashboard show it."""
    found = findings(judged.evidence, plan=True)
    return {
        "stage": judged.stage.value,
        "since": judged.since,
        "reference": judged.reference,
        "evidence": [_finding(each) for each in found],
        "needed": list(missing(judged.stage, judged.evidence, found)),
        "held": judged.held,
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "n": found.n,
        "reference_n": found.reference_n,
        "estimate": None if found.estimate is None else round(found.estimate, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "margin": found.margin,
        "verdict": found.verdict,
        "needed": found.needed,
    }


def _with_sums(known: Evidence, sums: Sums, view: AdapterView, number: int, reference: str | None) -> Evidence:
    mine, other = sums.calls.get(view.model(number), NO_CALLS), sums.calls.get(reference or "", NO_CALLS)
    return replace(
        known,
        answers=mine.answers,
        failed=mine.failed,
        baseline_answers=other.answers,
        baseline_failed=other.failed,
        feedback=sums.said(view.model(number)),
        baseline_feedback=sums.said(reference or ""),
        agreement=sums.agreed.get((view.name, number), NOTHING),
    )


def _reference(config: Config, view: AdapterView, number: int, route: str, stages: Stages) -> str | None:
    """A version that is not live is compared with the live one while that is good; else with the first hosted candidate. None: there is nothing."""
    if view.live is not None and number != view.live and stage_of(view, view.live, route, stages) is Stage.OPEN:
        return view.model(view.live)
    return next((backend_name(c.owner, c.model or "") for c in config.routes[route].candidates if c.kind == "hosted" and c.program is None), None)


def _is_down(judged: Judged) -> bool:
    return judged.proposal is not None and _ORDER.index(judged.proposal.to) < _ORDER.index(judged.stage)


def _take_back(conn: Connection, config: Config, judged: Judged, now: float) -> None:
    """The stage at once; where it is blocked, the canary ends or the previous version becomes live again."""
    route, name, number = judged.place
    if judged.proposal is None:
        return
    registry.set_stage(conn, judged.place, judged.proposal.to, judged.proposal.reason, now, ACTOR)
    view = registry.view(conn, name)
    if judged.proposal.to is not Stage.BLOCKED:
        return
    if number == view.canary_version or (number == view.live and view.previous is not None and view.canary_version is None):
        change = Change("rollback", name, actor=ACTOR, reason=f"on {route}: {judged.proposal.reason}")
        registry.request(conn, change, adapter_routes(config).get(name, {}), now)


def _move_up(conn: Connection, config: Config, judged: Judged, all_judged: list[Judged], now: float) -> str | None:
    """Do it, or say what holds it back."""
    (route, name, number), proposal = judged.place, judged.proposal
    view, routes = registry.view(conn, name), adapter_routes(config).get(name, {})
    if proposal is None:
        return None
    if proposal.to is Stage.SHADOW:
        registry.set_stage(conn, judged.place, Stage.SHADOW, proposal.reason, now, ACTOR)
        return None
    if number == view.live:  # it was in shadow because of drift, and is as it was again
        registry.set_stage(conn, judged.place, Stage.OPEN, proposal.reason, now, ACTOR)
        return None
    if view.canary_version not in {None, number} or view.want_canary is not None or view.want_live is not None:
        return f"another change of {name} is under way"
    behind = [each.place[0] for each in all_judged if each.place[1:] == (name, number) and each.place[0] != route and _is_behind(each, proposal.to)]
    if behind and proposal.to is not Stage.RAMP:
        return f"it waits for {', '.join(behind)}"
    verb = "promote" if proposal.to is Stage.OPEN else "canary"
    percent = None if proposal.to is Stage.OPEN else CANARY_PERCENT if proposal.to is Stage.CANARY else RAMP_PERCENT
    if percent is not None and (behind or number == view.canary_version):
        percent = max(view.canary_percent, 0.0 if behind else percent)
    change = Change("promote" if verb == "promote" else "canary", name, number, percent, actor=ACTOR, reason=f"on {route}: {proposal.reason}")
    try:
        registry.preview(conn, change, routes, now)
    except BreakevenError as error:
        return error.message
    registry.set_stage(conn, judged.place, proposal.to, proposal.reason, now, ACTOR)
    registry.request(conn, change, routes, now)
    return None


def _is_behind(other: Judged, to: Stage) -> bool:
    """Whether another route, which has traffic or was refused there, is not as far as the one that goes on."""
    if other.proposal is not None and _ORDER.index(other.proposal.to) >= _ORDER.index(to):
        return False
    if _ORDER.index(other.stage) >= _ORDER.index(to):
        return False
    return other.evidence.answers > 0 or other.evidence.agreement.n > 0 or (other.stage is Stage.BLOCKED and not other.evidence.may_enter)


def _sentence(judged: Judged) -> str:
    route, name, number = judged.place
    to, reason = ("", "") if judged.proposal is None else (judged.proposal.to.value, judged.proposal.reason)
    return f"{name}@{number} on {route}: {judged.stage.value} -> {to}: {reason}"
