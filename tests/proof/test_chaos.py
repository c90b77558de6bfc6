"""Every victim at every step of an adapter's way: 24 kills in one installation, under a route that is asked all the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proof.dated import note
from tests.serving import chaos
from tests.serving.conftest import server

__all__ = ["server"]
pytestmark = pytest.mark.proof


@pytest.fixture
def world(tmp_path: Path, server: Callable[[], str]) -> Iterator[chaos.World]:
    with chaos.World(tmp_path, server()) as made:
        yield made


def test_every_victim_at_every_step(world: chaos.World) -> None:
    """The state is legal after each, and not one request failed or was answered by weights it does not name."""
    began = time.monotonic()
    for step in chaos.STEPS:
        for victim in chaos.VICTIMS:
            chaos.scenario(world, step, victim)
    chaos.full_disk(world)
    local = sum(model.startswith("local/") for _, model, _ in world.answers)
    note(
        f"chaos: kill -9 of {', '.join(chaos.VICTIMS)} at {', '.join(chaos.STEPS)} ({len(chaos.STEPS) * len(chaos.VICTIMS)} kills) and a full disk in "
        f"{time.monotonic() - began:.0f} s: {len(world.answers):,} requests meanwhile, none failed, none from another version than it names ({local:,} local)"
    )
