"""The closed minutes of every engine one by one, for counters. Reads only; the rows are gpu.py's."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.store.tables import engine_minutes


@dataclass(frozen=True, slots=True)
class Total:
    """One closed minute of an engine. Nano-dollars; None: the price of the GPU is not known."""

    engine: str
    minute: int
    milliseconds: int
    allocated_nanousd: int | None
    idle_nanousd: int | None
    foreign_nanousd: int | None


def since(conn: Connection, minute: int) -> list[Total]:
    """The closed minutes from `minute` on."""
    m = engine_minutes.c
    query = select(m.engine, m.minute, m.milliseconds, m.allocated_nanousd, m.idle_nanousd, m.foreign_nanousd).where(m.minute >= minute)
    return [Total(*row) for row in conn.execute(query)]
