"""How the processes of a host show one set of numbers: each keeps what it counted in a small file, and who is asked for metrics adds the files up.

A file is replaced whole, so a reader sees one moment of it. Nothing here is on the way of a request. The arbiter empties the directory when it starts;
a worker that takes a dead one's place goes on from its numbers, so that no sum ever goes back, as rates of counters need.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from gateway.metric_table import ROWS
from gateway.metrics import Cell, Key

log = logging.getLogger("breakeven.metrics")

CONTROLLER = "controller"
EVERY_S = 2.0
# Gauges of a process that has said nothing for so long are not its state any more. Its counters still count.
STALE_S = 15.0
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Said:
    """What a process said of itself at `at`, epoch seconds."""

    name: str
    at: float
    cells: dict[Key, Cell]


class MetricFiles:
    """The files of one host; `name` is the process that writes through this object."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._path = directory / f"{name}{_SUFFIX}"
        self.name = name

    def write(self, said: Said) -> None:
        """Keep what this process counted. A disk that does not take it is said in the log: metrics never stop anything. One at a time."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_bytes(orjson.dumps([said.at, list(said.cells.items())]))
            beside.replace(self._path)
        except OSError as error:
            log.warning("metrics of %s cannot be kept in %s: %s", self.name, self._directory, error.strerror or error)

    def before(self) -> Said | None:
        """What this process' predecessor of the same name last said."""
        return _read(self._path)

    def others(self) -> Iterator[Said]:
        """What every other process last said."""
        with contextlib.suppress(OSError):
            for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
                said = _read(path) if path != self._path else None
                if said is not None:
                    yield said


def empty(directory: Path) -> None:
    """Begin at zero. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        path.unlink()


def merged(everyone: list[Said], now: float) -> dict[Key, Cell]:
    """The numbers of a host: counters and histograms summed, gauges of those who said something lately as the table has it."""
    found: dict[Key, Cell] = {}
    for said in everyone:
        fresh = now - said.at <= STALE_S
        for key, cell in said.cells.items():
            row = ROWS.get(key[0])
            if row is None or len(key) != len(row.labels) + 1 or len(cell) != (len(row.buckets) + 2 if row.buckets else 1):
                continue  # written by another version
            if row.kind == "gauge" and not fresh:
                continue
            known = found.get(key)
            if known is None:
                found[key] = list(cell)
            elif row.merge == "max" and row.kind == "gauge":
                known[0] = max(known[0], cell[0])
            else:
                known[:] = [a + b for a, b in zip(known, cell, strict=True)]
    return found


def _read(path: Path) -> Said | None:
    try:
        at, cells = orjson.loads(path.read_bytes())
        return Said(path.stem, float(at), {tuple(key): cell for key, cell in cells})
    except (OSError, ValueError, TypeError):
        return None
