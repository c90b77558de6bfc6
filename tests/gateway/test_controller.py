"""Claims about the controller: engines, adapters, ledger and books, in one process and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from gateway import adapters
from gateway.adapters import Asked
from gateway.config.load import load
from gateway.config.models import Config
from gateway.controller import Controller, Uptime, main
from gateway.engine_specs import replica_specs
from gateway.store.spool import Spool
from gateway.store.tables import gpu_minutes, open_admits
from router.errors import ConfigError
from serving import registry
from serving.database import connect, reading, writing
from serving.replica_table import put
from serving.verbs import Change
from serving.views import ReplicaView
from tests.gateway.engine_world import adapter, body, configured, controlled
from tests.serving.servers import alive, record, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Config, Engine]]:
    config, database = configured(tmp_path)
    yield config, database
    database.dispose()


def replicas(database: Engine) -> list[ReplicaView]:
    with reading(database) as conn:
        return registry.replicas(conn)


def ready(database: Engine, count: int = 1) -> bool:
    return [r.state for r in replicas(database)] == ["ready"] * count


def add(config: Config, database: Engine, path: str) -> int:
    return int(adapters.added(database, config, Asked("colour", path), time.time(), {})["version"])


async def promote(config: Config, database: Engine, number: int) -> None:
    change = Change("promote", "colour", number)
    version = adapters.requested(database, config, change, time.time())
    await until(lambda: adapters.is_done(database, change, version))


async def test_an_adapter_asked_for_before_the_start_is_there_after_it(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """Commands work before serve is up; the controller does what is wanted, tells of its replica, pays its minutes, and leaves nothing when it ends."""
    config, database = world
    number = add(config, database, adapter(tmp_path, "red"))
    change = Change("promote", "colour", number)
    adapters.requested(database, config, change, time.time())
    async with controlled(config):
        await until(lambda: adapters.body_of(database, "colour")["live"] == number)
        await until(lambda: ready(database))
        assert (replicas(database)[0].model, replicas(database)[0].max_model_len) == ("local", 64)
        group = int(str(record(config.server.data_dir / "engines")["server"]))
        await until(lambda: _minutes(database) > 0)
    assert [(r.state, r.healthy) for r in replicas(database)] == [("stopped", False)]
    assert alive(group) == []
    assert adapters.body_of(database, "colour")["versions"][0]["replicas"] == []


def _minutes(database: Engine) -> int:
    with reading(database) as conn:
        return sum(row.milliseconds for row in conn.execute(select(gpu_minutes)))


async def test_records_become_rows(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """What a worker wrote ahead is in the database a moment later, and what a dead one left open is written off."""
    config, database = world
    async with controlled(config) as controller:
        spool = Spool(config.server.data_dir / "spool", "w9")
        spool.admit("req_1", time.time(), "plain", "/v1/chat/completions", None)
        await until(lambda: controller._ingester.open == 1)
        spool.close()
        await until(lambda: controller._ingester.open == 0)
    with reading(database) as conn:
        assert conn.execute(select(open_admits)).all() == []


async def test_reloading_adds_and_removes_engines(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """A second engine comes and goes without the first one being touched; a file that is not valid changes nothing."""
    config, database = world
    number = add(config, database, adapter(tmp_path, "red"))
    async with controlled(config) as controller:
        await promote(config, database, number)
        first = record(config.server.data_dir / "engines")["server"]
        config.source.write_text("nonsense: 1")
        controller.reload()
        assert controller.config is config
        _rewrite(config, body(tmp_path, args=["--port", "1"]))
        controller.reload()
        assert controller.config is config
        _rewrite(config, {**body(tmp_path), "engines": {**body(tmp_path)["engines"], "second": {**body(tmp_path)["engines"]["local"]}}})
        controller.reload()
        await until(lambda: ready(database, 2))
        assert record(config.server.data_dir / "engines")["server"] == first
        _rewrite(config, body(tmp_path))
        controller.reload()
        await until(lambda: ready(database, 1))
        assert record(config.server.data_dir / "engines")["server"] == first


def _rewrite(config: Config, content: dict[str, object]) -> None:
    full = {"server": {"port": 0, "data_dir": str(config.server.data_dir)}, "database": str(config.database), **content}
    config.source.write_text(json.dumps(full))


async def test_what_an_earlier_controller_believed_is_forgotten(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """Replicas that a killed controller left as healthy are not, until this one has seen them; those not configured any more are gone."""
    config, database = world
    with writing(database) as conn:
        for engine in ("local", "old"):
            put(conn, ReplicaView(engine, 0, "http://127.0.0.1:9", "ready", healthy=True, restarts=0, detail=""), 1.0)
        registry.saw(conn, ("local", 0), ("colour", 1), "verified", "", 1.0)
    controller = Controller(config, time.time, {})
    controller._disbelieve()
    assert [(r.engine, r.state, r.healthy) for r in replicas(database)] == [("local", "stopped", False), ("old", "stopped", False)]
    controller._forget_replicas(replica_specs(config, sys.executable))
    assert [r.engine for r in replicas(database)] == ["local"]
    controller._ingester.close()
    controller._database.dispose()


def test_values_that_cannot_work_stop_the_start(tmp_path: Path) -> None:
    """An engine that sets what we set is a configuration error before anything is started."""
    config, database = configured(tmp_path, args=["--served-model-name", "x"])
    with pytest.raises(ConfigError, match="set by Breakeven"):
        Controller(config, time.time, {})
    database.dispose()


class Process:
    """The controller as a process of its own."""

    def __init__(self, config: Config) -> None:
        code = "from gateway.config.load import load; from gateway.controller import main; sys.exit(main(load(pathlib.Path(sys.argv[1]), {})))"
        argv = [sys.executable, "-c", f"import sys, pathlib; {code}", str(config.source)]
        self.process = subprocess.Popen(argv, cwd=Path(__file__).parents[2], start_new_session=True)


async def test_a_killed_controller_leaves_nothing_and_the_next_one_restores_all(tmp_path: Path, world: tuple[Config, Engine]) -> None:
    """kill -9: no engine process survives; started again: the same adapter is live, loaded and verified; SIGTERM: exit code 0."""
    config, database = world
    number = add(config, database, adapter(tmp_path, "red"))
    first = Process(config)
    await promote(config, database, number)
    group, url = int(str(record(config.server.data_dir / "engines")["server"])), replicas(database)[0].url
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(30)
    await until(lambda: alive(group) == [])
    second = Process(config)
    await until(lambda: replicas(database)[0].url != url and ready(database) and adapters.body_of(database, "colour")["versions"][0]["replicas"] == [0])
    assert adapters.body_of(database, "colour")["live"] == number
    second.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.2)
    assert second.process.poll() is None
    group = int(str(record(config.server.data_dir / "engines")["server"]))
    second.process.terminate()
    assert await asyncio.to_thread(second.process.wait, 20) == 0
    assert alive(group) == []


def test_main_runs_until_it_is_told(tmp_path: Path, world: tuple[Config, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code of an asked-for end is 0, and the handlers are not ours any more."""
    config, _ = world
    real = Controller.run

    async def soon(self: Controller, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
        await real(self, stop)

    monkeypatch.setattr(Controller, "run", soon)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(load(config.source, {})) == 0
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_uptime_is_counted_by_the_minute() -> None:
    """A replica is paid for between two looks that both saw it, split at the full minute, summed within it."""
    uptime, here = Uptime(), {("local", 0)}
    assert uptime.seen(here, 100.0) == {}
    assert uptime.seen(here, 110.0) == {("local", 0, 1): 10.0}
    assert uptime.seen(here, 118.0) == {("local", 0, 1): 18.0}
    assert uptime.seen(here, 130.0) == {("local", 0, 1): 20.0, ("local", 0, 2): 10.0}
    assert uptime.seen(set(), 135.0) == {}
    assert uptime.seen(here, 140.0) == {}
    assert uptime.seen(here, 142.0) == {("local", 0, 2): 12.0}
    assert uptime.seen(here, 141.0) == {}


def test_the_database_is_the_configured_one(world: tuple[Config, Engine]) -> None:
    """The controller opens what the configuration names."""
    config, _ = world
    engine = connect(config.database, config.source.parent)
    assert replicas(engine) == []
    engine.dispose()
