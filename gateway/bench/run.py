"""A whole benchmark, from options to document: parts in their order on one stand, and nothing left behind, whatever ends it."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from gateway.bench import latency, memory, starting, streams, systems, targets, throughput
from gateway.bench.bench import PEERS_S, START_S, Bench
from gateway.bench.meter import Meter, Moment
from gateway.bench.options import Options
from gateway.bench.stand import Load, Stand

_MEASURES: Mapping[str, Callable[[Bench], dict[str, Any]]] = {
    "latency": latency.measure,
    "throughput": throughput.measure,
    "streams": streams.measure,
    "memory": memory.measure,
    "start": starting.measure,
}


def run(options: Options, show: Callable[[Moment], None], now: datetime) -> dict[str, Any]:
    """Measure. The document has `time`, `machine`, `options`, `peers` (versions), one entry a part, `failed` and `targets` (rows of targets.py).

    BreakevenError when something does not start; KeyboardInterrupt, with everything stopped, on SIGINT and SIGTERM.
    """
    load_before = os.getloadavg()[0]
    document: dict[str, Any] = {"time": now.isoformat(), "options": _asked(options), "peers": {}}
    with _terminable(), Stand(options.environ, options.python) as stand:
        meter = Meter(show, time.monotonic, planned_s(options, systems.nginx_program(options.environ) is not None))
        bench = Bench(options, stand, meter, Load(stand), systems.upstream(stand))
        for part, measure in _MEASURES.items():
            if part in options.only:
                document[part] = measure(bench)
        if options.soak_s:
            document["soak"] = memory.soak(bench)
        meter.step("done")
        document["peers"] = {peer.name: _version(peer.name, options) for peer in bench.started()}
        document["failed"] = bench.failed
    document["machine"] = {
        "cores": len(stand.cores.all),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }
    document["targets"] = [asdict(row) for row in targets.rows(document)]
    return document


def planned_s(options: Options, nginx: bool) -> float:
    """Seconds of the steps that a benchmark with these options has."""
    peers, lite, each = nginx + bool(options.litellm), bool(options.litellm), options.seconds
    parts = {
        "latency": each * (2 + peers),
        "throughput": each * (3 + peers),
        "streams": (each + streams.STREAM_S) * (2 + peers - lite) + each * (2 + peers),
        "memory": each * (2 + peers) + min(streams.STREAM_S, each),
        "start": starting.starts(each) * starting.START_S,
    }
    gateways = (
        bool({"latency", "throughput", "streams"} & set(options.only)) + ("throughput" in options.only) + ("memory" in options.only) + bool(options.soak_s)
    )
    starts_s = gateways * START_S + lite * PEERS_S
    return sum(parts[part] for part in options.only) + options.soak_s + starts_s


def _asked(options: Options) -> dict[str, Any]:
    return {"seconds": options.seconds, "clients": options.clients, "streams": options.streams, "only": options.only, "soak_s": options.soak_s}


def _version(peer: str, options: Options) -> str:
    if peer == systems.LITELLM:
        words = [str(options.litellm), "-c", "from importlib.metadata import version; print(version('litellm'))"]
    else:
        words = [str(systems.nginx_program(options.environ)), "-v"]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return (said.stdout or said.stderr).strip().rpartition("/")[2]


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: what was started is stopped."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
