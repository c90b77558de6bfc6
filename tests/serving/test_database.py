"""Opening databases, transactions and the state version."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from router.errors import ConfigError
from serving import database
from serving.database import bump, connect, metadata, reading, state_version, writing


def _bump_and_fail(conn: Connection) -> None:
    bump(conn)
    conn.execute(text("SELECT no_such_thing"))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An SQLite database with the tables of this file alone."""
    made = connect("sqlite:///b.db", tmp_path)
    metadata.create_all(made, tables=[database.state])
    return made


def test_a_relative_path_is_relative_to_the_given_directory(tmp_path: Path) -> None:
    """`sqlite:///b.db` lies beside the configuration, wherever the process was started."""
    connect("sqlite:///b.db", tmp_path).dispose()
    assert (tmp_path / "b.db").exists()


def test_sqlite_is_opened_for_many_processes(engine: Engine, tmp_path: Path) -> None:
    """WAL, NORMAL, a busy timeout of ten seconds and foreign keys; FULL when commits must survive a power loss."""
    with reading(engine) as conn:
        pragmas = {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 10_000, "foreign_keys": 1}
    with reading(connect("sqlite:///c.db", tmp_path, durable=True)) as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_each_bump_is_seen_once_committed(engine: Engine) -> None:
    """The state version counts committed changes and starts at 0."""
    with reading(engine) as conn:
        assert state_version(conn) == 0
    with writing(engine) as conn:
        bump(conn)
        bump(conn)
    with pytest.raises(OperationalError), writing(engine) as conn:
        _bump_and_fail(conn)
    with reading(engine) as conn:
        assert state_version(conn) == 2


def test_a_reader_has_one_view_and_blocks_no_writer(engine: Engine) -> None:
    """A writer commits while a reader is open, and the reader keeps seeing what it saw."""
    with reading(engine) as reader:
        assert state_version(reader) == 0
        with writing(engine) as writer:
            bump(writer)
        assert state_version(reader) == 0
    with reading(engine) as reader:
        assert state_version(reader) == 1


def test_writers_that_read_first_wait_for_each_other(engine: Engine) -> None:
    """Eight threads that read and then write all succeed: a deferred transaction would fail with SQLITE_BUSY when it upgrades."""
    failed = []

    def change() -> None:
        try:
            for _ in range(10):
                with writing(engine) as conn:
                    state_version(conn)
                    bump(conn)
        except OperationalError as error:
            failed.append(error)

    threads = [threading.Thread(target=change, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with reading(engine) as conn:
        assert (failed, state_version(conn)) == ([], 80)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("breakeven.db", "write sqlite:///breakeven.db"),
        ("sqlite://host:port/x", "not a database URL"),
        ("mysql://u:secret@h/d", "mysql is not supported"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///missing/b.db", "does not exist; create it"),
        ("sqlite:///taken", "is a directory"),
        ("sqlite:///text.db", "file is not a database"),
        ("postgresql://u:secret@127.0.0.1:1/d", "does not answer"),
        ("postgres://u:secret@127.0.0.1:1/d", "check host, name, user and password"),
        ("postgresql+asyncpg://u:secret@127.0.0.1:1/d", "does not answer"),
    ],
)
def test_a_database_that_cannot_be_used_says_what_to_change(tmp_path: Path, url: str, says: str) -> None:
    """Each wrong URL is a configuration error that names the remedy and shows no password."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "text.db").write_text("no database " * 1000)
    with pytest.raises(ConfigError) as caught:
        connect(url, tmp_path)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.problems[0].key == "database"


def test_a_directory_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without write permission the error says so, before SQLite's own "unable to open"."""
    monkeypatch.setattr("os.access", lambda *_: False)  # tests may run as root, whom no permission stops
    with pytest.raises(ConfigError, match="cannot be written by this user"):
        connect("sqlite:///b.db", tmp_path)


def test_postgres_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed psycopg reads what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"breakeven\[postgres\]"):
        connect("postgresql://u@127.0.0.1:1/d")


def test_expired_text_is_overwritten(engine: Engine, tmp_path: Path) -> None:
    """A deleted text is no longer in the file: captures really expire."""
    with writing(engine) as conn:
        conn.execute(text("CREATE TABLE t (x TEXT)"))
        conn.execute(text("INSERT INTO t VALUES ('very private words')"))
    with writing(engine) as conn:
        conn.execute(text("DELETE FROM t"))
    with engine.connect() as plain:
        plain.exec_driver_sql("COMMIT")
        plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"very private words" not in (tmp_path / "b.db").read_bytes()
