"""How far the database is behind the spool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from gateway.store.backlog import backlog, offsets
from gateway.store.ingest import Ingester
from gateway.store.spool import Spool
from serving.database import reading

Make = Callable[..., Any]


def behind(engine: Engine, directory: Path) -> tuple[int, float | None]:
    with reading(engine) as conn:
        found = backlog(directory, offsets(conn))
    return found.size, found.since


def test_the_oldest_record_that_is_missing(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """Its size and its time, be it an admit or a settle; a snapshot before it has none. Nothing is behind once it is all brought in."""
    spool, ingester = Spool(tmp_path / "s", "w0"), Ingester(sqlite, tmp_path / "s")
    ingester.run_once()
    assert behind(sqlite, tmp_path / "s") == (0, None)
    spool.snapshot("digest", {"a": 1})
    spool.admit("req_1", 50.0, "r", "/v1/x", None)
    size, since = behind(sqlite, tmp_path / "s")
    assert size > 0
    assert since == 50.0
    ingester.run_once()
    settled = exchange("req_1")
    spool.settle(settled)
    assert behind(sqlite, tmp_path / "s")[1] == settled.time + settled.total_ms / 1000.0
    ingester.run_once()
    assert behind(sqlite, tmp_path / "s") == (0, None)
    spool.close()
    ingester.close()


def test_what_cannot_be_read_has_no_age(sqlite: Engine, tmp_path: Path) -> None:
    """It counts as bytes."""
    (tmp_path / "w0.abc.000000.spool").write_bytes(b"damaged\nand torn")
    assert behind(sqlite, tmp_path) == (16, None)
