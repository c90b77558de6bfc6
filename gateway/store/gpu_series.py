"""The GPU bill over time, and how much of it nobody used. Reads only; the rows are gpu.py's."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.store import gpu_sums
from gateway.store.period import Period


@dataclass(frozen=True, slots=True)
class Step:
    """Closed minutes of an engine that begin in one step, summed. Nano-dollars; None: the price of the GPU is not known."""

    engine: str
    start: float
    seconds_up: float
    bill_nanousd: int | None
    allocated_nanousd: int | None
    idle_nanousd: int | None
    foreign_nanousd: int | None = 0


def steps(conn: Connection, period: Period, minutes: int) -> list[Step]:
    """The closed minutes of `period` in steps of so many whole minutes, by engine, oldest first."""
    found = gpu_sums.closed(conn, period, minutes)
    return [
        Step(
            engine=engine,
            start=step * minutes * 60.0,
            seconds_up=(sums["milliseconds"] or 0) / 1000,
            bill_nanousd=sums["bill_nanousd"],
            allocated_nanousd=sums["allocated_nanousd"],
            idle_nanousd=sums["idle_nanousd"],
            foreign_nanousd=sums["foreign_nanousd"],
        )
        for (engine, step), sums in sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
