"""Where a simulated trace comes from: a recorded file (Azure's CSV, Mooncake's JSONL), or the gateway's own ledger. Reading only.

What is wrong in a file is told with its line and left out; a file with nothing usable in it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, select

from gateway.store.period import Period
from gateway.store.tables import exchanges
from router.errors import ConfigError, Problem
from router.simulation.trace import AZURE_COLUMNS, MOST_TOKENS, Row, Trace, azure, from_rows, gathered

# A day of heavy traffic; more than this is cut, and told.
MOST_REQUESTS = 1_000_000


def read(path: Path) -> Trace:
    """A trace file by its ending: `.jsonl` is Mooncake's (`timestamp` in milliseconds, `input_length`, `output_length`), everything else Azure's CSV.

    Raises ConfigError when it cannot be read or nothing in it can be used.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = _mooncake(path.name, file) if path.suffix == ".jsonl" else azure(path.name, file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if not found.asks:
        wanted = "timestamp, input_length, output_length per line" if path.suffix == ".jsonl" else ",".join(AZURE_COLUMNS)
        raise ConfigError(f"{path}: no request in it can be used; it needs {wanted}", found.problems)
    return _bounded(found)


def ledger(conn: Connection, route: str | None, period: Period) -> Trace:
    """What a route was asked, from the ledger: rows whose usage is known. Raises ConfigError when there are none."""
    chosen = select(exchanges.c.time, exchanges.c.input_tokens, exchanges.c.output_tokens).where(
        *period.times(exchanges.c.time), exchanges.c.input_tokens.is_not(None), exchanges.c.output_tokens.is_not(None), exchanges.c.outcome == "ok"
    )
    if route is not None:
        chosen = chosen.where(exchanges.c.route == route)
    rows = [(row.time, row.input_tokens, row.output_tokens) for row in conn.execute(chosen.order_by(exchanges.c.time).limit(MOST_REQUESTS + 1))]
    name = f"ledger: {route}" if route is not None else "ledger"
    if not rows:
        raise ConfigError(f"the ledger has no answered request{f' of route {route!r}' if route is not None else ''} in that period; widen --since and --until")
    return _bounded(from_rows(name, rows))


def _bounded(trace: Trace) -> Trace:
    if len(trace.asks) <= MOST_REQUESTS:
        return trace
    told = Problem(f"{len(trace.asks) - MOST_REQUESTS:,} requests after the first {MOST_REQUESTS:,} were left out", trace.name)
    return trace.first(MOST_REQUESTS)._replace(problems=(*trace.problems, told))


def _mooncake(name: str, lines: Iterable[str]) -> Trace:
    return gathered(name, ((number, _mooncake_row(line)) for number, line in enumerate(lines, 1) if line.strip()))


def _mooncake_row(line: str) -> Row | str:
    try:
        entry: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    if not isinstance(entry, dict):
        return "not an object"
    at = entry.get("timestamp")
    if isinstance(at, bool) or not isinstance(at, int | float) or at < 0:
        return f"timestamp is {at!r}, not milliseconds"
    counts: list[int] = []
    for key in ("input_length", "output_length"):
        count = entry.get(key)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST_TOKENS:
            return f"{key} is {count!r}, not a number of tokens up to {MOST_TOKENS:,}"
        counts.append(count)
    return at / 1000.0, counts[0], counts[1]
