"""Claims about running a set of replicas, and about loops that outlive their errors."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from serving import replica as replica_module
from serving import supervise
from serving.engines import Engines
from serving.replica import Replica, Spec
from serving.supervise import Loop, keep
from serving.views import ReplicaView
from tests.serving.servers import Watched, launch, until


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "POLL_S", 0.05)


async def test_engines_match_a_list(tmp_path: Path, quick: None) -> None:
    """New ones start, unchanged ones keep running, removed and changed ones end; closing ends all."""
    watched: dict[Spec, Watched] = {}

    def make(spec: Spec) -> Replica:
        watched[spec] = Watched(spec)
        return watched[spec].replica

    engines = Engines(make)
    first, second = (Spec("local", i, tmp_path, launch()) for i in range(2))
    await engines.match([first])
    await until(lambda: watched[first].replica.up)
    await engines.match([first, second])
    await until(lambda: watched[second].replica.up)
    assert watched[first].replica.generation == 1
    changed = Spec("local", 1, tmp_path, launch(FAKE_SLOW="0.01"))
    await engines.match([first, changed])
    assert watched[second].states[-1] == "stopped"
    await until(lambda: watched[changed].replica.up)
    assert [replica.spec for replica in engines.replicas] == [first, changed]
    assert engines.revive() == []
    await engines.close()
    assert {watched[spec].states[-1] for spec in (first, changed)} == {"stopped"}
    assert engines.replicas == []


async def test_a_replica_that_ended_by_an_error_begins_anew(tmp_path: Path, quick: None) -> None:
    """When a report cannot be written the server is ended, the error is told, and the replica is started again."""
    watched: list[Watched] = []

    def make(spec: Spec) -> Replica:
        watched.append(Watched(spec))
        if len(watched) == 1:

            async def full(_view: ReplicaView) -> None:
                raise OSError("disk full")

            watched[0].replica._hooks = replace(watched[0].replica._hooks, report=full)
        return watched[-1].replica

    engines = Engines(make)
    spec = Spec("local", 0, tmp_path, launch())
    await engines.match([spec])
    errors: list[BaseException] = []
    await until(lambda: errors.extend(engines.revive()) or errors)
    assert str(errors[0]) == "disk full"
    await until(lambda: watched[-1].replica.up)
    assert len(watched) == 2
    assert engines.revive() == []
    await engines.close()


async def test_a_failing_loop_goes_on_and_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Errors do not end it, the same error is logged once, recovery is logged, pauses grow and are bounded."""
    monkeypatch.setattr(supervise, "LONGEST_PAUSE_S", 0.02)
    stop, calls = asyncio.Event(), 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise ValueError("no luck")
        if calls == 6:
            stop.set()

    with caplog.at_level(logging.WARNING, "breakeven.controller"):
        await asyncio.wait_for(keep(Loop("the books", work, 0.001), stop), 5)
    assert calls == 6
    assert [r.message for r in caplog.records] == ["the books failed and is tried again in 0.0 s: ValueError: no luck", "the books works again"]


async def test_a_loop_ends_between_two_turns() -> None:
    """Stopping does not wait for the next turn and does not cut one off."""
    stop, ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        stop.set()
        await asyncio.sleep(0.05)
        ended = True

    await asyncio.wait_for(keep(Loop("slow", work, 60.0), stop), 5)
    assert ended
