"""Claims about the guard: nothing of a server outlives it, whatever dies first. Real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import guard
from serving.leftovers import sweep
from tests.patience import patience

# A server with a helper of its own, as vLLM has; `%s` is what it does on SIGTERM.
SERVER = """
import os, signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
signal.signal(signal.SIGTERM, {term})
print("up", flush=True)
{then}
"""
WAIT = "time.sleep(300)"


class Guarded:
    """A guard with a server below it."""

    def __init__(self, directory: Path, term: str = "lambda *_: os._exit(7)", then: str = WAIT, grace: float = 5.0) -> None:
        self.record, self.log = directory / "x.json", directory / "x.log"
        read, self.control = os.pipe()
        argv = [
            sys.executable,
            "-m",
            "serving.guard",
            str(self.record),
            str(self.log),
            str(grace),
            str(read),
            "--",
            sys.executable,
            "-c",
            SERVER.format(term=term, then=then),
        ]
        self.process = subprocess.Popen(argv, pass_fds=(read,), start_new_session=True, cwd=Path(guard.__file__).parents[1])
        os.close(read)
        self.wait_for(lambda: self.log.exists() and b"up" in self.log.read_bytes())
        self.body = json.loads(self.record.read_text())

    @property
    def server(self) -> int:
        return int(self.body["server"])

    def wait_for(self, condition: object, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> int:
        return self.process.wait(timeout=20)

    def close(self) -> None:
        if self.control >= 0:
            os.close(self.control)
            self.control = -1

    def nothing_left(self) -> bool:
        return guard.members(self.server) == []


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Guarded]]:
    made: list[Guarded] = []
    yield made
    for one in made:
        one.close()
        guard.kill_group(one.server)
        one.process.kill()
        one.process.wait(30)


def test_the_controllers_death_ends_everything(tmp_path: Path, started: list[Guarded]) -> None:
    """When the pipe closes the server is asked to end, its helper is killed, and its exit code comes out."""
    one = Guarded(tmp_path)
    started.append(one)
    assert len(guard.members(one.server)) == 2
    one.close()
    assert one.end() == 7
    assert one.nothing_left()
    assert not one.record.exists()


def test_sigterm_ends_everything(tmp_path: Path, started: list[Guarded]) -> None:
    """The same on SIGTERM to the guard."""
    one = Guarded(tmp_path)
    started.append(one)
    one.process.terminate()
    assert one.end() == 7
    assert one.nothing_left()


def test_a_killed_server_leaves_no_helper(tmp_path: Path, started: list[Guarded]) -> None:
    """kill -9 of the server takes its helpers along and is told as 128 + 9."""
    one = Guarded(tmp_path)
    started.append(one)
    os.kill(one.server, signal.SIGKILL)
    assert one.end() == 137
    assert one.nothing_left()


def test_a_server_that_ends_by_itself_leaves_no_helper(tmp_path: Path, started: list[Guarded]) -> None:
    """Exit code 0 comes out as 0, and the helper is gone."""
    one = Guarded(tmp_path, then="sys.exit(0)")
    started.append(one)
    assert one.end() == 0
    assert one.nothing_left()


def test_a_deaf_server_is_killed_after_the_grace(tmp_path: Path, started: list[Guarded]) -> None:
    """A server that ignores SIGTERM gets its time and no more."""
    one = Guarded(tmp_path, term="signal.SIG_IGN", grace=0.3)
    started.append(one)
    began = time.monotonic()
    one.close()
    assert one.end() == 137
    assert 0.3 <= time.monotonic() - began < 5
    assert one.nothing_left()


def test_a_killed_guard_takes_the_server_along(tmp_path: Path, started: list[Guarded]) -> None:
    """kill -9 of the guard kills the server by the kernel; the sweep finds and kills its helper."""
    one = Guarded(tmp_path)
    started.append(one)
    one.process.kill()
    one.process.wait(30)
    one.wait_for(lambda: guard.started(one.server) is None or not guard.alive(one.server, one.body["server_started"]))
    assert len(guard.members(one.server)) == 1
    said = sweep(one.record, 1.0)
    assert said is not None
    assert "was killed" in said
    assert one.nothing_left()
    assert not one.record.exists()


def test_a_sweep_waits_for_a_guard_that_drains(tmp_path: Path, started: list[Guarded]) -> None:
    """A guard whose controller has gone is finishing: the next run waits for it instead of cutting answers off."""
    one = Guarded(tmp_path, term="lambda *_: (time.sleep(0.4), os._exit(0))")
    started.append(one)
    one.close()
    said = sweep(one.record, 10.0)
    assert said is not None
    assert "was ended" in said
    assert one.end() == 0


def test_a_sweep_does_not_wait_for_ever(tmp_path: Path, started: list[Guarded]) -> None:
    """A guard that does not end in time is killed, and its server with it."""
    one = Guarded(tmp_path, term="signal.SIG_IGN", grace=60.0)
    started.append(one)
    assert "was killed" in str(sweep(one.record, 0.2))
    assert one.nothing_left()


def test_a_recycled_pid_is_never_killed(tmp_path: Path) -> None:
    """A record whose pids now belong to someone else, or whose machine has booted since, touches nobody."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other, patience(other):
        body = {"boot": guard.boot(), "guard": other.pid, "guard_started": "1", "server": other.pid, "server_started": "1"}
        record = tmp_path / "x.json"
        for changed in (body, {**body, "server_started": guard.started(other.pid), "boot": "another boot"}):
            record.write_text(json.dumps(changed))
            assert sweep(record, 0.1) is None
            assert other.poll() is None
            assert not record.exists()
        other.kill()


def test_a_sweep_without_a_record_does_nothing(tmp_path: Path) -> None:
    """No record, or half of one, is no server."""
    assert sweep(tmp_path / "none.json", 1.0) is None
    (tmp_path / "x.json").write_text('{"boot":')
    assert sweep(tmp_path / "x.json", 1.0) is None
    (tmp_path / "x.json").write_text("[]")
    assert sweep(tmp_path / "x.json", 1.0) is None


def test_the_facts_of_a_process() -> None:
    """Start time and session name one process; what is not there is None."""
    me = os.getpid()
    assert guard.started(me) == guard.started(me)
    assert guard.session(me) == os.getsid(0)
    assert guard.alive(me, guard.started(me))
    assert not guard.alive(me, "1")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(30)
    assert (guard.started(gone.pid), guard.session(gone.pid), guard.alive(gone.pid, "1")) == (None, None, False)
