"""The fleet as this process knows it: the current view, refreshed off the hot path, and the live numbers beside it. Every decision is made here.

A view is built from one look at the database and swapped whole; a request keeps the view it started with. Not here: how a view is built (plans.py),
what is learnt from answers (live.py), calling anyone (exchange.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway import plans
from gateway.config.models import Config
from gateway.live import Board
from gateway.prices import PriceBook
from gateway.store import drift, fine_tuning
from gateway.store import keys as key_store
from gateway.view import Backend, Facts, FleetView, RoutePlan
from gateway.wire import features, parse
from router.errors import RequestError
from router.policy import decide
from router.types import Decision, Features, Live
from serving import registry
from serving.database import reading, state_version

log = logging.getLogger("breakeven.fleet")

REFRESH_S = 0.2
# Prices have dates: the view is built again this often even when nothing changed.
_REBUILD_S = 60.0
_MOST_PINNED = 512


class Fleet:
    """One per process. `start` before the first request, `stop` at the end; everything else may be called from the event loop at any time."""

    def __init__(self, config: Config, database: Engine, prices: PriceBook, clock: Callable[[], float]) -> None:
        self.board = Board()
        self.prices = prices
        self._database = database
        self._clock = clock
        self._pinned: dict[tuple[str, str | None], RoutePlan] = {}
        self._built_at = clock()
        self.view: FleetView = plans.build(config, Facts(), prices, self._built_at)
        self._task: asyncio.Task[None] | None = None
        self.stale_since: float | None = None

    async def start(self) -> None:
        """Read the database once (errors show: better now than at the first request), then keep looking."""
        await self.refresh(force=True)
        self._task = asyncio.create_task(self._keep_current(), name="fleet")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def refresh(self, *, force: bool = False) -> bool:
        """Look at the database; whether the view was replaced. SQLAlchemyError when it does not answer."""
        known = -1 if force else self.view.version
        facts = await asyncio.to_thread(_read, self._database, known)
        now = self._clock()
        if facts is None and now - self._built_at < _REBUILD_S:
            return False
        self._swap(self.view.config, facts or self.view.facts, now)
        return True

    def replace_config(self, config: Config, prices: PriceBook) -> None:
        """Take a new configuration into force, whole. Requests under way keep what they started with."""
        self.prices = prices
        self._swap(config, self.view.facts, self._clock())

    def plan(self, view: FleetView, model: str, pin: str | None = None) -> RoutePlan:
        """The plan for a `model` value, with the choice pinned by `pin` if given. RequestError 404 for unknown names, 400 for a pin that is a route."""
        if pin is None and (route := view.routes.get(model)) is not None:
            return route
        known = self._pinned.get((model, pin)) if view is self.view else None
        if known is not None:
            return known
        made = self._make(view, model, pin)
        if view is self.view:
            if len(self._pinned) >= _MOST_PINNED:
                self._pinned.clear()
            self._pinned[(model, pin)] = made
        return made

    def live(self, plan: RoutePlan, now: float | None = None) -> dict[str, Live]:
        """What is known of each candidate of a plan right now."""
        at = self._clock() if now is None else now
        return {name: self._live(plan, backend, at) for name, backend in plan.backends.items()}

    def decide(self, plan: RoutePlan, wanted: Features, now: float, seed: int, decision_id: str, *, hosted_left: bool = True) -> Decision:
        """The decision for one request, now. `hosted_left` False: no hosted dollars may be spent."""
        snapshot = plan.snapshot if hosted_left else plan.spent
        return decide(wanted, snapshot, self.live(plan, now), now, seed, decision_id)

    def explain(self, model: str, body: Mapping[str, Any], *, hosted_left: bool = True) -> Decision:
        """The decision a chat body would get now, without calling anyone. RequestError as for the request itself."""
        ask = parse(orjson.dumps({**body, "model": model}), "chat")
        return self.decide(self.plan(self.view, model), features(ask), self._clock(), 0, "dec_explain", hosted_left=hosted_left)

    def in_flight(self) -> int:
        """Calls to upstreams under way in this process."""
        return self.board.in_flight()

    def _live(self, plan: RoutePlan, backend: Backend, now: float) -> Live:
        healthy = backend.candidate.kind == "hosted" or any(self.board.usable(base, now) for base in backend.bases)
        return self.board.live(plan.name, backend.candidate, healthy, backend.slots, now)

    def _make(self, view: FleetView, model: str, pin: str | None) -> RoutePlan:
        now = self._clock()
        named = pin or model
        route = view.routes.get(model) if pin is not None else None
        programmed = None if route is None else plans.programmed(route, named)
        if programmed is not None:
            return programmed
        target = plans.resolve(view, named)
        if not target.pinned:
            raise RequestError(
                f"Invalid header x-breakeven-pin: {named!r} is a route; name a candidate such as openai/gpt-4o-mini.",
                param="x-breakeven-pin",
                code="invalid_header",
            )
        only = plans.pinned(view, target, named, self.prices, now)
        return only if route is None else plans.pinned_on(route, only)

    def _swap(self, config: Config, facts: Facts, now: float) -> None:
        self.view = plans.build(config, facts, self.prices, now)
        self._pinned.clear()
        self._built_at = now
        self.stale_since = None

    async def _keep_current(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.refresh()
                self.stale_since = None
            except SQLAlchemyError as error:
                if self.stale_since is None:
                    log.warning("the database does not answer; serving goes on with what is known: %s", error)
                    self.stale_since = self._clock()


def _read(database: Engine, known: int) -> Facts | None:
    """Everything in one transaction, or None while the version is still `known`. Blocking."""
    with reading(database) as conn:
        version = state_version(conn)
        if version == known:
            return None
        replicas: dict[str, list[registry.ReplicaView]] = {}
        for replica in registry.replicas(conn):
            replicas.setdefault(replica.engine, []).append(replica)
        return Facts(
            version=version,
            adapters=registry.views(conn),
            stages=registry.stages(conn),
            replicas={engine: tuple(found) for engine, found in replicas.items()},
            keys=key_store.snapshot(conn),
            no_keys=not key_store.listed(conn),
            ft_names=fine_tuning.names(conn),
            doubted=frozenset(place[0] for place in drift.shadowed(conn)),
        )
