"""The part `latency`: one client, small chats, alternating blocks over all systems; what a gateway adds is its quantile less the bare upstream's."""

from __future__ import annotations

from typing import Any

from gateway.bench.arithmetic import quantile
from gateway.bench.bench import Bench

_BLOCKS = 5
_QUANTILES = {"p50_ms": 0.50, "p90_ms": 0.90, "p99_ms": 0.99}


def measure(bench: Bench) -> dict[str, Any]:
    """Per system: `requests`, `failed`, quantiles in milliseconds, and for all but the upstream the same under `added`."""
    systems = [bench.upstream, bench.gateway(), *bench.peers()]
    block_s = bench.options.seconds / _BLOCKS
    taken: dict[str, list[int]] = {system.name: [] for system in systems}
    failed = dict.fromkeys(taken, 0)
    for _ in range(_BLOCKS):
        for system in systems:
            bench.meter.step(f"latency: {system.name}", block_s)
            (figures,) = bench.run(system, system.job(1, block_s))
            taken[system.name] += figures.latency_us
            failed[system.name] += sum(figures.failed.values())
    return {name: {"requests": len(each), "failed": failed[name], **_figures(each, taken[bench.upstream.name])} for name, each in taken.items()}


def _figures(through: list[int], direct: list[int]) -> dict[str, Any]:
    found = {name: quantile(through, share) / 1000 for name, share in _QUANTILES.items()}
    if through is direct:
        return found
    return {**found, "added": {name: found[name] - quantile(direct, share) / 1000 for name, share in _QUANTILES.items()}}
