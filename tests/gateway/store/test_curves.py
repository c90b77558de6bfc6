"""Calibrated curves, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from gateway.store import curves
from gateway.store.curves import Curve
from router.errors import StateError
from router.utilisation import Point, Saturation
from serving.database import reading, writing

POINTS = (Point(1, 900.0, 50.0), Point(8, 1000.0, 100.0, disturbed=True))
CURVE = Curve("local", 100.5, 0, "Qwen/Qwen2.5-7B-Instruct", "bfloat16", "1 x H100", "0.32.0", 512, True, POINTS)


def test_the_newest_complete_one_counts(database: Engine) -> None:
    """It comes back as it was; one that was interrupted counts only where there is no other."""
    with writing(database) as conn:
        assert curves.latest(conn, "local") is None
        curves.keep(conn, replace(CURVE, complete=False))
    with reading(database) as conn:
        assert curves.latest(conn, "local") == replace(CURVE, complete=False)
        assert curves.weights(conn) == {}
    newer, other = replace(CURVE, measured_at=200.0, points=POINTS[:1]), replace(CURVE, engine="other", dtype=None, hardware=None, vllm_version=None)
    with writing(database) as conn:
        for one in (replace(CURVE, measured_at=150.0), newer, replace(CURVE, measured_at=300.0, complete=False), other):
            curves.keep(conn, one)
    with reading(database) as conn:
        assert curves.latest(conn, "local") == newer
        assert curves.latest(conn, "other") == other
        known = curves.weights(conn)
    assert known == {"local": [(150.0, 10.0), (200.0, 18.0)], "other": [(100.5, 10.0)]}
    assert [curves.weight_at(known, "local", at, 4.0) for at in (149.0, 150.0, 999.0)] == [4.0, 10.0, 18.0]
    assert curves.weight_at(known, "never", 999.0, 4.0) == 4.0


def test_what_was_not_measured_is_not_kept(sqlite: Engine) -> None:
    """A curve without a whole point means nothing."""
    assert CURVE.saturation == Saturation(8, 1000.0, 100.0)
    with writing(sqlite) as conn, pytest.raises(StateError, match="breakeven calibrate local"):
        curves.keep(conn, replace(CURVE, points=()))
