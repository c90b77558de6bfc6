"""The part `throughput`: N clients, small chats, instant upstream, in turns over all systems; requests per second and CPU time per request.

CPU time counts what a request costs later too: a gateway's controller books it after it is answered, and the measurement waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.bench.arithmetic import quantile
from gateway.bench.bench import Bench
from gateway.bench.systems import System

_ROUNDS = 3


@dataclass(slots=True)
class _Sum:
    """Over the rounds of one system. `busy_s` is CPU time while clients were asking, `worker_s` and `controller_s` all of it."""

    requests: int = 0
    failed: int = 0
    elapsed_s: float = 0.0
    busy_s: float = 0.0
    worker_s: float = 0.0
    controller_s: float = 0.0
    latency_us: list[int] = field(default_factory=list)


def measure(bench: Bench) -> dict[str, Any]:
    """Per system and for our gateway with two workers (`two_workers`): see `_figures`."""
    systems = [bench.gateway(), *bench.peers(), bench.upstream]
    sums = {system.name: _Sum() for system in systems}
    for _ in range(_ROUNDS):
        for system in systems:
            _round(bench, system, sums[system.name])
    two, pair = _Sum(), bench.fresh(2)
    _round(bench, pair, two, rounds=1)
    pair.process.stop()
    return {**{name: _figures(each) for name, each in sums.items()}, "two_workers": _figures(two)}


def _round(bench: Bench, system: System, into: _Sum, rounds: int = _ROUNDS) -> None:
    seconds = bench.options.seconds / rounds
    bench.meter.step(f"throughput: {system.name}", seconds)
    before = system.cpu_s()
    at_end = before

    def sample() -> None:
        nonlocal at_end
        at_end = system.cpu_s()

    (figures,) = bench.run(system, system.job(bench.options.clients, seconds), sample=sample)
    after = system.cpu_s()
    into.requests += figures.done
    into.failed += sum(figures.failed.values())
    into.elapsed_s += figures.elapsed_s
    into.busy_s += sum(at_end) - sum(before)
    into.worker_s += after[0] - before[0]
    into.controller_s += after[1] - before[1]
    into.latency_us += figures.latency_us


def _figures(found: _Sum) -> dict[str, Any]:
    """`busy`: the share of one core while clients were asking; near 1, the system was the bottleneck, else the load was. `_us` are per request."""
    requests = max(1, found.requests)
    cpu_s = found.worker_s + found.controller_s
    return {
        "requests": found.requests,
        "failed": found.failed,
        "requests_per_s": found.requests / found.elapsed_s,
        "requests_per_cpu_s": found.requests / cpu_s if cpu_s else None,
        "worker_us": found.worker_s / requests * 1e6,
        "controller_us": found.controller_s / requests * 1e6,
        "busy": found.busy_s / found.elapsed_s,
        "p50_ms": quantile(found.latency_us, 0.50) / 1000,
        "p99_ms": quantile(found.latency_us, 0.99) / 1000,
    }
