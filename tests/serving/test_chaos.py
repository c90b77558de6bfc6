"""kill -9 of a replica, of the controller, of both, at each step of an adapter's way; a disk that is full. Three pairs: a controller takes long to start.

All of them are in the proof.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.serving import chaos

KILLS = {"load": "controller", "verify": "both", "drain": "replica"}


def test_killed_on_the_way(tmp_path: Path, server: Callable[[], str]) -> None:
    """Afterwards the state is legal and what was asked is done; the live route never stopped, and no answer came from another version than it names."""
    with chaos.World(tmp_path, server()) as world:
        for step, victim in KILLS.items():
            chaos.scenario(world, step, victim)
        chaos.full_disk(world)
        models = {model for _, model, _ in world.answers}
        assert len(models) > len(KILLS)  # the route went on with the versions as they came
