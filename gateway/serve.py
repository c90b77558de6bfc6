"""`breakeven serve`: a pre-fork arbiter over N data-plane workers and one controller. It binds, forks, waits, forwards signals and re-forks what dies.

The arbiter serves nothing and runs no loop of its own, so that hardly anything in it can break. Children die with it (PR_SET_PDEATHSIG). On SIGTERM the
workers drain first, and only then the controller stops its engines: answers under way may still come from them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal

from gateway import pool
from gateway.batches import door
from gateway.config.models import Config
from gateway.listen import allow_open_files, let_in_again, listen
from router.errors import BreakevenError, ConfigError

log = logging.getLogger("breakeven.serve")

Controller = Callable[[Config], object]
DRAIN_S = 30.0
STOP_S = 30.0
# A child that lived shorter than this is not started again at once, but after a wait that doubles.
_SHORT_LIFE_S = 5.0
_LONGEST_WAIT_S = 30.0
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})


def serve(config: Config, controller: Controller | None = None, environ: Mapping[str, str] | None = None, drain_s: float = DRAIN_S) -> int:
    """Run the gateway until SIGTERM (exit code 0) or SIGINT (130). ConfigError when it cannot start: port in use, database, directories."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("alembic", "httpx", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if (few := allow_open_files()) is not None:
        log.warning(few)
    _prepare(config)
    sockets = listen(config.server)
    try:
        import gateway.worker  # noqa: F401 - once, before the forks share it

        with door.bind(config.server.data_dir) as lane:
            return _Arbiter(config, sockets, lane, controller or _controller, dict(os.environ if environ is None else environ), drain_s).run()
    finally:
        for each in sockets:
            each.close()


@dataclass(slots=True)
class _Child:
    """A process that should be running. `pid` 0: not now, and not before `not_before`."""

    role: Literal["worker", "controller"]
    index: int
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return f"worker {self.index}" if self.role == "worker" else "the controller"


@dataclass(slots=True)
class _Arbiter:
    config: Config
    sockets: list[socket.socket]
    lane: socket.socket
    controller: Controller
    environ: Mapping[str, str] = field(repr=False)
    drain_s: float
    children: list[_Child] = field(default_factory=list)
    stopped_by: int = 0
    ready: int = 0
    failed: int = 0
    hurry_until: float = 0.0
    limits: int = -1
    _pid: int = 0
    _wake: tuple[int, int] = (-1, -1)
    _announce: tuple[int, int] = (-1, -1)

    def run(self) -> int:
        self._pid = os.getpid()
        self._wake, self._announce = _pipe(), _pipe()
        old = {number: signal.signal(number, _noted) for number in _SIGNALS}
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        self.limits = pool.make(self.config.server.workers)
        self.children = [_Child("worker", index) for index in range(self.config.server.workers)] + [_Child("controller", 0)]
        try:
            gc.freeze()  # what is shared with the children stays shared: the collector does not touch it
            while not self.stopped_by and not self.failed:
                self._start_missing()
                self._wait(self._until_next_start())
            self._stop()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in old.items():
                signal.signal(number, handler)
            for descriptor in (*self._wake, *self._announce, self.limits):
                os.close(descriptor)
            gc.unfreeze()
        if self.failed:
            return self.failed
        return 130 if self.stopped_by == signal.SIGINT else 0

    def _start_missing(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.pid == 0 and now >= child.not_before:
                child.started = now
                child.pid = self._fork(child)

    def _fork(self, child: _Child) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            self._become_child()
            code = self._child(child)
        except BreakevenError as error:
            log.error("%s: %s", child.name, error.message)  # noqa: TRY400 - the message has it all
            code = 2 if isinstance(error, ConfigError) else 1
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            log.exception("%s failed", child.name)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _become_child(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C in a terminal is for the arbiter alone, which stops the others in their order
        for descriptor in (*self._wake, self._announce[0]):
            os.close(descriptor)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self._pid:
            raise SystemExit(1)  # the arbiter died before the kernel was told to take us with it

    def _child(self, child: _Child) -> int:
        if child.role == "controller":
            for each in (*self.sockets, self.lane):
                each.close()
            os.close(self._announce[1])
            done = self.controller(self.config)
            return done if isinstance(done, int) else 0
        from gateway import worker

        place = worker.Place(child.index, self._announce[1], self._pid, max(1.0, self.drain_s - 2.0), self.lane, self.limits, self.environ)
        worker.run(self.config, self.sockets, place)
        return 0

    def _wait(self, timeout_s: float | None) -> None:
        """Sleep until something happens, and see to it."""
        readable, _, _ = select.select([self._wake[0], self._announce[0]], [], [], timeout_s)
        if self._announce[0] in readable:
            self._became_ready(len(os.read(self._announce[0], 4096)))
        if self._wake[0] in readable:
            for number in dict.fromkeys(os.read(self._wake[0], 4096)):
                self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGHUP:
            self._reload()
        elif number in _STOPPING:
            if self.stopped_by:
                self.hurry_until = time.monotonic() + 1.0  # asked twice: no more patience
            else:
                self.stopped_by = number

    def _became_ready(self, how_many: int) -> None:
        before, workers = self.ready, self.config.server.workers
        self.ready += how_many
        if before < workers <= self.ready and not self.stopped_by:
            host, port = self.config.server.host, self.sockets[0].getsockname()[1]
            shown = f"[{host}]" if ":" in host else host
            page = self.sockets[-1].getsockname()[1]
            sys.stdout.write(f"breakeven {version('breakeven')} listening on http://{shown}:{port}\n")
            sys.stdout.write(f"dashboard: http://{shown}:{page}/dashboard\n")
            sys.stdout.flush()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children:
                if child.pid == pid:
                    self._died(child, os.waitstatus_to_exitcode(status))

    def _died(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        child.pid = 0
        if self.stopped_by or self.failed:
            return
        if child.role == "worker":
            for each in self.sockets:
                let_in_again(each)  # one that was asked to leave by itself has shut them for those that stay
        if child.role == "worker" and not self.ready:
            self.failed = code if code > 0 else 1  # it never worked: starting it again would not help
            return
        child.failures = child.failures + 1 if now - child.started < _SHORT_LIFE_S else 1
        wait_s = 0.0 if child.failures == 1 else min(2.0 ** (child.failures - 2), _LONGEST_WAIT_S)
        child.not_before = now + wait_s
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        log.warning("%s %s; starting another in %.0f s", child.name, how, wait_s)

    def _until_next_start(self) -> float | None:
        waits = [child.not_before - time.monotonic() for child in self.children if child.pid == 0]
        return max(0.0, min(waits)) if waits else None

    def _reload(self) -> None:
        from gateway.reload import reread

        try:
            self.config = reread(self.config, self.environ)
        except ConfigError as error:
            log.error("the configuration is not valid; the one in force stays:\n%s", error.message)  # noqa: TRY400 - the message has it all
            return
        self._signal(signal.SIGHUP, "worker", "controller")

    def _stop(self) -> None:
        """Workers first, then the controller; whoever is still there after its time is killed. A socket that the arbiter kept open would take connections
        that nobody answers any more."""
        for each in self.sockets:
            each.close()
        for role, patience_s in (("worker", self.drain_s), ("controller", STOP_S)):
            self._signal(signal.SIGTERM, role)
            self._await_end(role, patience_s)
            self._signal(signal.SIGKILL, role)
            self._await_end(role, STOP_S)

    def _await_end(self, role: str, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while any(child.pid for child in self.children if child.role == role):
            left_s = (min(deadline, self.hurry_until) if self.hurry_until else deadline) - time.monotonic()
            if left_s <= 0.0:
                return
            self._wait(min(left_s, 0.5))
            self._reap()

    def _signal(self, number: int, *roles: str) -> None:
        for child in self.children:
            if child.pid and child.role in roles:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, number)


def _prepare(config: Config) -> None:
    """What all processes share: the directories, the database's shape, the place where workers add up their metrics."""
    from gateway import metric_files
    from gateway.store import ingest
    from gateway.store.schema import upgrade
    from serving.database import connect

    directory = config.server.data_dir
    try:
        directory.mkdir(parents=True, exist_ok=True)
        metric_files.empty(directory / "metrics")
    except OSError as error:
        raise ConfigError(f"server.data_dir: {directory} cannot be written ({error.strerror}); name another directory or change its permissions") from error
    database = connect(config.database, config.source.parent)
    try:
        upgrade(database)
        ingest.catch_up(database, directory / "spool")  # what was spent before a kill is known before anything is spent on top of it
    finally:
        database.dispose()


def _controller(config: Config) -> object:
    from gateway import controller

    return controller.main(config)


def _noted(_number: int, _frame: object) -> None:
    """Signals are read from the wake-up pipe."""


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer
