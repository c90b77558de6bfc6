"""Which batches run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.batches.supervisor import Batches, choose
from gateway.store.batches import Batch
from gateway.store.schema import upgrade
from router.errors import StateError
from serving.database import connect


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
    upgrade(engine)
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
