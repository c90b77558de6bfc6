"""The test stand: cores, a scratch directory and processes that do not outlive it, whatever ends it. What runs on it is systems.py's.

Processes get a session of their own, so that Ctrl-C reaches this process alone, which stops them in their order; the kernel kills them if it dies first.
"""

from __future__ import annotations

import contextlib
import ctypes
import http
import http.client
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from gateway.bench.caller import Figures, Job
from router.errors import BreakevenError

_PR_SET_PDEATHSIG = 1
_STOP_S = 10.0
_POLL_S = 0.005
_SAMPLE_S = 0.25
_LOG_TAIL = 2000


@dataclass(frozen=True, slots=True)
class Cores:
    """Where things run. What is measured has `subject` for itself, as far as the machine has more than one core."""

    subject: int
    upstream: int
    load: int
    all: frozenset[int]

    @classmethod
    def of(cls, usable: Sequence[int]) -> Cores:
        """From the cores this process may use."""
        ordered = sorted(usable)
        return cls(ordered[0], ordered[1 % len(ordered)], ordered[min(2, len(ordered) - 1)], frozenset(ordered))


class Stand:
    """A context manager. `python` is the interpreter of our own processes, `environ` what all processes get."""

    def __init__(self, environ: Mapping[str, str], python: str = sys.executable) -> None:
        self.python = python
        self.environ = dict(environ)
        self.cores = Cores.of(sorted(os.sched_getaffinity(0)))
        self._stack = ExitStack()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._count = 0
        self.directory = Path()

    def __enter__(self) -> Stand:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="breakeven-bench-")))
        os.sched_setaffinity(0, self.cores.all - {self.cores.subject} or self.cores.all)
        self._stack.callback(os.sched_setaffinity, 0, self.cores.all)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))  # a stream through a gateway is two descriptors there
        self._stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def scratch(self, name: str) -> Path:
        """A new directory."""
        self._count += 1
        path = self.directory / f"{name}-{self._count}"
        path.mkdir()
        return path

    def start(self, name: str, words: Sequence[str], cores: frozenset[int], piped: bool = False, environ: Mapping[str, str] | None = None) -> Process:
        """Start a process on `cores`. It is stopped at the end, if it was not before. `piped`: its stdin and stdout are ours."""
        log = self.scratch(name) / "log"
        mine, began = os.sched_getaffinity(0), time.monotonic()
        os.sched_setaffinity(0, cores)  # inherited
        try:
            with log.open("wb") as out:
                started = subprocess.Popen(
                    list(words),
                    cwd=log.parent,
                    env={**self.environ, **(environ or {})},
                    stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if piped else out,
                    stderr=out,
                    text=True,
                    start_new_session=True,
                    preexec_fn=self._die_with_me,  # noqa: PLW1509 - this process has one thread
                )
        finally:
            os.sched_setaffinity(0, mine)
        process = Process(name, started, log, began)
        self._stack.callback(process.stop)
        return process

    def _die_with_me(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@dataclass(slots=True)
class Process:
    """Something that runs on the stand."""

    name: str
    popen: subprocess.Popen[str]
    log: Path
    began: float

    @property
    def pid(self) -> int:
        """Of the process that was started; it may have children."""
        return self.popen.pid

    def said(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:].strip()

    def wait_ready(self, port: int, path: str, timeout_s: float) -> float:
        """Wait until it answers `path` with 200; seconds since it was started. BreakevenError with its log when it ends or takes too long."""
        while not answers(port, path):
            if self.popen.poll() is not None:
                raise BreakevenError(f"{self.name} ended with code {self.popen.returncode}:\n{self.said()}")
            if time.monotonic() - self.began > timeout_s:
                raise BreakevenError(f"{self.name} did not answer {path} within {timeout_s:.0f} s:\n{self.said()}")
            time.sleep(_POLL_S)
        return time.monotonic() - self.began

    def stop(self) -> None:
        """Ask it to end, then make it, with everything it started."""
        self.popen.terminate()
        try:
            self.popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # its session is its own; workers of other gateways survive their parent
            self.popen.wait()
            for pipe in (self.popen.stdin, self.popen.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()


class Load:
    """The load process: runs jobs, while this process looks after other things."""

    def __init__(self, stand: Stand) -> None:
        self._results = stand.scratch("results") / "results.json"
        words = [stand.python, "-m", "gateway.bench.load", str(self._results)]
        self.process = stand.start("load", words, frozenset({stand.cores.load}), piped=True)

    def run(self, *jobs: Job, sample: Callable[[], None] | None = None) -> list[Figures]:
        """Run jobs side by side; `sample` is called a few times a second meanwhile, and when they have ended."""
        pipe = self.process.popen
        stdin, stdout = _pipes(pipe)
        stdin.write(json.dumps([asdict(job) for job in jobs]) + "\n")
        stdin.flush()
        while not select.select([stdout], [], [], _SAMPLE_S if sample else None)[0]:
            if sample is not None:
                sample()
        line = stdout.readline()
        if sample is not None:
            sample()
        if not line:
            raise BreakevenError(f"the load generator ended:\n{self.process.said()}")
        return [Figures(**each) for each in json.loads(self._results.read_bytes())]


def answers(port: int, path: str) -> bool:
    """Whether a GET on this machine is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise BreakevenError("the process has no pipes")
    return process.stdin, process.stdout
