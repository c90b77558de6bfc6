"""The migrations make exactly what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from gateway.store import schema
from gateway.store.schema import HEAD, current, upgrade
from router.errors import ConfigError
from serving.database import connect, metadata, reading, writing
from tests.patience import patience, read_line


def test_the_migrations_make_what_the_tables_say(database: Engine) -> None:
    """Alembic finds no difference between an upgraded database and the metadata, on SQLite and on Postgres."""
    with reading(database) as conn:
        assert compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata) == []


def test_head_is_the_newest_migration() -> None:
    """The revision that spares an upgrade is the newest there is."""
    script = ScriptDirectory(str(schema._MIGRATIONS))
    assert script.get_heads() == [HEAD]


def test_an_upgraded_database_needs_no_alembic(tmp_path: Path) -> None:
    """The second start finds nothing to do and does not even import Alembic."""
    engine = connect("sqlite:///b.db", tmp_path)
    assert upgrade(engine)
    assert not upgrade(engine)
    engine.dispose()
    code = (
        "import sys, pathlib; from gateway.store.schema import upgrade; from serving.database import connect; "
        "print(upgrade(connect('sqlite:///b.db', pathlib.Path(sys.argv[1]))), 'alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """The message says which program to upgrade, and nothing in the database is touched."""
    engine = connect("sqlite:///b.db", tmp_path)
    upgrade(engine)
    with writing(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"newer version of Breakeven.*9999.*upgrade this program"):
        upgrade(engine)
    with reading(engine) as conn:
        assert current(conn) == "9999"
    engine.dispose()


UPGRADE = """
import sys, pathlib
from gateway.store.schema import upgrade
from serving.database import connect
print("ready", flush=True)
sys.stdin.readline()
engine = connect("sqlite:///b.db", pathlib.Path(sys.argv[1]))
print(upgrade(engine))
engine.dispose()
"""


def test_two_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    """Of several that start together exactly one does the work, and none fails."""
    # no multiprocessing.Pool: its workers are ended by SIGTERM and waited for without end, and one that is just starting or ending may not hear it
    words = [sys.executable, "-c", UPGRADE, str(tmp_path)]
    started = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    with patience(*started):
        assert [read_line(process) for process in started] == ["ready\n"] * 3
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate()[0] for process in started]
    assert (sorted(said), [process.returncode for process in started]) == (["False\n", "False\n", "True\n"], [0, 0, 0])


def test_an_interrupted_upgrade_leaves_nothing(tmp_path: Path) -> None:
    """All of a migration is one transaction: a table in its way, and no table is made."""
    engine = connect("sqlite:///b.db", tmp_path)
    with writing(engine) as conn:
        conn.execute(text("CREATE TABLE keys (x TEXT)"))
    with pytest.raises(ConfigError, match=r"already exists.*left as it is"):
        upgrade(engine)
    with reading(engine) as conn:
        names = list(conn.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
    assert names == ["keys"]
    engine.dispose()


def test_a_changed_table_becomes_a_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that writes migrations finds nothing to write today: its migration is empty."""
    copy = tmp_path / "migrations"
    (copy / "versions").mkdir(parents=True)
    for path in [*schema._MIGRATIONS.glob("*.*"), *schema._MIGRATIONS.glob("versions/*.py")]:
        (copy / path.relative_to(schema._MIGRATIONS)).write_text(path.read_text())
    monkeypatch.setattr(schema, "_MIGRATIONS", copy)
    following = f"{int(max(schema._known())) + 1:04d}"
    schema._revise("nothing")
    written = (copy / "versions" / f"{following}_nothing.py").read_text()
    assert f"down_revision = {HEAD!r}" in written
    assert "op.create" not in written
    assert "op.drop" not in written


def test_an_old_ledger_is_marked_to_be_rolled_up(tmp_path: Path) -> None:
    """Rows from before there were roll-ups: every minute, hour and day of theirs is marked, and fallbacks are counted from the attempts."""
    from alembic import command

    engine = connect("sqlite:///b.db", tmp_path)
    with writing(engine) as conn:
        command.upgrade(schema._alembic(conn), "0005")
        for name, minute in (("a", 1500), ("b", 1501), ("c", 3000)):
            conn.execute(
                text(
                    "INSERT INTO exchanges (id, time, minute, endpoint, tags, status, outcome, usage_state, cost_state, sandbox, prompt_bytes)"
                    " VALUES (:id, :time, :minute, 'chat', '{}', 200, 'ok', 'unknown', 'unknown', 0, 0)"
                ),
                {"id": name, "time": minute * 60.0, "minute": minute},
            )
        for name, position, error in (("a", 0, "upstream_cut"), ("a", 1, None), ("b", 0, "hedge_lost"), ("b", 1, None), ("c", 0, "upstream_cut")):
            conn.execute(
                text(
                    "INSERT INTO attempts (exchange_id, position, backend, owner, kind, error, started, ended, total_ms, usage_state, cost_state)"
                    " VALUES (:id, :position, 'o/m', 'o', 'hosted', :error, 1, 1, 1, 'unknown', 'unknown')"
                ),
                {"id": name, "position": position, "error": error},
            )
    assert upgrade(engine)
    with reading(engine) as conn:
        assert dict(conn.execute(text("SELECT id, failed_attempts FROM exchanges")).all()) == {"a": 1, "b": 0, "c": 0}  # type: ignore[arg-type]
        marks = conn.execute(text("SELECT step, start FROM rollup_dirty ORDER BY step, start")).all()
    assert [tuple(mark) for mark in marks] == [(1, 1500), (1, 1501), (1, 3000), (60, 1500), (60, 3000), (1440, 1440), (1440, 2880)]
    engine.dispose()
