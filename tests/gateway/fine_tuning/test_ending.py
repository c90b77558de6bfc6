"""From trained to called: a real controller with a stand-in for vLLM registers, loads and verifies what a job made, and only then the job has succeeded."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.store import files, fine_tuning, job_files
from gateway.store.fine_tuning import Job
from serving import registry
from serving.database import reading, writing
from serving.states import State
from tests.gateway.engine_world import configured, controlled
from tests.serving.making import make_adapter, probes


def trained(config: Config, database: Engine, recorded: float = 0.5) -> Job:
    """A job that waits to be loaded: one epoch's adapter and the finished one, whose trainer recorded `recorded`."""
    job = Job("ftjob-bk-1", None, 1.0, "gpt-4o-mini", "local", "ft-x-1", "file-bk-1", 5, suffix="orders", status="loading", trained_tokens=99, total=4)
    work = job_files.work(config.server.data_dir, job.id)
    for path, shift, said in ((work / "epochs" / "step-2", 0.3, 0.3), (work / "out", 0.5, recorded)):
        made = make_adapter(path, fake={"shift": shift})
        (made / "probes.json").write_text(json.dumps(probes(said)))
    numbers = [{"step": step, "train_loss": 1.0 / step, "train_accuracy": 0.5, "valid_loss": 0.7, "valid_accuracy": 0.6} for step in (2, 4)]
    epochs = [{"path": f"step-{each['step']}", "numbers": each} for each in numbers]
    (work / job_files.TRAINED).write_text(json.dumps({"adapter": "out", "epochs": epochs}))
    with writing(database) as conn:
        fine_tuning.add(conn, job)
        fine_tuning.say(conn, job.id, "Step 4/4: training loss=0.25", 2.0, data={"step": 4, "train_loss": 0.25})
    return job


async def ended(config: Config, database: Engine, true: Callable[[Job], Any]) -> Job:
    """The job once `true(job)`, by a controller that runs until then."""
    deadline = time.monotonic() + 120
    async with controlled(config):
        while True:
            with reading(database) as conn:
                found = fine_tuning.get(conn, "ftjob-bk-1")
            assert found is not None
            if true(found):
                return found
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)


def test_it_succeeds_once_all_is_verified(tmp_path: Path) -> None:
    """The `ft:` names stand for verified versions, the result is a file of the job's owner, and nothing is left of its directory."""
    config, database = configured(tmp_path)
    job = trained(config, database)
    work = job_files.work(config.server.data_dir, job.id)
    found = asyncio.run(ended(config, database, lambda found: found.status in fine_tuning.ENDS and not work.exists()))
    assert (found.status, found.error, found.version, found.trained_tokens) == ("succeeded", None, 2, 99)
    name = found.fine_tuned_model
    assert name is not None
    assert name.startswith("ft:gpt-4o-mini:breakeven:orders:")
    with reading(database) as conn:
        known, names = registry.view(conn, "ft-x-1"), fine_tuning.names(conn)
        kept, _ = fine_tuning.checkpoints(conn, job.id, 10)
        place = files.path(conn, config.server.data_dir, found.result_files[0], time.time())
        said = [event.message for event in fine_tuning.events(conn, job.id, 10)[0]]
    assert [version.state for version in known.versions] == [State.LOADED, State.LOADED]
    assert (known.live, known.canary_version) == (None, None)  # routes are the gate's business
    assert [point.step for point in kept] == [4, 2]
    assert kept[0].name == name
    assert kept[0].metrics == {"train_loss": 0.25, "train_mean_token_accuracy": 0.5, "full_valid_loss": 0.7, "full_valid_mean_token_accuracy": 0.6}
    assert names == {name: "local/ft-x-1@2", kept[1].name: "local/ft-x-1@1"}
    assert base64.b64decode(place.read_bytes()).decode().splitlines()[1] == "4,0.25000,,,"
    assert said[:2] == ["The job has successfully completed", f"New fine-tuned model created: {name}"]
    with writing(database) as conn:
        fine_tuning.forget_model(conn, kept[1].name)
        assert list(fine_tuning.names(conn)) == [name]
        fine_tuning.forget_model(conn, name)
        assert not fine_tuning.names(conn)
    database.dispose()


@pytest.mark.parametrize("what", ["computes", "lost"])
def test_it_fails_with_the_reasons(tmp_path: Path, what: str) -> None:
    """A model that computes something else than its trainer recorded, and one whose files are gone, fail the job; its other versions go again."""
    config, database = configured(tmp_path)
    job = trained(config, database, recorded=3.0 if what == "computes" else 0.5)
    work = job_files.work(config.server.data_dir, job.id)
    if what == "lost":
        (work / job_files.TRAINED).unlink()
    found = asyncio.run(ended(config, database, lambda found: found.status in fine_tuning.ENDS and not work.exists()))
    assert found.status == "failed"
    assert found.error is not None
    assert found.error["code"] == ("adapter_refused" if what == "computes" else "internal_error")
    assert found.fine_tuned_model is None
    with reading(database) as conn:
        assert not fine_tuning.names(conn)
        versions = known.versions if (known := registry.views(conn).get("ft-x-1")) else ()
    assert not [version for version in versions if version.wanted]
    database.dispose()
