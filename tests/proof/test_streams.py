"""512 paced streams for five minutes beside small chats at a stated rate: nothing broken, nothing leaked, every row in the ledger.

The load is `breakeven bench`'s own: its generator and upstream, each a process, and one worker with its controller. The rate of the chats is
BREAKEVEN_CHATS_PER_S; without it, what the machine bears: an eighth of what chats alone reach here in a closed loop, at most 1,000 a second. (The streams,
their generator and their upstream take most of two cores: there is no room for 1,000 beside them.) BREAKEVEN_STREAMS and BREAKEVEN_SOAK_S scale it.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.bench import procfs, streams, systems
from gateway.bench.arithmetic import quantile, slope
from gateway.bench.stand import Load, Stand, free_port
from gateway.bench.systems import System
from tests.proof.dated import note

pytestmark = pytest.mark.proof

SECONDS = float(os.environ.get("BREAKEVEN_SOAK_S", "300"))
STREAMS = int(os.environ.get("BREAKEVEN_STREAMS", "512"))
MOST_PER_S = 1000.0
CLIENTS = 64
SETTLING = 0.25
# What is allowed to grow after the first quarter: fragmentation of an allocator that no one gives time to tidy up.
GROWTH_MB = 10.0

# `breakeven serve`, whose worker says on SIGUSR1 how many tasks its loop has.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
import gateway.worker as worker
real = worker._serve
async def counted(app, sockets, place):
    def say():
        Path(sys.argv[-1]).with_suffix(".tasks").write_text(str(len(asyncio.all_tasks())))
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, say)
    await real(app, sockets, place)
worker._serve = counted
from breakeven import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What worker and controller have open."""

    files: int
    tasks: int
    rss_mb: float


def begin(stand: Stand, upstream: System) -> System:
    """As systems.gateway, on all cores, with the program above."""
    port, directory = free_port(), stand.scratch("gateway")
    config = directory / "breakeven.yaml"
    config.write_text(systems.gateway_config(port, upstream.port, 1))
    key = systems._key(config)
    process = stand.start("breakeven", [stand.python, "-c", PROGRAM, "serve", "-c", str(config)], stand.cores.all)
    process.wait_ready(port, "/readyz", 60.0)
    *workers, controller = procfs.children(process.pid)
    return System(systems.GATEWAY, port, systems._ROUTE, key, process, tuple(workers), controller, config)


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def tasks(system: System) -> int:
    assert system.config is not None
    said = system.config.with_suffix(".tasks")
    said.unlink(missing_ok=True)
    os.kill(system.workers[0], signal.SIGUSR1)
    until(said.exists, 30.0)
    until(lambda: said.read_text() != "", 30.0)
    return int(said.read_text())


def held(system: System) -> Held:
    assert system.controller is not None
    return Held(files(system.workers[0]) + files(system.controller), tasks(system), system.memory().rss_mb)


def until(true: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def bearable(load: Load, system: System) -> float:
    """Chats a second, for this machine, beside the streams."""
    if (asked := os.environ.get("BREAKEVEN_CHATS_PER_S")) is not None:
        return float(asked)
    (alone,) = load.run(system.job(32, 3.0))
    assert alone.failed == {}
    return min(MOST_PER_S, alone.done / alone.elapsed_s / 8)


def test_many_streams_beside_chats() -> None:
    """Not one broken stream, not one chat that failed; as many rows as answers; afterwards the files, tasks and memory of an idle gateway."""
    with Stand(os.environ) as stand:
        upstream = systems.upstream(stand)
        load, system = Load(stand), begin(stand, upstream)
        rate = bearable(load, system)
        chats = replace(system.job(CLIENTS, SECONDS), every_s=CLIENTS / rate, stagger_s=CLIENTS / rate, stall_s=30.0, grace_s=60.0)
        paced = replace(streams.paced(system, STREAMS, SECONDS), stall_s=30.0, grace_s=60.0, keep=SECONDS <= 60)
        # everything that is made once is made before the first look
        warm = load.run(replace(chats, seconds=2.0), replace(paced, seconds=2.0, keep=False))
        assert [each.failed for each in warm] == [{}, {}]
        idle(system)
        before, booked = held(system), rows(system)
        points, began = list[tuple[float, float]](), time.monotonic()

        def sample() -> None:
            at = time.monotonic() - began
            if not points or at - points[-1][0] >= 1.0:
                points.append((at, system.memory().rss_mb))

        asked, streamed = load.run(chats, paced, sample=sample)
        assert (asked.failed, streamed.failed) == ({}, {})
        assert streamed.done >= STREAMS
        system.settle(booked + asked.done + streamed.done)
        assert rows(system) == booked + asked.done + streamed.done
        idle(system)
        after = held(system)
        settled = [point for point in points if SECONDS * SETTLING <= point[0] <= SECONDS]
        growth_mb = slope(settled) * (settled[-1][0] - settled[0][0])
        late = f", event delay p99 {quantile(streamed.delay_us, 0.99) / 1000:.1f} ms, worst {max(streamed.delay_us) / 1000:.0f}" if streamed.delay_us else ""
        half, worst = (quantile(asked.latency_us, share) / 1000 for share in (0.5, 0.99))
        note(
            f"{STREAMS} paced streams for {SECONDS:.0f} s beside {asked.done / SECONDS:.0f} chats/s ({len(stand.cores.all)} cores, {rate:.0f}/s asked for): "
            f"{streamed.done:,} streams and {asked.done:,} chats, none broken, every row in the ledger; chats p50 {half:.1f} ms, p99 {worst:.1f} ms{late}; "
            f"files {before.files} → {after.files}, tasks {before.tasks} → {after.tasks}, RSS {before.rss_mb:.0f} → {after.rss_mb:.0f} MB, "
            f"{growth_mb:+.1f} MB after the first quarter"
        )
        assert after.files <= before.files + 4
        assert after.tasks <= before.tasks + 2
        if SECONDS >= 120:
            assert growth_mb <= GROWTH_MB


def idle(system: System) -> None:
    """Wait until nothing is under way and every connection that was kept for the next request is closed, on either side."""

    def quiet() -> bool:
        text = Path(f"/proc/{system.workers[0]}/net/tcp").read_text()
        own = {m for each in Path(f"/proc/{system.workers[0]}/fd").iterdir() if (m := _socket(each))}
        return not [line for line in text.splitlines()[1:] if line.split()[3] == "01" and line.split()[9] in own]

    until(quiet, 120.0)


def _socket(descriptor: Path) -> str | None:
    try:
        found = re.match(r"socket:\[(\d+)\]", str(descriptor.readlink()))
    except OSError:
        return None
    return found.group(1) if found else None


def rows(system: System) -> int:
    """Settled rows, once no more come."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 3.0:
        if (now := system.booked()) != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.2)
    return seen
