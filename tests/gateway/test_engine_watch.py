"""What the controller sees of its engines over time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

from gateway import adapters, engine_watch
from gateway.adapters import Asked
from gateway.config.models import Config
from gateway.controller import Controller
from gateway.engine_watch import Uptime, Work
from gateway.store import gpu
from gateway.store.engine_tables import engine_work
from gateway.store.tables import gpu_minutes
from serving import registry
from serving.client import Client
from serving.database import reading
from serving.process import free_port
from serving.replica import Spec
from serving.verbs import Change
from tests.gateway.engine_world import adapter, configured, controlled
from tests.serving.servers import Watched, alive, record, until

HERE = {("local", 0)}
NOON = 1795442400.0


def test_a_clock_that_was_set_makes_no_time() -> None:
    """An hour forward is two seconds for the GPU, and so is an hour back: the seconds are those of a clock that nobody sets, in the minute it is."""
    uptime = Uptime()
    uptime.seen(HERE, 1000.0, 50.0)
    assert uptime.seen(HERE, 1002.0, 52.0) == {("local", 0, 16): 2.0}
    assert uptime.seen(HERE, 4604.0, 54.0) == {("local", 0, 76): 2.0}
    assert uptime.seen(HERE, 1006.0, 56.0) == {("local", 0, 16): 2.0}, "that minute was written down long ago"


def test_a_suspended_machine_is_not_billed_for_its_sleep() -> None:
    """The time of day went on and the steady clock did not: nothing ran."""
    uptime = Uptime()
    uptime.seen(HERE, 60.0, 5.0)
    assert uptime.seen(HERE, 7260.0, 5.0) == {}


def totals(database: Engine) -> tuple[int, int]:
    w = engine_work.c
    with reading(database) as conn:
        row = conn.execute(select(func.sum(w.prompt_tokens), func.sum(w.generated_tokens))).one()
    return int(row[0] or 0), int(row[1] or 0)


async def test_work_that_nobody_sent_through_us_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone calls a replica directly: the tokens are in the database within a look, once; a replica that is killed and comes back goes on from nothing."""
    monkeypatch.setattr(engine_watch, "SAMPLE_S", 0.1)
    config, database = configured(tmp_path)
    async with controlled(config) as controller:
        await until(lambda: any(r.view.state == "ready" for r in controller.engines.replicas))
        url = controller.engines.replicas[0].view.url
        await until(lambda: len(controller._work._sampler._last) == 1)
        wanted = {"model": "local", "prompt": [[1, 2, 3], [4, 5, 6]], "max_tokens": 5, "ignore_eos": True}
        before = totals(database)
        httpx.post(f"{url}/v1/completions", json=wanted, timeout=30).raise_for_status()
        await until(lambda: totals(database) == (before[0] + 6, before[1] + 10))
        httpx.post(f"{url}/v1/completions", json=wanted, timeout=30).raise_for_status()
        await until(lambda: totals(database) == (before[0] + 12, before[1] + 20))
    database.dispose()


async def test_a_poisoned_replica_is_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM counts requests whose logits were no numbers: the replica is drained and started anew, once; log, audit trail and metrics say so."""
    monkeypatch.setattr(engine_watch, "SAMPLE_S", 0.1)
    config, database = configured(tmp_path)
    number = adapters.added(database, config, Asked("colour", adapter(tmp_path, "red")), time.time(), {})["version"]
    async with controlled(config) as controller:
        version = adapters.requested(database, config, Change("promote", "colour", number), time.time())
        await until(lambda: adapters.is_done(database, Change("promote", "colour", number), version))
        replica = controller.engines.replicas[0]
        url, group = replica.view.url, int(str(record(config.server.data_dir / "engines")["server"]))
        await asyncio.to_thread(httpx.post, f"{url}/fake/corrupted", json={"status": 3}, timeout=30)
        await until(lambda: replica.view.restarts == 1 and "poisoned: it computed values that are not numbers in 3 requests" in replica.view.detail)
        await until(lambda: replica.view.state == "ready" and replica.view.url != url)
        assert alive(group) == []
        counted = [list(cell) for key, cell in controller._metrics.metrics.cells() if key == ("breakeven_engine_poisonings", "local")]
        assert counted == [[1.0]]
    with reading(database) as conn:
        (line,) = [row for row in registry.audit(conn, "colour") if row["verb"] == "poisoned"]
        assert registry.view(conn, "colour").live == number
    assert (line["version"], line["actor"], line["detail"]) == (number, "controller", {"engine": "local", "replica": 0})
    assert "it is drained and restarted" in line["reason"]
    database.dispose()


async def test_a_replica_without_counters_is_no_work(tmp_path: Path) -> None:
    """A page of something else, a server that is not there, a client that was closed meanwhile: nothing is seen, and nothing fails."""
    config, database = configured(tmp_path)
    replica = Watched(Spec("local", 0, tmp_path)).replica
    work = Work(lambda: [replica], database, lambda: 1.0, lambda _: None)
    assert await work._look(replica) is None
    replica.client = Client(f"http://127.0.0.1:{free_port()}")
    assert await work._look(replica) is None
    await replica.client.aclose()
    assert await work._look(replica) is None
    async with controlled(config) as controller:
        await until(lambda: any(r.view.state == "ready" for r in controller.engines.replicas))
        url = controller.engines.replicas[0].view.url
        httpx.post(f"{url}/fake/page", json={"status": "nothing 1\n"})
        replica.client = Client(url)
        assert await work._look(replica) is None
        await replica.client.aclose()
    database.dispose()


@dataclass
class Clock:
    """A time of day that tests set."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


class Running:
    """The controller's engines as its books see them: replicas that are up."""

    def __init__(self, *engines: str) -> None:
        self.replicas = [SimpleNamespace(spec=Spec(name, 0, Path()), view=SimpleNamespace(state="ready"), up=True) for name in engines]


@contextmanager
def booking(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Controller, Clock, Engine]]:
    """A controller of one engine at 3.60 dollars an hour, whose clocks both are the test's."""
    config, database = configured(directory)
    clock = Clock()
    controller = Controller(config, clock, {})
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock, raising=False)
    controller.engines = Running("local")  # type: ignore[assignment]
    yield controller, clock, database
    controller._ingester.close()
    controller._database.dispose()
    database.dispose()


def bills(database: Engine) -> list[int | None]:
    """The bill of each minute so far."""
    with reading(database) as conn:
        return list(conn.execute(select(gpu_minutes.c.bill_nanousd).order_by(gpu_minutes.c.minute)).scalars())


def priced(config: Config, usd: str | None) -> Config:
    """The configuration with another price of its engine."""
    engine = config.engines["local"].model_copy(update={"gpu_hour_usd": None if usd is None else Decimal(usd)})
    return config.model_copy(update={"engines": {"local": engine}})


async def test_a_reload_changes_the_price_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 s at 3.60 dollars an hour and 40 s at 7.20 in the same minute; an engine that leaves the configuration keeps its price while it drains."""
    with booking(tmp_path, monkeypatch) as (controller, clock, database):
        for second, config in ((0, controller.config), (20, controller.config), (40, priced(controller.config, "7.2")), (60, None)):
            clock.now = NOON + second
            if config is not None:
                controller.config = config
            await controller._book()
        assert bills(database) == [20 * 1_000_000 + 40 * 2_000_000]
        controller.config = controller.config.model_copy(update={"engines": {}})
        clock.now = NOON + 70
        await controller._book()
        assert bills(database)[1] == 10 * 2_000_000


async def test_without_a_price_minutes_are_counted_and_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `gpu_hour_usd`: the time is written down, the bill is not a guess."""
    with booking(tmp_path, monkeypatch) as (controller, clock, database):
        controller.config = priced(controller.config, None)
        for second in (0, 30):
            clock.now = NOON + second
            await controller._book()
        assert bills(database) == [None]


async def test_a_database_that_was_away_misses_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses over the turn of a minute; the seconds of the minute that is gone are written when it takes them again."""
    with booking(tmp_path, monkeypatch) as (controller, clock, database):
        await controller._book()
        real = gpu.record_uptime

        def refused(*_: object) -> None:
            raise OperationalError("INSERT", {}, Exception("database is locked"))

        for second in (30, 58, 62, 64):
            monkeypatch.setattr(gpu, "record_uptime", real if second == 64 else refused)
            clock.now = NOON + second
            with suppress(OperationalError):
                await controller._book()
        assert bills(database) == [60 * 1_000_000, 4 * 1_000_000]
