"""Which batches run."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.batches.runner import Place, Runner
from gateway.batches.supervisor import Batches, choose
from gateway.store import batches
from gateway.store.batches import Batch
from router.errors import StateError
from serving.database import connect, reading, writing
from tests.databases import prepare


def batch(number: int, key: str) -> Batch:
    return Batch(f"b{number}", key, "/v1/chat/completions", "f", float(number), 9e9, 1)


def test_keys_take_turns() -> None:
    """Oldest first; one key's many do not keep another's only one waiting."""
    found = [batch(0, "a"), batch(1, "a"), batch(2, "a"), batch(3, "b"), batch(4, "c")]
    assert [each.id for each in choose(found, [], 3)] == ["b0", "b3", "b4"]
    assert [each.id for each in choose(found, ["b0"], 4)] == ["b3", "b4", "b1"]
    assert [each.id for each in choose(found, [], 9)] == ["b0", "b3", "b4", "b1", "b2"]
    assert choose(found, ["b0", "b1"], 2) == []
    assert choose([], [], 2) == []


@pytest.fixture
def database(tmp_path: Path) -> Engine:
    engine = connect("sqlite:///b.db", tmp_path)
    prepare(engine)
    return engine


async def test_only_one_per_directory(tmp_path: Path, database: Engine) -> None:
    """A second process is refused while the first lives, and may when it is gone."""
    first, second = (Batches(database, tmp_path, time.time) for _ in range(2))
    await first.once()
    with pytest.raises(StateError, match="only one may"):
        await second.once()
    await first.close()
    await second.once()
    await second.close()
    database.dispose()


async def test_a_batch_that_ends_while_we_look_is_not_begun_again(tmp_path: Path, database: Engine) -> None:
    """What the database said before the runner's last step is old news: starting from it would send every line twice."""

    class Slow(Batches):
        looks = 0

        def _unfinished(self) -> list[Batch]:
            found = super()._unfinished()
            Slow.looks += 1
            deadline = time.monotonic() + 60
            while self.looks == 2 and self._status() != "failed":
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.1)  # for the runner to return after its last step
            return found

        def _status(self) -> str:
            with reading(database) as conn:
                return batches.owned(conn, "b1", "k").status

    with writing(database) as conn:
        batches.add(conn, batch(1, "k"))
    running = Slow(database, tmp_path, time.time)
    await running.once()
    await running.once()
    assert running._status() == "failed", "its file is not there"
    assert [task for task in asyncio.all_tasks() if task.get_name() == "batch b1" and not task.done()] == []
    await running.close()
    database.dispose()


def test_a_look_that_began_earlier_takes_nothing_back(tmp_path: Path, database: Engine) -> None:
    """It said `validating` although the runner had begun to send: taken at its word, the batch would stop and expire in its first second."""
    runner = Runner(replace(batch(1, "k"), status="in_progress"), Place(database, tmp_path, lambda: 5.0))
    runner.seen(batch(1, "k"))
    assert not runner.stopping
    runner.seen(replace(batch(1, "k"), status="cancelling"))
    assert runner.stopping
    runner.seen(replace(batch(1, "k"), status="in_progress"))
    assert runner.stopping
    database.dispose()


def test_states_go_one_way() -> None:
    """From each state to itself and to what comes after it, however many steps that takes."""
    assert batches.may_follow("validating", "completed")
    assert batches.may_follow("failed", "failed")
    assert not batches.may_follow("failed", "validating")
    assert not batches.may_follow("cancelling", "completed")
