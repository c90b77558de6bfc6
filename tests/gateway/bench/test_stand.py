"""The stand and what Linux says of processes: real ones."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from gateway.bench import procfs
from gateway.bench.caller import Job
from gateway.bench.stand import Cores, Load, Stand, answers, free_port
from router.errors import BreakevenError
from tests.patience import read_line

EVERYWHERE = frozenset(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("usable", "subject", "upstream", "load"),
    [([3], 3, 3, 3), ([1, 0], 0, 1, 1), ([0, 1, 2, 3], 0, 1, 2)],
)
def test_cores(usable: list[int], subject: int, upstream: int, load: int) -> None:
    """What is measured has a core for itself where there are two; with three, load and upstream have one each."""
    cores = Cores.of(usable)
    assert (cores.subject, cores.upstream, cores.load) == (subject, upstream, load)


def test_nothing_outlives_the_stand() -> None:
    """Processes, their children, the directory, the affinity of this process: as before."""
    code = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    with Stand(os.environ) as stand:
        directory = stand.directory
        process = stand.start("parent", [sys.executable, "-c", code], EVERYWHERE, piped=True)
        assert process.popen.stdout is not None
        child = int(read_line(process.popen))
        assert procfs.descendants(process.pid) == (process.pid, child)
        assert os.getsid(child) == process.pid
    assert process.popen.returncode is not None
    deadline = time.monotonic() + 30
    while running(child):
        assert time.monotonic() < deadline, "its child goes on"
        time.sleep(0.02)
    assert not directory.exists()
    assert frozenset(os.sched_getaffinity(0)) == EVERYWHERE


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def test_a_deaf_process_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not listen to SIGTERM."""
    monkeypatch.setattr("gateway.bench.stand._STOP_S", 0.2)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    with Stand(os.environ) as stand:
        process = stand.start("deaf", [sys.executable, "-c", code], EVERYWHERE, piped=True)
        assert process.popen.stdout is not None
        assert read_line(process.popen) == "deaf\n"
    assert process.popen.returncode == -9


def test_what_does_not_start_is_said() -> None:
    """With the end of its log."""
    with Stand(os.environ) as stand:
        ended = stand.start("thing", [sys.executable, "-c", "raise SystemExit('no such luck')"], EVERYWHERE)
        with pytest.raises(BreakevenError, match=r"thing ended with code 1:\nno such luck"):
            ended.wait_ready(free_port(), "/", 30.0)
        silent = stand.start("thing", ["sleep", "60"], EVERYWHERE)
        with pytest.raises(BreakevenError, match="thing did not answer / within"):
            silent.wait_ready(free_port(), "/", 0.05)


def test_a_load_that_ends_is_said() -> None:
    """A job that makes no sense kills the generator; its words come along."""
    with Stand(os.environ) as stand:
        load = Load(stand)
        with pytest.raises(BreakevenError, match=r"the load generator ended:\n(.|\n)*TypeError"):
            load.run(Job("127.0.0.1", free_port(), "", None, 0.01))  # type: ignore[arg-type]


def test_nobody_answers() -> None:
    """On a port that nobody listens on."""
    assert answers(free_port(), "/") is False


def test_what_linux_says() -> None:
    """CPU time grows, memory is that of a Python process."""
    before = procfs.cpu_s(os.getpid())
    while procfs.cpu_s(os.getpid()) == before:
        sum(range(100_000))
    held = procfs.memory(os.getpid())
    assert 5.0 < held.pss_mb <= held.rss_mb
    assert held.most(procfs.Memory(1e9, 0.0)) == procfs.Memory(1e9, held.pss_mb)
