"""How long tests wait for a process of theirs: a read or a wait that nothing answers ends by killing the process, and the test fails by what it then sees."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 60.0


@contextmanager
def patience(*processes: subprocess.Popen[Any], seconds: float = PATIENCE_S) -> Iterator[None]:
    """Within the block the processes have `seconds`; then they are killed, so that whoever reads from their pipes gets the end of the file."""
    timers = [threading.Timer(seconds, process.kill) for process in processes]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def read_line(process: subprocess.Popen[Any]) -> Any:
    """The next line of its stdout; empty when there is none within a minute."""
    assert process.stdout is not None
    with patience(process):
        return process.stdout.readline()
