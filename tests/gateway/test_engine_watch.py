"""What the controller sees of its engines over time."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, func, select

from gateway import engine_watch
from gateway.engine_watch import Uptime, Work
from gateway.store.engine_tables import engine_work
from serving.client import Client
from serving.database import reading
from serving.process import free_port
from serving.replica import Spec
from tests.gateway.engine_world import configured, controlled
from tests.serving.servers import Watched, until

HERE = {("local", 0)}


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


async def test_a_replica_without_counters_is_no_work(tmp_path: Path) -> None:
    """A page of something else, a server that is not there, a client that was closed meanwhile: nothing is seen, and nothing fails."""
    config, database = configured(tmp_path)
    replica = Watched(Spec("local", 0, tmp_path)).replica
    work = Work(lambda: [replica], database, lambda: 1.0)
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
