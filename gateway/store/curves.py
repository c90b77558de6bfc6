"""What engines were measured to do: the curves of `breakeven calibrate`. The only writer of `engine_curves`.

The newest complete curve of an engine counts. What was measured later does not change minutes that were over by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Row, insert, select

from gateway.store.engine_tables import engine_curves
from router.errors import StateError
from router.utilisation import Point, Saturation, saturation


@dataclass(frozen=True, slots=True)
class Curve:
    """One calibration of one replica of an engine at `measured_at` (epoch seconds). Labels are None where nobody knew them."""

    engine: str
    measured_at: float
    replica: int
    model: str
    dtype: str | None
    hardware: str | None
    vllm_version: str | None
    prompt_tokens: int
    complete: bool
    points: tuple[Point, ...]

    @property
    def saturation(self) -> Saturation:
        """What the engine does at most. Raises StateError for a curve without a whole point, which `keep` does not take."""
        found = saturation(self.points)
        if found is None:
            raise StateError(f"nothing was measured of engine {self.engine}; run: breakeven calibrate {self.engine}")
        return found


# Of each engine, oldest first: when a complete curve was measured, and its decode weight.
Weights = Mapping[str, Sequence[tuple[float, float]]]


def keep(conn: Connection, curve: Curve) -> None:
    """Store a curve. Raises StateError when nothing was measured."""
    row = asdict(curve) | {"points": [asdict(point) for point in curve.points], "decode_weight": curve.saturation.decode_weight}
    conn.execute(insert(engine_curves).values(row))


def latest(conn: Connection, engine: str) -> Curve | None:
    """The newest complete curve of an engine; where all were interrupted, the newest. None: it was never calibrated."""
    c = engine_curves.c
    row = conn.execute(select(engine_curves).where(c.engine == engine).order_by(c.complete.desc(), c.measured_at.desc()).limit(1)).one_or_none()
    return None if row is None else _curve(row)


def weights(conn: Connection) -> Weights:
    """The decode weights of all engines that were calibrated whole."""
    c = engine_curves.c
    found: dict[str, list[tuple[float, float]]] = {}
    for row in conn.execute(select(c.engine, c.measured_at, c.decode_weight).where(c.complete).order_by(c.measured_at)):
        found.setdefault(row.engine, []).append((row.measured_at, row.decode_weight))
    return found


def weight_at(known: Weights, engine: str, instant: float, otherwise: float) -> float:
    """The decode weight of an engine as it was known at an instant (epoch seconds)."""
    return next((weight for measured_at, weight in reversed(known.get(engine, ())) if measured_at <= instant), otherwise)


def _curve(row: Row[tuple[object, ...]]) -> Curve:
    known = row._asdict()
    known.pop("decode_weight")
    return Curve(**known | {"points": tuple(Point(**point) for point in known["points"])})
