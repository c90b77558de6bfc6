"""A fine-tuning job as a real process that really trains: killed from all sides, it ends with the very adapter of a run that nobody disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.models import Config
from gateway.store import fine_tuning, job_files
from gateway.store.fine_tuning import Job
from serving import registry
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway.live_gateway import config_of
from tests.training import tiny
from training import dataset, loop, manifest
from training import job as jobs
from training.dataset import Dataset
from training.train import Options, Trained, train

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
# The controller's duty alone: an engine would cost half a minute and add nothing here.
DUTY = """
import asyncio, sys, time
from pathlib import Path
from gateway.config.load import load
from gateway.fine_tuning.runner import Trainer
from serving.database import connect

async def main():
    config = load(Path(sys.argv[1]), {})
    trainer = Trainer(connect(config.database, config.source.parent), time.time, {})
    while True:
        await trainer.once(config)
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


class World:
    """One job over a tiny base. `duty` starts what a gateway's controller does for it."""

    def __init__(self, directory: Path) -> None:
        tiny.build_base(directory / "base")
        body = {
            "engines": {"local": {"model": str(directory / "base"), "max_lora_rank": 8}},
            "database": f"sqlite:///{directory / 'b.db'}",
            "training": {"env": {"OMP_NUM_THREADS": "1"}},
        }
        self.config: Config = config_of(directory, body)
        self.database = connect(self.config.database, directory)
        prepare(self.database)
        numbers = {"n_epochs": 4, "batch_size": 1, "learning_rate_multiplier": 50.0}
        local = {"lora": {"r": 4, "dropout": 0.1}}  # with dropout, so that resuming must restore the random state too
        self.job = Job("ftjob-bk-1", None, 1.0, "local", "local", "ft-x-1", "file-bk-1", 5, wishes=numbers, local=local)
        self.work = job_files.work(self.config.server.data_dir, self.job.id)
        self.work.mkdir(parents=True)
        (self.work / job_files.TRAINING).write_text("\n".join(tiny.lines(16)) + "\n")
        with writing(self.database) as conn:
            fine_tuning.add(conn, self.job)
        self.log = directory / "duty.log"

    def duty(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", DUTY, str(self.config.source)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)

    def seen(self) -> Job:
        with reading(self.database) as conn:
            found = fine_tuning.get(conn, self.job.id)
        assert found is not None
        return found

    def messages(self) -> list[str]:
        with reading(self.database) as conn:
            return [event.message for event in fine_tuning.events(conn, self.job.id, 500)[0]][::-1]

    def trainer(self) -> int:
        return int(json.loads((self.work / job_files.RECORD).read_text())["server"])

    def until(self, true: Callable[[], Any], said: str) -> Any:
        deadline = time.monotonic() + 200
        while not (found := true()):
            assert time.monotonic() < deadline, (said, self.messages()[-5:], self.log.read_text()[-2000:])
            time.sleep(0.05)
        return found

    def undisturbed(self, output: Path) -> str:
        """The digest of the weights that the job's recipe gives in one go."""
        wanted = jobs.recipe_of(self.config, self.seen(), self.work).model_copy(update={"output": output})
        examples = dataset.examine(self.source).examples
        data = Dataset(examples, (), (), dataset.data_digest({"train": examples, "validation": (), "test": ()}))
        done = train(wanted, data, Options(threads=1))
        assert isinstance(done, Trained)
        return manifest.sha256_file(done.path / "adapter_model.safetensors")

    @property
    def source(self) -> Path:
        return self.work / job_files.TRAINING


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.dispose()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_trainer(world: World) -> None:
    os.kill(world.trainer(), signal.SIGKILL)
    world.until(lambda: any("killed by signal 9" in said for said in world.messages()), "nobody noticed")
    world.until(lambda: any("goes on from its last checkpoint" in said and "Fine-tuning" in said for said in world.messages()), "it was not started again")
    world.until(lambda: world.seen().reached >= 24, "it does not go on")


def test_a_killed_controller_costs_nothing(world: World, tmp_path: Path) -> None:
    """kill -9 of the controller while a job trains; the trainer is killed too in tests/proof/test_fine_tuning.py."""
    ends_the_same(world, tmp_path, twice=False)


def ends_the_same(world: World, tmp_path: Path, *, twice: bool) -> None:
    """No process is left over, no step is told twice, and the adapter that is registered is the undisturbed one, bit for bit."""
    duty = world.duty()
    try:
        world.until(lambda: world.seen().reached >= 18, "it does not train")  # beyond the first epoch's checkpoint
        if twice:
            kill_trainer(world)
        trainer = world.trainer()
        duty.kill()
        duty.wait(30)
        world.until(lambda: not alive(trainer), "the trainer outlives its controller")
        assert world.seen().status == "running"
        duty = world.duty()
        done = world.until(lambda: (found := world.seen()).status not in fine_tuning.WORK and found, "it did not end")
        assert (done.status, done.error, done.total) == ("loading", None, 64)

        def versions() -> tuple[Any, ...]:
            with reading(world.database) as conn:
                known = registry.views(conn).get(world.job.adapter)
            return known.versions if known is not None and all(version.wanted for version in known.versions) else ()

        made = world.until(versions, "nothing was registered")
        assert [version.version for version in made] == [1, 2, 3]  # two epochs before the last, and the model
    finally:
        duty.kill()
        duty.wait(30)
    steps = [said.split("/")[0] for said in world.messages() if said.startswith("Step ")]
    assert steps == [f"Step {step}" for step in range(1, 65)]
    assert manifest.sha256_file(Path(made[-1].path) / "adapter_model.safetensors") == world.undisturbed(tmp_path / "again")


def test_a_full_disk_and_a_cancel(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is said in words and ends the job; a job cancelled while it trains stops at the next step."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(loop, "run", full)
        done = jobs.run(world.config, world.database, world.job.id, lambda _: None, time.time)
    assert done["status"] == "failed"
    assert done["error"]["code"] == "disk_full"
    assert "free some space" in done["error"]["message"]

    other = Job("ftjob-bk-2", None, 2.0, "local", "local", "ft-x-2", "file-bk-1", 5, wishes=world.job.wishes, local=world.job.local)
    place = job_files.work(world.config.server.data_dir, other.id)
    place.mkdir(parents=True)
    (place / job_files.TRAINING).write_bytes(world.source.read_bytes())
    with writing(world.database) as conn:
        fine_tuning.add(conn, other)

    def cancel(now: Any) -> None:
        if now.phase == "training" and now.done == 2:
            with writing(world.database) as conn:
                fine_tuning.move(conn, other.id, "cancelled", time.time())

    monkeypatch.setattr(jobs, "_LOOK_S", 0.0)
    done = jobs.run(world.config, world.database, other.id, cancel, time.time)
    assert (done["status"], done["interrupted"], done["step"]) == ("cancelled", False, 3)  # the step that was under way is finished
