"""The parts `memory` and `soak`: what a worker holds under load, and whether it holds more and more. Megabytes are 10^6 bytes."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from gateway.bench import procfs, streams
from gateway.bench.arithmetic import slope
from gateway.bench.bench import Bench
from gateway.bench.caller import Job
from gateway.bench.systems import System

_SOAK_SAMPLE_S = 1.0
_SETTLING = 0.25  # the first quarter of a soak fills caches and pools


def measure(bench: Bench) -> dict[str, Any]:
    """The most that the largest worker of a fresh gateway held: `chats` with N clients, then `streams`; peers with chats alone."""
    fresh = bench.fresh()
    chats = {fresh.name: _most(bench, fresh, fresh.job(bench.options.clients, bench.options.seconds))}
    held = _most(bench, fresh, streams.paced(fresh, bench.options.streams, bench.options.seconds))
    fresh.process.stop()
    for peer in bench.peers():
        chats[peer.name] = _most(bench, peer, peer.job(bench.options.clients, bench.options.seconds))
    return {"clients": bench.options.clients, "streams_at_once": bench.options.streams, "chats": chats, "streams": {fresh.name: held}}


def soak(bench: Bench) -> dict[str, Any]:
    """Chats and paced streams on a fresh gateway for `soak_s`: its worker's RSS a second, and how that grew after the first quarter."""
    fresh = bench.fresh()
    seconds, points = bench.options.soak_s, list[tuple[float, float]]()
    began = time.monotonic()
    bench.meter.step("soak")

    def sample() -> None:
        at = time.monotonic() - began
        if not points or at - points[-1][0] >= _SOAK_SAMPLE_S:
            points.append((at, fresh.memory().rss_mb))
            bench.meter.step("soak", _SOAK_SAMPLE_S)

    few = max(1, bench.options.streams // 8)
    jobs = [replace(job, keep=False) for job in (fresh.job(bench.options.clients, seconds), streams.paced(fresh, few, seconds))]
    chats, streamed = bench.run(fresh, *jobs, sample=sample)
    fresh.process.stop()
    settled = [point for point in points if point[0] >= seconds * _SETTLING]
    per_s = slope(settled)
    return {
        "seconds": seconds,
        "requests": chats.done,
        "streams": streamed.done,
        "failed": sum(chats.failed.values()) + sum(streamed.failed.values()),
        "rss_mb_first": points[0][1],
        "rss_mb_last": points[-1][1],
        "slope_mb_per_min": per_s * 60,
        "growth_mb": per_s * (settled[-1][0] - settled[0][0]) if settled else 0.0,
    }


def _most(bench: Bench, system: System, job: Job) -> dict[str, float]:
    bench.meter.step(f"memory: {system.name}", job.seconds + job.stagger_s)
    most = system.memory()

    def sample() -> None:
        nonlocal most
        most = most.most(system.memory())

    bench.run(system, job, sample=sample)
    return asdict(procfs.Memory(most.rss_mb, most.pss_mb))
