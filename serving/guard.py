"""A small process that owns one vLLM server: nothing of the server outlives it, whatever dies first. Standard library only; it is run as a script.

    python guard.py RECORD LOG GRACE_S CONTROL_FD -- COMMAND...

RECORD is written once the server runs: pid and start time of both, so that leftovers can be found after a crash without ever touching a recycled pid.
CONTROL_FD is the read end of a pipe the controller holds: its end of file (the controller is gone) and SIGTERM both mean: let answers in flight finish for
GRACE_S seconds, then kill the whole group. The server's helper processes survive it when it is killed (seen: EngineCore, gigabytes), so the group is killed
always. The exit code is the server's, 128 + n when signal n ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
_POLL_S = 0.02
_GONE_S = 10.0  # a killed process with gigabytes takes a while to be gone
_TRACKER_S = 2.0


def started(pid: int) -> str | None:
    """The start time of a process as the kernel counts it (field 22 of its stat), or None when there is none. With the pid it names one process for ever."""
    found = _stat(pid)
    return found[19] if found else None


def boot() -> str:
    """Which boot of the machine this is: pids of an earlier one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def members(group: int) -> list[int]:
    """The processes of a process group, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat and stat[2] == str(group) and stat[0] not in {"Z", "X"}:
                found.append(int(entry.name))
    return found


def session(pid: int) -> int | None:
    """The session of a process, or None when there is none."""
    found = _stat(pid)
    return int(found[3]) if found else None


def alive(pid: int, since: str | None) -> bool:
    """Whether the process that had this pid and start time still runs."""
    found = _stat(pid)
    return found is not None and found[19] == since and found[0] not in {"Z", "X"}


def kill_group(group: int) -> None:
    """SIGKILL to every process of the group, and back when they are gone.

    Python's resource tracker goes last: once the others are dead it removes the semaphores and shared memory they left in /dev/shm.
    """
    _kill(group, spare_trackers=True)
    deadline = time.monotonic() + _TRACKER_S
    while members(group) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    _kill(group, spare_trackers=False)


def _kill(group: int, *, spare_trackers: bool) -> None:
    deadline = time.monotonic() + _GONE_S
    while time.monotonic() < deadline:
        left = [pid for pid in members(group) if not (spare_trackers and _tracker(pid))]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def main(argv: list[str]) -> int:
    """Run the server until it ends or is to end. Returns its exit code."""
    record, log, grace, control = Path(argv[0]), Path(argv[1]), float(argv[2]), int(argv[3])
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, _nothing)
    with log.open("ab", buffering=0) as out:
        server = subprocess.Popen(argv[5:], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: PLW1509
    body: dict[str, object] = {
        "boot": boot(),
        "guard": os.getpid(),
        "guard_started": started(os.getpid()),
        "server": server.pid,
        "server_started": started(server.pid),
    }
    _write(record, body)
    deadline: float | None = None
    try:
        while server.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                break
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([read] if deadline is not None else [read, control], [], [], wait)
            signals = os.read(read, 512) if read in ready else b""
            if deadline is None and (control in ready or {signal.SIGTERM, signal.SIGINT} & set(signals)):
                deadline = time.monotonic() + grace
                server.terminate()
    finally:
        kill_group(server.pid)
        code = server.wait()
        record.unlink(missing_ok=True)
    return code if code >= 0 else 128 - code


def _write(path: Path, body: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(body))
    partial.replace(path)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on; the second may hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _tracker(pid: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _nothing(_number: int, _frame: object) -> None:
    """Handlers must exist for the wake-up pipe to be written to."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
