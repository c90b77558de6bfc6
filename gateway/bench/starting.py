"""The part `start`: seconds until `breakeven serve` is ready, against importing fastapi and sqlalchemy, in turns on all cores."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from gateway.bench import systems
from gateway.bench.bench import Bench
from router.errors import BreakevenError

START_S = 2.5
_IMPORTS = "import fastapi, sqlalchemy"


def measure(bench: Bench) -> dict[str, Any]:
    """Medians of `import_s` and `ready_s`, their `ratio`; LiteLLM's `litellm_s` (one start) where it is given."""
    imports, ready = [], []
    for _ in range(starts(bench.options.seconds)):
        bench.meter.step("start", START_S)
        imports.append(_imports(bench))
        started = systems.gateway(bench.stand, bench.upstream, bench.stand.cores.all)
        started.process.stop()
        ready.append(started.ready_s)
    peers = {f"{peer.name}_s": peer.ready_s for peer in bench.peers() if peer.name == systems.LITELLM}
    return {"import_s": median(imports), "ready_s": median(ready), "ratio": median(ready) / median(imports), **peers}


def starts(seconds: float) -> int:
    """How many are made: one where a glance is all that is asked for."""
    return 5 if seconds >= 1.0 else 1


def _imports(bench: Bench) -> float:
    began = time.monotonic()
    process = bench.stand.start("import", [bench.stand.python, "-c", _IMPORTS], bench.stand.cores.all)
    code = process.popen.wait()
    taken = time.monotonic() - began
    if code:
        raise BreakevenError(f"`{_IMPORTS}` ended with code {code}:\n{process.said()}")
    return taken
