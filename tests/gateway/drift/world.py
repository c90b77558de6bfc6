"""A database with a registered, live adapter on the route `triage`, and samples to put into it as the workers do."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.drift.monitor import Monitor
from gateway.store import drift
from gateway.store.drift import Place, Sample, State
from serving import registry
from serving.database import connect, reading, writing
from serving.verbs import Change
from serving.views import VersionView
from tests.databases import prepare
from tests.gateway.drift import streams
from tests.gateway.live_gateway import config_of

NOW = 1795442400.0  # 2026-11-23T14:00:00Z, a Monday
PLACE: Place = ("triage", "triage", 1)


def body(**more: Any) -> dict[str, Any]:
    """A route with a hosted and a local candidate."""
    candidates = [{"provider": "openai", "model": "gpt-4o-mini"}, {"engine": "local", "adapter": "triage"}]
    return {
        "providers": {"openai": {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk-test"}},
        "engines": {"local": {"urls": ["http://127.0.0.1:9"]}},
        "routes": {"triage": {"candidates": candidates, **more.pop("route", {})}},
        "drift": {"learn_hours": 0},
        **more,
    }


def promoted(database: Engine, versions: int = 1, now: float = NOW - 90_000.0) -> None:
    """Register versions 1 to `versions` of `triage` and promote the last."""
    with writing(database) as conn:
        for number in range(1, versions + 1):
            if number not in {version.version for view in registry.views(conn).values() for version in view.versions}:
                seen = VersionView("triage", 0, f"{number:064x}", f"/data/{number}", "registered")  # type: ignore[arg-type]
                registry.add_version(conn, seen, "local", "tests", "tests", now)
                registry.request(conn, Change("load", "triage", number, actor="tests"), {"triage": False}, now)
                registry.saw(conn, ("local", 0), ("triage", number), "verified", "", now)
                registry.verified(conn, "triage", number, {"proof": "proven"})
        registry.apply(conn, {"local": frozenset({0})}, {"triage": {"triage": False}}, now)
        registry.request(conn, Change("promote", "triage", versions, actor="tests"), {"triage": False}, now)
        registry.apply(conn, {"local": frozenset({0})}, {"triage": {"triage": False}}, now)


class World:
    """A monitor and its clock. `feed` puts samples in and lets it look."""

    def __init__(self, directory: Path, more: Mapping[str, Any] | None = None, past: World | None = None) -> None:
        self.config: Config = config_of(directory, body(**(more or {})))
        if past is not None:
            shutil.copy(past.config.source.parent / "breakeven.db", directory)
        self.database = connect(self.config.database, directory)
        if past is None:
            prepare(self.database)
            promoted(self.database)
        self.now = NOW if past is None else past.now
        self.monitor = Monitor(self.database, lambda: self.now)
        self.rng = random.Random(3)
        self._sent = 0 if past is None else past._sent

    def feed(self, pool: Sequence[streams.Sample], n: int, apart_s: float = 50.0, place: Place = PLACE) -> None:
        """So many requests of a pool, all answered by the adapter, in turns of 500."""
        while n > 0:
            some = min(n, 500)
            self._put([self.rng.choice(pool) for _ in range(some)], apart_s, place)
            n -= some
            while self.monitor.turn(self.config):
                pass

    def state(self, place: Place = PLACE) -> State:
        """How the version does."""
        with reading(self.database) as conn:
            return next(state for state in drift.states(conn) if state.place == place)

    def _put(self, samples: Sequence[streams.Sample], apart_s: float, place: Place) -> None:
        items = []
        for sample in samples:
            self._sent += 1
            self.now += apart_s
            items.append(Sample(f"req_{self._sent}", self.now, place[0], place[1], place[2], sample))
        with writing(self.database) as conn:
            drift.insert_samples(conn, items)
