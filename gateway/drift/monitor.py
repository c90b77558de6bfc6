"""The controller's duty about drift: count what the workers measured, look, raise and lower levels, act, and say so.

One transaction for each turn, so that a controller that dies loses nothing and counts nothing twice. What follows a level: `notify` tells (audit trail,
webhook, metrics); `shadow` asks for more comparisons with the hosted model; `stop` takes the version out of routing on that route (`stopped` of
gateway/store/drift.py, applied with the stages); `retrain` proposes training on the new traffic, which nobody promotes without the gate. Not here: the
statistics (router/drift.py), the counting (watch.py, track.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from gateway.config.models import Config
from gateway.drift.features import COMES_IN
from gateway.drift.track import Track, fresh, of_body, seeded, to_body
from gateway.drift.watch import Rules, Watch, restored, sentence
from gateway.store import alerts, drift
from gateway.store.alerts import Alert
from gateway.store.drift import Place, Sample, State, Window
from gateway.store.period import rfc3339
from router.drift import LEVELS, Level, risen
from serving import registry
from serving.database import reading, writing

log = logging.getLogger("breakeven.drift")

# Samples of one transaction: others wait for SQLite meanwhile.
AT_ONCE = 1000
# Comparisons older than this are all in the table.
_SETTLED_S = 5.0
# Agreement from which on two answers count as the same.
_AGREES = 0.5
ACTIONS: Mapping[Level, str] = {
    "none": "nothing is wrong any more",
    "notify": "told",
    "shadow": "asked for more comparisons with the hosted model",
    "stop": "routing to it was stopped on this route",
    "retrain": "retraining on the new traffic was proposed",
}


@dataclass(slots=True)
class _Kept:
    """A watch in memory, and the row it is a copy of."""

    watch: Watch
    state: State


class Monitor:
    """Call `once` again and again with the configuration in force."""

    def __init__(self, database: Engine, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._kept: dict[Place, _Kept] = {}

    async def once(self, config: Config) -> None:
        """Count what is waiting and look at it."""
        if config.drift.enabled:
            while await asyncio.to_thread(self.turn, config) >= AT_ONCE:
                pass

    def turn(self, config: Config) -> int:
        """One transaction; how many samples were counted. Blocking."""
        with reading(self._database) as conn:
            if not drift.waiting(conn):
                return 0
        try:
            with writing(self._database) as conn:
                drift.lock(conn)
                return self._count(conn, config, self._clock())
        except BaseException:
            self._kept.clear()  # what was counted in memory alone is read again
            raise

    def _count(self, conn: Connection, config: Config, now: float) -> int:
        samples = drift.take_samples(conn, AT_ONCE)
        by_route: dict[str, list[Sample]] = {}
        for sample in samples:
            by_route.setdefault(sample.route, []).append(sample)
        active = places(conn, config)
        for route, mine in by_route.items():
            if route in config.routes and config.routes[route].drift.enabled:
                self._count_route(conn, config, [place for place in active if place[0] == route], mine, now)
        return len(samples)

    def _count_route(self, conn: Connection, config: Config, active: list[Place], samples: list[Sample], now: float) -> None:
        at: Place = (samples[0].route, "", 0)
        ring = ring_of(conn, at)
        known = {state.place: state for state in drift.states(conn, at[0])}
        kept = {place: self._watch(conn, place, known.get(place), ring, _rules(config, at[0]), now) for place in active}
        for sample in samples:
            if ring.add(sample.body, sample.time):
                ring.roll()
            for place, one in kept.items():
                one.watch.incoming(sample.body, sample.time)
                if place[1:] == (sample.adapter, sample.version):
                    one.watch.outgoing(sample.body, sample.time)
        for place, one in kept.items():
            for time, agreed in drift.pairs(conn, place, one.watch.paired_until, now - _SETTLED_S, AT_ONCE):
                one.watch.pair(agreed < _AGREES)
                one.watch.paired_until = time
        drift.put_window(conn, Window(at, "input", ring.baseline.n, to_body(ring)), now)
        acts = config.drift.act and config.routes[at[0]].drift.act
        for one in kept.values():
            one.state = settle(conn, config, one.watch, one.state, now, acts=acts)
            _save(conn, one, now)
            self._kept[one.state.place] = one

    def _watch(self, conn: Connection, place: Place, state: State | None, ring: Track, rules: Rules, now: float) -> _Kept:
        """The watch of a place as its row is: from memory, else from the database; where there is none a new one, whose baseline is what the route saw last."""
        if state is None:
            fresh_one = Watch(rules, inputs=seeded(ring, now))
            return _Kept(fresh_one, State(place, "none", now, (), None, None, 0, fresh_one.report(), fresh_one.memory(), now))
        there = self._kept.get(place)
        if there is not None and (there.state.updated_at, there.state.samples) == (state.updated_at, state.samples):
            there.watch.rules = rules
            return there
        found = drift.windows(conn, place)
        bodies = {part: window.body for part, window in found.items() if "-" not in part}
        hours: dict[str, dict[int, Any]] = {}
        for part, window in found.items():
            strand, dash, hour = part.partition("-")
            if dash:
                hours.setdefault(strand, {})[int(hour)] = (window.n, window.body)
        watch = restored(rules, state.memory, bodies, hours, state.report.get("features", ()))
        watch.samples = state.samples
        if "input" not in bodies:
            watch.inputs = seeded(ring, now)
        return _Kept(watch, state)


def places(conn: Connection, config: Config) -> list[Place]:
    """The (route, adapter, version) that answer by configuration and registry: live versions and canaries."""
    known, found = registry.views(conn), dict[Place, None]()
    for name, route in config.routes.items():
        for candidate in route.candidates:
            adapter = known.get(candidate.adapter or "")
            if adapter is not None and adapter.engine == candidate.engine:
                found |= {(name, adapter.name, version): None for version in (adapter.live, adapter.canary_version) if version is not None}
    return list(found)


def ring_of(conn: Connection, at: Place) -> Track:
    """The newest requests of a route, whoever answered."""
    window = drift.windows(conn, at).get("input")
    return fresh(COMES_IN) if window is None else of_body(COMES_IN, window.body, {})


def settle(conn: Connection, config: Config, watch: Watch, before: State, now: float, *, acts: bool) -> State:
    """The state after the looks of this turn. Where the level changed, that is acted upon and said."""
    level = watch.level if acts or not risen("notify", watch.level) else "notify"
    firing = watch.firing
    after = replace(before, samples=watch.samples, report=watch.report(), memory=watch.memory(), updated_at=now)
    if level == before.level:
        return replace(after, reasons=tuple(map(sentence, firing))) if firing and level != "none" else after
    reasons = tuple(map(sentence, firing)) or (before.reasons if level != "none" else ())
    changed = replace(after, level=level, since=now, reasons=reasons, action=ACTIONS[level], acted_at=now)
    _tell(conn, config, before, changed)
    if level == "retrain":
        drift.propose(conn, changed.place, before.since if before.level != "none" else now, {"reasons": list(reasons), "features": firing}, now)
    elif level == "none":
        drift.withdraw(conn, changed.place)
    return changed


def accept(conn: Connection, place: Place, reason: str, actor: str, now: float) -> State:
    """What a version is asked and answers now is what is usual from now on: its level ends, a new baseline begins with what the route saw last."""
    drift.lock(conn)
    before = next((state for state in drift.states(conn, place[0]) if state.place == place), None)
    watch = Watch(Rules(), inputs=seeded(ring_of(conn, (place[0], "", 0)), now))
    said = f"{actor} accepts the traffic as it is now: {reason}" if reason else f"{actor} accepts the traffic as it is now"
    state = State(place, "none", now, (), said, now, 0, watch.report(), watch.memory(), now)
    drift.drop_windows(conn, place)
    drift.withdraw(conn, place)
    drift.put_state(conn, state)
    detail = {"from": before.level if before is not None else "none", "to": "none", "accepted": True}
    registry.note_drift(conn, place[1:], place[0], said, detail, now, actor)
    return state


def forget(database: Engine, now: float) -> int:
    """Delete what is too old; how many rows. Blocking."""
    with writing(database) as conn:
        return drift.forget(conn, now)


def _rules(config: Config, route: str) -> Rules:
    least = config.routes[route].drift.min_change
    return Rules(config.drift.false_alarms, config.drift.min_change if least is None else least, config.drift.learn_hours * 3600.0)


def _save(conn: Connection, one: _Kept, now: float) -> None:
    place, watch = one.state.place, one.watch
    drift.put_state(conn, one.state)
    for strand, track in (("input", watch.inputs), ("output", watch.outputs)):
        drift.put_window(conn, Window(place, strand, track.baseline.n, to_body(track)), now)
        for hour in sorted(track.stale):
            drift.put_window(conn, Window(place, f"{strand}-{hour:03d}", track.hours[hour].n, track.hours[hour].counts), now)
        track.stale.clear()


def _tell(conn: Connection, config: Config, before: State, after: State) -> None:
    route, adapter, version = after.place
    said = f"{adapter}@{version} on route {route}: drift level {before.level} -> {after.level}, {after.action}"
    why = "; ".join(after.reasons) or ACTIONS[after.level]
    registry.note_drift(conn, (adapter, version), route, why, {"from": before.level, "to": after.level, "action": after.action}, after.since)
    log.log(logging.INFO if after.level == "none" else logging.WARNING, "%s: %s", said, why)
    if config.alerts.webhook is None:
        return
    data = {"route": route, "adapter": adapter, "version": version, "from": before.level, "level": after.level, "action": after.action}
    body = {"type": "drift.level", "timestamp": rfc3339(after.since), "text": f"{said}. {why}.", "data": {**data, "reasons": list(after.reasons)}}
    at = float(LEVELS.index(after.level))
    alerts.decide(conn, [Alert(alerts.new_id(), "drift", "route", route, f"{adapter}@{version}", after.since, at, orjson.dumps(body).decode(), after.since)])
