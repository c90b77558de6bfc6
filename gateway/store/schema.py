"""Bringing a database to the shape this version of the code needs. The one Alembic history of all rooms.

Here: the upgrade, and the whole metadata (importing this file imports every table). Not here: the migrations themselves (migrations/versions).

After changing a table: `python -m gateway.store.schema "what changed"` writes a migration for review; set HEAD to its revision.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from gateway.store import drift_tables, engine_tables, ft_tables, gpu_tables, ladder, quality_tables, rollup_tables, tables
from router.errors import ConfigError, Problem
from serving import tables as serving_tables
from serving.database import connect, reading, writing

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0009"
# Every room's tables. Importing them is what puts them into the metadata that migrations are made from.
TABLES = (serving_tables, tables, rollup_tables, engine_tables, gpu_tables, drift_tables, ladder, ft_tables, quality_tables)
_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_ID = 0x62726B76  # any number, as long as every version of this program uses the same


def current(conn: Connection) -> str | None:
    """The revision a database is at; None for a database without our tables."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(engine: Engine) -> bool:
    """Bring the database to HEAD, wholly or not at all; whether there was anything to do. Several processes may call it at once.

    Raises ConfigError for a database that a newer version of this program has written, and for one that is not ours. Alembic is imported only when
    there is work for it.
    """
    with reading(engine) as conn:
        if current(conn) == HEAD:
            return False
    try:
        with writing(engine) as conn:
            return _upgrade(conn)
    except DatabaseError as error:
        raise _wrong(f"it cannot be upgraded ({error.orig}) and was left as it is; name a database that nothing else uses") from error


def _upgrade(conn: Connection) -> bool:
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})
    found = current(conn)  # another process may have been faster
    if found == HEAD:
        return False
    if found is not None and found not in _known():
        raise _wrong(f"it was written by a newer version of Breakeven (its schema is {found}, this one knows {HEAD}); upgrade this program")
    from alembic import command

    command.upgrade(_alembic(conn), "head")
    return True


def _wrong(message: str) -> ConfigError:
    return ConfigError(f"database: {message}", (Problem(message, key="database"),))


def _known() -> set[str]:
    return {match.group(1) for path in (_MIGRATIONS / "versions").glob("*.py") if (match := re.match(r"(\d{4})_", path.name))}


def _alembic(conn: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = conn
    return config


def _revise(message: str) -> None:
    """Write a migration from what the newest one makes to what the tables say."""
    from alembic import command

    with tempfile.TemporaryDirectory() as directory:
        engine = connect("sqlite:///scratch.db", Path(directory))
        with writing(engine) as conn:
            config = _alembic(conn)
            if _known():
                command.upgrade(config, "head")
            command.revision(config, message, autogenerate=True, rev_id=f"{max(map(int, _known()), default=0) + 1:04d}")
        engine.dispose()


if __name__ == "__main__":
    _revise(sys.argv[1])
