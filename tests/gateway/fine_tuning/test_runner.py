"""Which jobs get a process, and what becomes of one that dies. The process is a stand-in here: tests/e2e/test_fine_tuning.py has the real one."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.fine_tuning import objects
from gateway.fine_tuning.ending import table
from gateway.fine_tuning.runner import MOST_FAILURES, Trainer, choose, why
from gateway.store import fine_tuning, job_files
from gateway.store.fine_tuning import Job
from router.errors import StateError
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway.live_gateway import config_of


def job(number: int, status: str = "queued", **more: object) -> Job:
    return replace(Job(f"ftjob-bk-{number}", None, float(number), "m", "local", f"ft-{number}", "file-bk-1", 1, status=status), **more)  # type: ignore[arg-type]


def test_one_trains_at_a_time_the_one_that_began_first() -> None:
    """Files are read beside it, two at a time; a job that was running goes before one that waits, and paused ones have no process."""
    waiting = [job(1), job(2, "running"), job(3, "validating_files"), job(4, "validating_files"), job(5, "validating_files"), job(6, "paused")]
    assert [one.id[-1] for one in choose(waiting, [])] == ["3", "4", "2"]
    assert [one.id[-1] for one in choose(waiting, [job(2, "running")])] == ["3", "4"]
    assert [one.id[-1] for one in choose(waiting, [job(3, "validating_files")])] == ["4", "2"]
    assert choose([], [job(2, "running")]) == []


def test_how_it_ended_is_said_in_words() -> None:
    """A signal, or what it said last."""
    assert "signal 9" in why(137, "")
    assert "memory" in why(137, "")
    assert why(1, "no such file") == "exit code 1: no such file"


def test_names_follow_from_the_job() -> None:
    """`ft:` names and adapters, whatever the base and the suffix are; a checkpoint's id is its own."""
    one = job(1, model="gpt-4o-mini", suffix="My Orders/2")
    name, point = objects.model_name(one, "acme"), objects.checkpoint_name(one, "acme", 88)
    assert name == f"ft:gpt-4o-mini:acme:My-Orders-2:{objects.short_id(one.id)}"
    assert point.endswith(":ckpt-step-88")
    assert objects.short_id(one.id) not in point
    assert objects.model_name(replace(one, model="/models/tiny", suffix=None), "acme").startswith("ft:tiny:acme::")
    assert objects.adapter_name(one.id, "Qwen/Qwen2.5-7B", None).startswith("ft-Qwen-Qwen2.5-7B-")


def test_the_result_file_is_base64_of_a_table() -> None:
    """One row per step, whatever was told twice; what is not known is empty."""
    curve = [{"step": 1, "train_loss": 0.5}, {"step": 2, "train_loss": 0.25, "train_mean_token_accuracy": 0.75}, {"step": 2, "full_valid_loss": 0.3}]
    assert base64.b64decode(table(curve)).decode().splitlines() == [
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy",
        "1,0.50000,,,",
        "2,0.25000,0.75000,0.30000,",
    ]


STANDIN = """#!{python}
import os, signal, sys, time
from pathlib import Path
work = Path({work!r})
with (work / "starts").open("a") as file:
    file.write(f"{{os.getpid()}}\\n")
mode = Path({mode!r}).read_text()
if mode == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "fail":
    sys.exit("something broke")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
time.sleep(600)
"""


class World:
    """A database with one queued job, whose process is a script that does what `mode` says."""

    def __init__(self, directory: Path) -> None:
        self.now = 100.0
        self.database: Engine = connect("sqlite:///b.db", directory)
        prepare(self.database)
        self.job = job(1)
        self.work = job_files.work(directory / "data", self.job.id)
        self.work.mkdir(parents=True)
        self.mode = directory / "mode"
        script = directory / "python"
        script.write_text(STANDIN.format(python=sys.executable, work=str(self.work), mode=str(self.mode)))
        script.chmod(0o755)
        self.config: Config = config_of(directory, {"training": {"python": str(script)}, "database": "sqlite:///b.db"})
        with writing(self.database) as conn:
            fine_tuning.add(conn, self.job)

    def trainer(self) -> Trainer:
        return Trainer(self.database, lambda: self.now, {})

    @property
    def starts(self) -> int:
        return len((self.work / "starts").read_text().splitlines()) if (self.work / "starts").exists() else 0

    def seen(self) -> Job:
        with reading(self.database) as conn:
            found = fine_tuning.get(conn, self.job.id)
        assert found is not None
        return found

    def messages(self) -> list[str]:
        with reading(self.database) as conn:
            return [event.message for event in fine_tuning.events(conn, self.job.id, 100)[0]][::-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.dispose()


async def until(trainer: Trainer, world: World, true: object, later: float = 0.0) -> None:
    """Look again and again until `true()`; each look is `later` seconds after the one before."""
    deadline = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, world.messages()
        world.now += later
        await trainer.once(world.config)
        await asyncio.sleep(0.02)


def test_a_process_that_keeps_dying_fails_the_job(world: World) -> None:
    """Each death is told and waited for longer; after five in a row the job has failed, with the reason and nothing left on the disk."""
    world.mode.write_text("die")

    async def main() -> None:
        trainer = world.trainer()
        await until(trainer, world, lambda: world.seen().status == "failed" and not world.work.exists(), later=5.0)
        await trainer.close()

    asyncio.run(main())
    error = world.seen().error
    assert error is not None
    assert error["code"] == "server_error"
    assert "killed by signal 9" in error["message"]
    assert [f"try {n} of {MOST_FAILURES}" in said for n, said in enumerate(world.messages()[:-1], 2)] == [True] * (MOST_FAILURES - 1)
    assert world.seen().webhook_at is None  # nobody is configured to be told


def test_it_waits_before_it_tries_again(world: World) -> None:
    """Until the pause is over there is no second process; what it said last is in the events."""
    world.mode.write_text("fail")

    async def main() -> None:
        trainer = world.trainer()
        await until(trainer, world, lambda: world.seen().failures == 1)
        for _ in range(5):
            await trainer.once(world.config)
        assert world.starts == 1
        assert "exit code 1: something broke" in world.messages()[0]
        await until(trainer, world, lambda: world.seen().failures == 2, later=2.0)
        await trainer.close()

    asyncio.run(main())


def test_the_controllers_end_is_the_processes_end_and_no_failure(world: World) -> None:
    """Its process is told to end and waited for; the next controller starts another one, and a second controller beside it is refused."""
    world.mode.write_text("work")

    async def main() -> None:
        first = world.trainer()
        await until(first, world, lambda: world.starts == 1)
        with pytest.raises(StateError, match="only one may"):
            await world.trainer().once(world.config)
        await first.close()
        assert not (world.work / job_files.RECORD).exists()
        second = world.trainer()
        await until(second, world, lambda: world.starts == 2)
        await second.close()

    asyncio.run(main())
    assert world.seen().failures == 0


def test_a_cancelled_job_leaves_nothing(world: World) -> None:
    """Its directory goes once its process is gone; it never comes back."""
    world.mode.write_text("fail")
    with writing(world.database) as conn:
        fine_tuning.move(conn, world.job.id, "cancelled", 1.0)

    async def main() -> None:
        trainer = world.trainer()
        await until(trainer, world, lambda: not world.work.exists())
        await trainer.close()

    asyncio.run(main())
    assert world.seen().status == "cancelled"
