"""The GPU bill over time, and how much of it nobody used. Reads only; the rows are gpu.py's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, func, literal_column, select

from gateway.store.period import Period
from gateway.store.tables import engine_minutes


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
    m = engine_minutes.c
    # By name: Postgres would not see that two bound parameters of the same expression are the same.
    group: ColumnElement[Any] = literal_column("step")
    query = (
        select(
            m.engine,
            (m.minute // minutes).label("step"),
            func.sum(m.milliseconds).label("up"),
            func.sum(m.bill_nanousd).label("bill"),
            func.sum(m.allocated_nanousd).label("allocated"),
            func.sum(m.idle_nanousd).label("idle"),
            func.sum(m.foreign_nanousd).label("foreign"),
        )
        .where(*period.minutes(m.minute))
        .group_by(m.engine, group)
        .order_by(group, m.engine)
    )
    return [_step(row, minutes) for row in conn.execute(query).mappings()]


def _step(row: RowMapping, minutes: int) -> Step:
    bill, allocated, idle, foreign = (_whole(row[name]) for name in ("bill", "allocated", "idle", "foreign"))
    # Minutes that were closed before foreign work was counted had none.
    return Step(
        row["engine"], row["step"] * minutes * 60.0, int(row["up"]) / 1000, bill, allocated, idle, foreign if foreign is not None or bill is None else 0
    )


def _whole(value: object) -> int | None:
    """Postgres sums big integers as decimals."""
    return None if value is None else int(str(value))
