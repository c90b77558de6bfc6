"""vLLM servers that an earlier controller left behind: found by the records their guards wrote, waited for, then killed. Never a recycled pid.

Public: `sweep(record, wait_s)`. Blocking: call it through `asyncio.to_thread`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from serving.guard import alive, boot, kill_group, members, session, started

_POLL_S = 0.05


def sweep(record: Path, wait_s: float) -> str | None:
    """End what `record` describes. A guard that is still there is draining (its controller has gone): it gets `wait_s` to finish.

    Returns a sentence for the operator, or None when there was nothing left.
    """
    try:
        body = json.loads(record.read_text())
    except (OSError, ValueError):
        return None
    said = None
    if isinstance(body, dict) and body.get("boot") == boot():
        said = _end(body, wait_s)
    record.unlink(missing_ok=True)
    return said


def _end(body: dict[str, Any], wait_s: float) -> str | None:
    guard, server = int(body["guard"]), int(body["server"])
    said = None
    deadline = time.monotonic() + wait_s
    while alive(guard, body["guard_started"]):
        said = f"the vLLM server that an earlier run left behind (pid {server}) was ended"
        if time.monotonic() >= deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(guard, signal.SIGKILL)
            break
        time.sleep(_POLL_S)
    if _ours(server, body["server_started"]):
        kill_group(server)
        said = f"the vLLM server that an earlier run left behind (pid {server}) was killed"
    return said


def _ours(group: int, leader_started: str) -> bool:
    """Whether the group's members are the server's. Its leader may be gone while helpers live on; a leader with another start time is someone else's."""
    found = members(group)
    if not found:
        return False
    leader = started(group)
    if leader is not None:
        return leader == leader_started
    return all(session(pid) == group and int(started(pid) or 0) >= int(leader_started) for pid in found)
