"""A fine-tuning job whose trainer and controller are both killed while it trains ends with the very adapter of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.test_job_process import World, ends_the_same

pytestmark = [pytest.mark.proof, pytest.mark.torch]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.dispose()


def test_killed_from_all_sides_it_ends_the_same(world: World, tmp_path: Path) -> None:
    """kill -9 of the trainer after its first epoch, then of the controller."""
    ends_the_same(world, tmp_path, twice=True)
