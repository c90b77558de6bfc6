"""A fine-tuning job's process up to the training itself: no torch here. The rest is in tests/e2e/test_fine_tuning.py."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.store import fine_tuning, job_files
from gateway.store.fine_tuning import Job
from router.errors import BreakevenError, RequestError
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway.live_gateway import config_of
from training import job as jobs
from training.progress import Numbers, Progress, silent

AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


def lines(count: int) -> list[str]:
    return [json.dumps({"messages": [{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": f"a {i}"}]}) for i in range(count)]


class World:
    """One job whose files the test writes; `run` is its process, kept from training by another that holds the place."""

    def __init__(self, directory: Path) -> None:
        (directory / "base").mkdir()
        (directory / "base" / "config.json").write_text("{}")
        body = {"engines": {"local": {"model": str(directory / "base"), "max_lora_rank": 8, "gpu_hour_usd": 3.6}}, "database": "sqlite:///b.db"}
        self.config: Config = config_of(directory, body)
        self.database: Engine = connect("sqlite:///b.db", directory)
        prepare(self.database)
        self.job = Job("ftjob-bk-1", None, 1.0, "local", "local", "ft-x-1", "file-bk-1", 5, wishes=AUTO)
        self.work = job_files.work(self.config.server.data_dir, self.job.id)
        self.work.mkdir(parents=True)
        with writing(self.database) as conn:
            fine_tuning.add(conn, self.job)
        slot = job_files.slot(self.config.server.data_dir)
        self.place = os.open(slot, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.place, fcntl.LOCK_EX)

    def run(self, *rows: str, validation: list[str] | None = None) -> dict[str, Any]:
        (self.work / job_files.TRAINING).write_text("\n".join(rows) + "\n")
        if validation is not None:
            (self.work / job_files.VALIDATION).write_text("\n".join(validation) + "\n")
            with writing(self.database) as conn:
                fine_tuning.put(conn, self.job.id, validation_file="file-bk-2")
        return jobs.run(self.config, self.database, self.job.id, silent, lambda: 50.0)

    def seen(self) -> Job:
        with reading(self.database) as conn:
            found = fine_tuning.get(conn, self.job.id)
        assert found is not None
        return found

    def events(self) -> list[fine_tuning.Event]:
        with reading(self.database) as conn:
            return fine_tuning.events(conn, self.job.id, 500)[0][::-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    os.close(made.place)
    made.database.dispose()


def test_good_files_are_queued_with_numbers(world: World) -> None:
    """What was left to us is decided once the files are read; while another job trains this one waits."""
    done = world.run(*lines(40), lines(1)[0], validation=lines(12))
    assert (done["status"], done["interrupted"], done["error"]) == ("queued", False, None)
    assert "another job" in done["waiting"]
    assert world.seen().hyperparameters == {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}
    said = [event.message for event in world.events()]
    assert said[-1] == "Files validated, moving job to queued state"
    assert any(event.level == "warn" and "line 41" in event.message for event in world.events())  # a repeated line is no error


def test_everything_wrong_is_told_with_its_line(world: World) -> None:
    """All problems in the error and one event each."""
    done = world.run(*lines(12), "{", '{"messages": [{"role": "user"}]}', '{"messages": [{"role": "user", "content": "q"}]}')
    assert done["status"] == "failed"
    error = world.seen().error
    assert error is not None
    assert (error["code"], error["param"]) == ("invalid_training_file", "training_file")
    assert error["message"].startswith("The job failed due to an invalid training file. Invalid file format. ")
    assert all(f"line {line}: " in error["message"] for line in (13, 14, 15))
    assert [problem["line"] for problem in error["problems"]] == [13, 14, 15]
    assert len([event for event in world.events() if event.level == "error"]) == 4
    assert world.seen().webhook_at == 50.0


def test_thousands_of_problems_stay_readable(world: World) -> None:
    """The message names some and counts the rest; the events are bounded too."""
    world.run(*["{"] * 3000)
    error = world.seen().error
    assert error is not None
    assert "and 2980 more" in error["message"]
    assert len(error["message"]) < 4000
    assert len(world.events()) == jobs.MOST_EVENTS + 1


def test_a_validation_file_is_judged_like_the_other(world: World) -> None:
    """Its problems are its own."""
    world.run(*lines(12), validation=[*lines(12), "{"])
    error = world.seen().error
    assert error is not None
    assert (error["code"], error["param"]) == ("invalid_validation_file", "validation_file")


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_examples_in_openais_words(world: World, count: int) -> None:
    """Fewer than ten are refused as OpenAI refuses them."""
    world.run(*lines(count))
    error = world.seen().error
    assert error is not None
    assert error["code"] == "invalid_n_examples"
    assert error["message"] == f"Training file has {count} example(s), but must have at least 10 examples"


def test_two_processes_never_work_on_one_job(world: World) -> None:
    """The second leaves at once and changes nothing."""
    lock = os.open(world.work / job_files.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert world.run(*lines(12))["waiting"] == "another process works on it"
    assert world.seen().status == "validating_files"
    os.close(lock)


def test_an_ended_job_is_left_alone(world: World) -> None:
    """A cancel that came first wins; an id that is none is refused."""
    with writing(world.database) as conn:
        fine_tuning.move(conn, world.job.id, "cancelled", 2.0)
    assert world.run("{")["status"] == "cancelled"
    assert world.seen().error is None
    with pytest.raises(RequestError, match="Could not find"):
        jobs.run(world.config, world.database, "ftjob-bk-none", silent, lambda: 1.0)


def test_the_recipe_of_a_job(world: World) -> None:
    """Multipliers are of our own learning rate; `local` reaches the recipe; what the engine could not serve is refused before hours are spent."""
    job = replace(world.job, hyperparameters={"n_epochs": 4, "batch_size": 2, "learning_rate_multiplier": 0.5}, local={"lora": {"alpha": 8}, "max_length": 99})
    made = jobs.recipe_of(world.config, job, world.work)
    assert (made.train.epochs, made.train.batch_size, made.train.learning_rate, made.train.seed, made.train.max_length) == (4, 2, 1e-4, 5, 99)
    assert (made.lora.r, made.lora.alpha) == (8, 8)
    for local, word in (({"lora": {"r": 16}}, "max_lora_rank"), ({"quantization": "int3"}, "quantization"), ({"lora": {"use_dora": True}}, "use_dora")):
        with pytest.raises(BreakevenError, match=word) as refused:
            jobs.recipe_of(world.config, replace(job, local=local), world.work)
        assert refused.value.code == "invalid_hyperparameters"


def test_numbers_are_told_once(world: World) -> None:
    """Steps seen again after a resume are not told again; those of an epoch's end are told beside the step's own. Progress is a time in the future."""
    desk = jobs._Desk(world.config, world.database, world.job, lambda: 50.0, silent)
    for _ in range(2):
        desk.numbers(Numbers(1, 4, 0.5, 0.25))
        desk.numbers(Numbers(2, 4, 0.4, 0.5))
        desk.numbers(Numbers(2, 4, 0.4, 0.5, 0.6, 0.75))
    assert [event.message for event in world.events()] == [
        "Step 1/4: training loss=0.50",
        "Step 2/4: training loss=0.40",
        "Step 2/4: training loss=0.40, full validation loss=0.60",
    ]
    assert {event.type for event in world.events()} == {"metrics"}
    desk.progress(Progress("training", 3, 4, 30.0, 10.0))
    assert (world.seen().reached, world.seen().total, world.seen().estimated_finish) == (3, 4, 60.0)
    with writing(world.database) as conn:
        fine_tuning.move(conn, world.job.id, "queued", 1.0)
        fine_tuning.move(conn, world.job.id, "running", 1.0)
        shown = fine_tuning.gauges(conn)
    assert shown.statuses == {"running": 1}
    assert shown.numbers[world.job.id, "progress"] == 0.75
    assert shown.numbers[world.job.id, "full_valid_loss"] == 0.6


def test_a_pause_is_seen_between_two_steps(world: World) -> None:
    """The loop asks; the answer comes from the database, twice a second at most."""
    with writing(world.database) as conn:
        fine_tuning.move(conn, world.job.id, "queued", 1.0)
        fine_tuning.move(conn, world.job.id, "running", 1.0)
    desk = jobs._Desk(world.config, world.database, world.seen(), lambda: 50.0, silent)
    assert not desk.stop()
    with writing(world.database) as conn:
        fine_tuning.move(conn, world.job.id, "paused", 2.0)
    desk.looked = 0.0
    assert desk.stop()
