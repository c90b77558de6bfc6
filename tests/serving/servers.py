"""Starting the stand-in for vLLM in tests: below a guard like the real one, and directly."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.command import Host, Launch
from serving.guard import members
from serving.replica import Hooks, Replica, Spec
from serving.views import ReplicaView

FAKE = Path(__file__).parent / "fake_vllm"
HOST = Host(cpu=True, cores=2, vllm="stand-in 0")


def launch(engine: str = "local", model: str = "/models/base", **env: str) -> Launch:
    """An engine that runs the stand-in. Its environment switches are `env`."""
    return Launch(engine, model, sys.executable, drain_s=1, env={"PYTHONPATH": str(FAKE), **env})


class Watched:
    """A replica with everything it reported and said."""

    def __init__(self, spec: Spec, adapters: int = 0) -> None:
        self.views: list[ReplicaView] = []
        self.lines: list[str] = []
        self.probed: list[str] = []

        async def report(view: ReplicaView) -> None:
            self.views.append(view)

        async def wanted(_engine: str) -> int:
            return adapters

        def probe(python: str) -> Host:
            self.probed.append(python)
            return HOST

        self.replica = Replica(spec, Hooks(report, self.lines.append, probe, wanted))

    @property
    def states(self) -> list[str]:
        """The states it went through, each once in a row."""
        found: list[str] = []
        for view in self.views:
            if not found or found[-1] != view.state:
                found.append(view.state)
        return found


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def record(directory: Path, name: str = "local-0") -> Mapping[str, object]:
    """What the guard wrote."""
    import json

    body: Mapping[str, object] = json.loads((directory / f"{name}.json").read_text())
    return body


def alive(group: int) -> list[int]:
    """Processes of a group that still run."""
    return members(group)
