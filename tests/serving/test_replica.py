"""Claims about one replica's life: real processes below a real guard, with a stand-in for vLLM that starts at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from router.errors import ConfigError
from serving import replica as replica_module
from serving.replica import Spec, check
from tests.serving.servers import Watched, alive, launch, record, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pauses, shorter."""
    monkeypatch.setattr(replica_module, "POLL_S", 0.05)
    monkeypatch.setattr(replica_module, "BACKOFF_S", (0.05, 0.1, 0.2))
    monkeypatch.setattr(replica_module, "SAY_EVERY_S", 0.1)


Run = Callable[..., Watched]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """Start replicas that are stopped at the end."""
    running: list[tuple[Watched, asyncio.Task[None]]] = []

    def start(spec: Spec | None = None, adapters: int = 0, **env: str) -> Watched:
        watched = Watched(spec or Spec("local", 0, tmp_path, launch(**env)), adapters)
        running.append((watched, asyncio.ensure_future(watched.replica.run())))
        return watched

    yield start
    for watched, task in running:
        await watched.replica.stop()
        await asyncio.wait_for(task, 20)


async def test_from_start_to_ready_to_stopped(run: Run, tmp_path: Path) -> None:
    """Up after health and a token; ready only when announced; stop drains and leaves no process and no record."""
    one = run(adapters=40)
    await until(lambda: one.replica.up)
    assert one.states == ["starting"]
    await one.replica.announce()
    view = one.replica.view
    assert (view.state, view.healthy, view.model, view.max_model_len, view.restarts) == ("ready", True, "local", 64, 0)
    group = int(str(record(tmp_path)["server"]))
    assert len(alive(group)) == 2
    await one.replica.stop()
    await until(lambda: one.states[-1] == "stopped")
    assert one.states == ["starting", "ready", "draining", "stopped"]
    assert alive(group) == []
    assert not (tmp_path / "local-0.json").exists()
    assert one.lines[0] == "engine local/0: starting /models/base (stand-in 0, CPU)"
    assert any("up after" in line for line in one.lines)
    assert any("ready at http://127.0.0.1:" in line for line in one.lines)


async def test_a_killed_server_comes_back(run: Run, tmp_path: Path) -> None:
    """kill -9: failed at once, nothing left behind, started again, up again as another generation."""
    one = run()
    await until(lambda: one.replica.up)
    await one.replica.announce()
    first = int(str(record(tmp_path)["server"]))
    os.kill(first, signal.SIGKILL)
    await until(lambda: one.replica.generation == 2)
    assert alive(first) == []
    assert one.states == ["starting", "ready", "failed", "starting"]
    assert one.replica.view.restarts == 1
    assert any("killed by signal 9" in line and "next try in 0.05 s" in line for line in one.lines)
    assert not one.replica.view.healthy


async def test_an_exit_with_code_zero_is_a_failure(run: Run, tmp_path: Path) -> None:
    """vLLM ends with 0 when its engine dies: any exit that was not asked for is a failure, with growing pauses, and the log of the run before is kept."""
    one = run(FAKE_DIE="0")
    await until(lambda: one.replica.view.restarts >= 3)
    assert "ended with exit code 0: ValueError: the model is not to my taste" in one.replica.view.detail or one.replica.view.state == "starting"
    assert [line.rpartition("next try in ")[2] for line in one.lines if "next try" in line][:3] == ["0.05 s", "0.1 s", "0.2 s"]
    assert (tmp_path / "local-0.log.1").exists()


async def test_a_server_without_tokens_is_not_up(run: Run, tmp_path: Path) -> None:
    """Health 200 with an engine that cannot generate is not ready; progress is told meanwhile, and the start is given up in time."""
    one = run(Spec("local", 0, tmp_path, launch(FAKE_SICK="1"), startup_timeout_s=2.0))
    await until(lambda: any("warming up …" in line for line in one.lines))
    await until(lambda: one.replica.view.restarts >= 1)
    assert not one.replica.up
    assert any("not up after 2 s" in line for line in one.lines)


async def test_failing_health_checks_take_it_out_and_back(run: Run) -> None:
    """Three in a row: not healthy; well again: healthy; the process stays."""
    one = run()
    await until(lambda: one.replica.up)
    await one.replica.announce()
    async with httpx.AsyncClient() as http:
        await http.post(one.replica.view.url + "/fake/health", json={"status": 503})
        await until(lambda: not one.replica.view.healthy)
        assert one.replica.view.state == "ready"
        await http.post(one.replica.view.url + "/fake/health", json={"status": 200})
        await until(lambda: one.replica.view.healthy)
    assert one.replica.generation == 1


async def test_a_hung_server_is_started_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose health never comes back is ended and started anew."""
    monkeypatch.setattr(replica_module, "HUNG_AFTER", 5)
    one = run()
    await until(lambda: one.replica.up)
    await one.replica.announce()
    async with httpx.AsyncClient() as http:
        await http.post(one.replica.view.url + "/fake/health", json={"status": 503})
    await until(lambda: one.replica.generation == 2)
    assert any("health checks fail" in line for line in one.lines)


async def test_an_interpreter_without_vllm_is_told_and_tried_again(tmp_path: Path) -> None:
    """Installing it is enough: nothing has to be restarted."""
    one = Watched(Spec("local", 0, tmp_path, launch()))

    def broken(_python: str) -> object:
        raise ConfigError("has no vLLM; install it")

    one.replica._hooks = replace(one.replica._hooks, probe=broken)
    task = asyncio.ensure_future(one.replica.run())
    await until(lambda: one.replica.view.restarts >= 2)
    assert any("has no vLLM; install it" in line for line in one.lines)
    await one.replica.stop()
    await task


async def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A directory that cannot be made is a failed start with a reason, not a crash of the controller."""
    (tmp_path / "file").write_text("")
    one = Watched(Spec("local", 0, tmp_path / "file" / "deeper", launch()))
    task = asyncio.ensure_future(one.replica.run())
    await until(lambda: one.replica.view.restarts >= 1)
    assert any("cannot be started" in line for line in one.lines)
    await one.replica.stop()
    await task


async def test_leftovers_of_an_earlier_run_are_ended_first(run: Run, tmp_path: Path) -> None:
    """A controller that was killed leaves a draining server: the next start waits for it and says so."""
    first = run()
    await until(lambda: first.replica.up)
    group = int(str(record(tmp_path)["server"]))
    second = run()
    await until(lambda: second.replica.up)
    assert alive(group) == []
    assert any("left behind" in line for line in second.lines)


async def test_a_server_of_someone_else_is_watched_and_never_started(run: Run, tmp_path: Path, server: Callable[..., str]) -> None:
    """`urls:` engines: its base has its own name; when it goes away it is failed, when it is back it is up again."""
    url = server()
    one = run(Spec("theirs", 0, tmp_path, url=url))
    await until(lambda: one.replica.up)
    await one.replica.announce()
    assert (one.replica.view.model, one.replica.view.url, one.replica.view.healthy) == ("their-base", url, True)
    assert one.probed == []
    async with httpx.AsyncClient() as http:
        await http.post(url + "/fake/health", json={"status": 503})
        await until(lambda: one.replica.view.state == "failed")
        await asyncio.sleep(0.3)
        assert not one.replica.up
        await http.post(url + "/fake/health", json={"status": 200})
        await until(lambda: one.replica.generation == 2)
    assert any("waiting for" in line for line in one.lines)


async def test_a_server_of_someone_else_is_not_restarted(run: Run, tmp_path: Path, server: Callable[..., str]) -> None:
    """A poisoned one of ours is started anew; one that someone else runs stays as it is."""
    one = run(Spec("local", 0, tmp_path, url=server()))
    await until(lambda: one.replica.up)
    await one.replica.renew("poisoned")
    await asyncio.sleep(0.2)
    assert (one.replica.up, one.replica.generation, one.replica.view.restarts) == (True, 1, 0)


async def test_stopping_during_the_start(run: Run) -> None:
    """A replica that is not up yet ends at once, without a failure."""
    one = run(FAKE_SLOW="30")
    await until(lambda: len(one.lines) >= 1)
    await one.replica.stop()
    await until(lambda: one.states[-1] == "stopped")
    assert "failed" not in one.states
    await one.replica.announce()
    assert one.states[-1] == "stopped"


def test_values_that_cannot_work_are_refused_before_a_start() -> None:
    """All problems of an engine at once."""
    with pytest.raises(ConfigError, match="--port is set by Breakeven") as caught:
        check(replace(launch(), args=("--port", "1"), max_lora_rank=999))
    assert len(caught.value.problems) == 2
    check(launch())
