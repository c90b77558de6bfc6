"""The part `streams`: many paced streams at once (which break, how late events are), and few clients with streams that have no pace (events per second)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.bench import systems
from gateway.bench.arithmetic import quantile
from gateway.bench.bench import Bench
from gateway.bench.caller import Job
from gateway.bench.messages import CHUNKS, PACE_S
from gateway.bench.systems import System

STREAM_S = CHUNKS * PACE_S


def paced(system: System, clients: int, seconds: float) -> Job:
    """Streams of 50 events, one every 20 ms, whose starts are spread over a stream's length."""
    return replace(system.job(clients, seconds, "paced"), stagger_s=min(STREAM_S, seconds))


def measure(bench: Bench) -> dict[str, Any]:
    """`paced` per system (not LiteLLM, which this load would drown) and `instant` per system; delays are of single events since the upstream sent them."""
    every = [bench.upstream, bench.gateway(), *bench.peers()]
    found: dict[str, Any] = {"streams": bench.options.streams, "paced": {}, "instant": {}}
    for system in every:
        if system.name != systems.LITELLM:
            found["paced"][system.name] = _paced(bench, system)
    for system in every:
        found["instant"][system.name] = _instant(bench, system)
    bare = found["paced"][bench.upstream.name]
    for name, each in found["paced"].items():
        if name != bench.upstream.name:
            each["added_p99_ms"] = each["delay_p99_ms"] - bare["delay_p99_ms"]
    return found


def _paced(bench: Bench, system: System) -> dict[str, Any]:
    bench.meter.step(f"{bench.options.streams} streams: {system.name}", bench.options.seconds + STREAM_S)
    before = system.cpu_s()
    (figures,) = bench.run(system, paced(system, bench.options.streams, bench.options.seconds))
    cpu_s = sum(system.cpu_s()) - sum(before)
    return {
        "completed": figures.done,
        "broken": sum(figures.failed.values()),
        "broken_how": figures.failed,
        "delay_p50_ms": quantile(figures.delay_us, 0.50) / 1000,
        "delay_p99_ms": quantile(figures.delay_us, 0.99) / 1000,
        "cpu_us_per_chunk": cpu_s / max(1, len(figures.delay_us)) * 1e6,
    }


def _instant(bench: Bench, system: System) -> dict[str, Any]:
    bench.meter.step(f"events per second: {system.name}", bench.options.seconds)
    (figures,) = bench.run(system, system.job(bench.options.clients, bench.options.seconds, "instant"))
    return {
        "completed": figures.done,
        "broken": sum(figures.failed.values()),
        "chunks_per_s": figures.done * CHUNKS / figures.elapsed_s,
        "streams_per_s": figures.done / figures.elapsed_s,
    }
