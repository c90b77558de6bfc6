"""The database engine and the one number that tells every process that something changed.

Here: the metadata all rooms hang their tables on, opening SQLite or Postgres, transactions for reading and for writing, the state version.
Not here: tables (each room's own files) and migrations (gateway/store/schema.py).

SQLite runs in WAL mode. Every transaction begins IMMEDIATE unless it is opened by `reading`: a transaction that reads first and writes later can
otherwise fail with SQLITE_BUSY at once, whatever the busy timeout says. An Engine does not survive a fork: connect in the child, or call
`engine.dispose(close=False)` there first.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Connection, Engine, Integer, MetaData, Table, create_engine, event, insert, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from router.errors import ConfigError, Problem

BUSY_TIMEOUT_MS = 10_000
# SQLite's own two megabytes hold neither the inner pages of a large ledger's indices nor one transaction of the ingester.
CACHE_KIB = 16 * 1024
# Pages of 4 KiB between checkpoints: pages that many transactions change are written to the file once for all of them.
CHECKPOINT_PAGES = 4000
_READING = "breakeven_reading"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

state = Table(
    "state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)


def connect(url: str, directory: Path | None = None, *, durable: bool = False) -> Engine:
    """Open the database `url` names and prove that it answers.

    `directory` is what a relative SQLite path is relative to (the config file's directory). `durable` makes each SQLite commit survive a power loss;
    without it a commit survives the death of every process. Raises ConfigError, whose message says what to change.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, directory, durable)
    return _postgres(parsed)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: one consistent view, and on SQLite no write lock."""
    options: dict[str, Any] = {_READING: True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"  # else each statement would have a view of its own
    with engine.connect() as plain:
        conn = plain.execution_options(**options)
        with conn.begin():
            yield conn


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed when the block ends, rolled back when it raises."""
    with engine.begin() as conn:
        yield conn


def state_version(conn: Connection) -> int:
    """The number of changes workers must see, so far; 0 in a fresh database."""
    return conn.execute(select(state.c.version).where(state.c.id == 1)).scalar() or 0


def bump(conn: Connection) -> None:
    """Tell every process that keys, adapters or stages changed. Call it inside the transaction that changes them."""
    if conn.execute(update(state).where(state.c.id == 1).values(version=state.c.version + 1)).rowcount == 0:
        conn.execute(insert(state).values(id=1, version=1))


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise _wrong("this is not a database URL; write sqlite:///breakeven.db or postgresql://user:password@host/name") from error
    if backend == "postgres":  # what many hosts hand out; SQLAlchemy knows only the long name
        return parsed.set(drivername="postgresql")
    if backend not in {"sqlite", "postgresql"}:
        raise _wrong(f"{backend} is not supported; write sqlite:///breakeven.db or postgresql://user:password@host/name")
    return parsed


def _sqlite(url: URL, directory: Path | None, durable: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise _wrong("an in-memory SQLite database cannot be shared between processes; name a file: sqlite:///breakeven.db")
    path = (directory or Path()) / url.database
    if not path.parent.is_dir():
        raise _wrong(f"the directory {path.parent} does not exist; create it or change the path")
    if path.is_dir():
        raise _wrong(f"{path} is a directory; name a file in it")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise _wrong(f"{path} cannot be written by this user; change its permissions or the path")
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine, "connect")
    def on_connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in _pragmas(durable):
            dbapi.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN" if conn.get_execution_options().get(_READING) else "BEGIN IMMEDIATE")

    _probe(engine, f"{path} cannot be opened as an SQLite database", "move that file away, or name another")
    return engine


def _pragmas(durable: bool) -> tuple[str, ...]:
    return (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        f"synchronous={'FULL' if durable else 'NORMAL'}",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KIB}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        "secure_delete=FAST",  # expired captures leave no text behind in freed pages
        f"journal_size_limit={64 * 1024 * 1024}",
    )


def _postgres(url: URL) -> Engine:
    if importlib.util.find_spec("psycopg") is None:
        raise _wrong("Postgres needs the psycopg driver: pip install 'breakeven[postgres]'")
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": 10},
        pool_pre_ping=True,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
    )
    _probe(engine, f"{url.render_as_string(hide_password=True)} does not answer", "check host, name, user and password")
    return engine


def _probe(engine: Engine, what: str, remedy: str) -> None:
    try:
        with reading(engine) as conn:
            conn.exec_driver_sql("SELECT 1")
            if engine.dialect.name == "sqlite":
                conn.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except DatabaseError as error:
        engine.dispose()
        raise _wrong(f"{what} ({str(error.orig).strip()}); {remedy}") from error


def _wrong(message: str) -> ConfigError:
    text = f"database: {message}"
    return ConfigError(text, (Problem(message, key="database"),))


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
