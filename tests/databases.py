"""Databases for tests. Applying every migration takes a quarter of a second: it is done once per process, and empty SQLite databases are copies."""

from __future__ import annotations

import sqlite3
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from gateway.store.schema import current, upgrade
from serving.database import connect, reading


def prepare(database: Engine) -> None:
    """`gateway.store.schema.upgrade`, faster where there is nothing yet."""
    with reading(database) as conn:
        empty = current(conn) is None
    if not empty or database.dialect.name != "sqlite":
        upgrade(database)
        return
    raw = database.raw_connection()
    try:
        assert raw.driver_connection is not None
        _template().backup(raw.driver_connection)
    finally:
        raw.close()


@cache
def _template() -> sqlite3.Connection:
    """An upgraded, empty database in memory."""
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    with tempfile.TemporaryDirectory() as directory:
        engine = connect("sqlite:///t.db", Path(directory))
        upgrade(engine)
        raw = engine.raw_connection()
        assert raw.driver_connection is not None
        raw.driver_connection.backup(kept)
        raw.close()
        engine.dispose()
    return kept
