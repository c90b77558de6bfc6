"""kill -9 of a replica, of the controller, of both, at each step of an adapter's way; a disk that is full. Each step once: a controller takes long to start.

Every pair is in the proof.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.serving import chaos


def test_killed_at_every_step(tmp_path: Path, server: Callable[[], str]) -> None:
    """Afterwards the state is legal and what was asked is done; the live route never stopped, and no answer came from another version than it names."""
    with chaos.World(tmp_path, server()) as world:
        for step in chaos.STEPS:
            chaos.scenario(world, step, {"load": "controller", "verify": "both"}.get(step, "replica"))
        chaos.full_disk(world)
        models = {model for _, model, _ in world.answers}
        assert len(models) > len(chaos.STEPS)  # the route went on with the versions as they came
