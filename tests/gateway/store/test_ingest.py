"""From the spool into the database, exactly once, whoever dies."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, func, insert, select, text

from gateway.store import captures, decisions, exchanges, records, segments
from gateway.store.captures import Capture
from gateway.store.ingest import Ingester
from gateway.store.spool import Spool
from gateway.store.tables import attempts, engine_minutes, open_admits, spool_offsets
from gateway.store.tables import decisions as decisions_table
from gateway.store.tables import exchanges as table
from router import record
from router.errors import LedgerError, StateError
from router.types import Outcome, Snapshot, Usage
from serving.database import reading, writing
from tests.patience import patience

Make = Callable[..., Any]

# A worker that admits and settles until it is killed; what it has answered it says before it settles, as a client would know.
WORKER = """
import sys, pathlib
from gateway.store.exchanges import interrupted
from gateway.store.spool import Spool
from dataclasses import replace
from router.types import Outcome
spool = Spool(pathlib.Path(sys.argv[1]), "w0", max_backlog_bytes=400_000)
print(spool.generation, flush=True)
n = 0
while True:
    n += 1
    name = f"{sys.argv[2]}-{n}"
    try:
        spool.admit(name, 1.0, "r", "chat.completions", None)
    except Exception:
        n -= 1
        continue
    sys.stdout.write(f"answered {name}\\n"); sys.stdout.flush()
    spool.settle(replace(interrupted(name, 1.0, "r", "chat.completions", None), outcome=Outcome.OK, status=200))
    sys.stdout.write(f"settled {name}\\n"); sys.stdout.flush()
"""
INGESTER = """
import sys, pathlib
from gateway.store.ingest import Ingester
from serving.database import connect
ingester = Ingester(connect("sqlite:///b.db", pathlib.Path(sys.argv[1]).parent), pathlib.Path(sys.argv[1]), chunk_bytes=3000)
print("up", flush=True)
while True:
    ingester.run_once()
    ingester.recover()
"""


def rows(engine: Engine) -> dict[str, str]:
    """Outcome by exchange."""
    with reading(engine) as conn:
        return {row.id: row.outcome for row in conn.execute(select(table.c.id, table.c.outcome))}


def count(engine: Engine, what: Any) -> int:
    """Rows of a table."""
    with reading(engine) as conn:
        return conn.execute(select(func.count()).select_from(what)).scalar_one()


def test_everything_of_a_settle_reaches_the_database(database: Engine, tmp_path: Path, exchange: Make, decision: Make) -> None:
    """Exchange, attempts, decision with its snapshot, and capture are there as they were sent, on SQLite and on Postgres."""
    snapshot = Snapshot("triage", ())
    digest = record.digest(snapshot)
    sent, chosen = exchange("req_1", decision_id="dec_1"), decision("dec_1", snapshot_digest=digest)
    capture = Capture("req_1", "triage", 1.5, {"messages": []}, "answer")
    spool, ingester = Spool(tmp_path, "w0"), Ingester(database, tmp_path)
    spool.admit("req_1", sent.time, "triage", "chat.completions", None)
    assert (ingester.run_once(), ingester.open) == (0, 1)
    spool.snapshot(digest, record.to_dict(snapshot))
    spool.settle(sent, chosen, capture)
    assert (ingester.run_once(), ingester.open) == (1, 0)
    with reading(database) as conn:
        assert exchanges.get(conn, "req_1") == exchanges.Entry(sent, 0)
        assert decisions.get(conn, "dec_1") == (chosen, snapshot)
        assert captures.get(conn, "req_1") == capture
    assert count(database, open_admits) == 0
    spool.close()
    ingester.close()


def test_reading_the_same_records_again_changes_nothing(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """With every offset forgotten (an older database was restored, say) the same files bring no second row."""
    spool = Spool(tmp_path, "w0")
    for number in range(5):
        spool.settle(exchange(f"req_{number}"))
    ingester = Ingester(sqlite, tmp_path)
    assert ingester.run_once() == 5
    assert ingester.run_once() == 0
    ingester.close()
    with writing(sqlite) as conn:
        conn.execute(delete(spool_offsets))
    ingester = Ingester(sqlite, tmp_path)
    ingester.run_once()
    assert (count(sqlite, table), count(sqlite, attempts)) == (5, 5)
    spool.close()
    ingester.close()


def test_many_rows_come_in_at_once_and_again(database: Engine, tmp_path: Path, exchange: Make, decision: Make) -> None:
    """Enough of them for Postgres' COPY, odd texts included; read again beside new ones, each is there once."""
    spool = Spool(tmp_path, "w0")
    odd = {"tags": {"a\tb": "c\nd\\e"}, "finish_reason": "\\N", "trace": "\t\\.\r\n", "route": None, "ttft_ms": None}
    for number in range(40):
        spool.admit(f"req_{number}", 5.0, "triage", "chat.completions", None)
        spool.settle(exchange(f"req_{number}", decision_id=f"dec_{number}", **odd if number % 2 else {}), decision(f"dec_{number}"))
    ingester = Ingester(database, tmp_path)
    assert (ingester.run_once(), ingester.open) == (40, 0)
    with reading(database) as conn:
        found = exchanges.get(conn, "req_7")
    assert found is not None
    assert found.exchange == exchange("req_7", decision_id="dec_7", **odd)
    ingester.close()
    with writing(database) as conn:
        conn.execute(delete(spool_offsets))
    for number in range(40, 60):
        spool.settle(exchange(f"req_{number}"), decision(f"dec_{number}"))
    ingester = Ingester(database, tmp_path)
    assert (ingester.run_once(), ingester.corrupt, ingester.open) == (60, 0, 0)
    assert [count(database, what) for what in (table, attempts, decisions_table)] == [60, 60, 60]
    spool.close()
    ingester.close()


def test_an_admit_that_makes_no_sense_is_damage(sqlite: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A right checksum around wrong fields: kept aside as any damaged record."""
    caplog.set_level(logging.CRITICAL)
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path)
    path = segments.listed(tmp_path)[spool.generation][0].path
    with path.open("ab") as file:
        file.write(records._line(b"A", b"[1]"))
    assert (ingester.run_once(), ingester.corrupt, ingester.open) == (0, 1, 0)
    spool.close()
    ingester.close()


def test_files_are_deleted_once_their_writer_has_moved_on(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """Of a living worker only the newest file stays; a closed worker leaves nothing."""
    spool, ingester = Spool(tmp_path, "w0", max_backlog_bytes=8000), Ingester(sqlite, tmp_path)
    for number in range(12):
        spool.settle(exchange(f"req_{number}"))
    assert len(segments.listed(tmp_path)[spool.generation]) > 2
    ingester.run_once()
    assert len(segments.listed(tmp_path)[spool.generation]) == 1
    assert ingester.recover() == 0
    assert len(segments.listed(tmp_path)[spool.generation]) == 1
    spool.close()
    assert ingester.recover() == 0
    assert segments.listed(tmp_path) == {}
    assert (count(sqlite, table), count(sqlite, spool_offsets)) == (12, 0)
    ingester.close()


def test_a_dead_workers_open_requests_are_interrupted(database: Engine, tmp_path: Path, exchange: Make) -> None:
    """An admit without a settle becomes one row: interrupted, status 0, tokens and costs unknown. The unfinished last record is no damage."""
    spool, ingester = Spool(tmp_path, "w0"), Ingester(database, tmp_path)
    for name in ("a", "b", "c"):
        spool.admit(name, 5.0, "triage", "chat.completions", "key_a")
    spool.settle(exchange("a"))
    ingester.run_once()
    spool.settle(exchange("b"))
    path = segments.listed(tmp_path)[spool.generation][0].path
    with path.open("ab") as file:
        file.write(records.settle(exchange("c"), None, None)[:50])
    assert ingester.recover() == 0
    spool.close()
    assert ingester.recover(alive=["w0"]) == 0
    assert ingester.recover() == 1
    assert (ingester.torn, ingester.corrupt, ingester.open) == (1, 0, 0)
    assert rows(database) == {"a": "ok", "b": "ok", "c": "interrupted"}
    with reading(database) as conn:
        row = conn.execute(select(table).where(table.c.id == "c")).one()
    assert (row.status, row.cost_state, row.usage_state) == (0, "unknown", "unknown")
    assert [row.cost_nanousd, row.input_tokens, row.total_ms, row.all_hosted_nanousd, row.amortised_nanousd] == [None] * 5
    assert (row.time, row.route, row.key_id) == (5.0, "triage", "key_a")
    ingester.close()


def test_a_new_ingester_knows_what_is_open(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """An admit read before a restart of the controller is settled, or written off, after it."""
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path)
    spool.admit("a", 1.0, None, "models", None)
    spool.admit("b", 1.0, None, "models", None)
    ingester.run_once()
    ingester.close()
    ingester = Ingester(sqlite, tmp_path)
    assert ingester.open == 2
    spool.settle(exchange("a"))
    ingester.run_once()
    assert ingester.open == 1
    spool.close()
    assert ingester.recover() == 1
    assert rows(sqlite) == {"a": "ok", "b": "interrupted"}
    ingester.close()


def test_damaged_records_are_counted_kept_and_reported(sqlite: Engine, tmp_path: Path, exchange: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Two damaged lines cost two records: they are kept aside and logged as errors, and their neighbours come in."""
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path)
    for number in range(4):
        spool.settle(exchange(f"req_{number}"))
    path = segments.listed(tmp_path)[spool.generation][0].path
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"gpt-4o", b"gpt-5o")
    lines[3] = b"\x00" * 20
    path.write_bytes(b"\n".join(lines))
    assert ingester.run_once() == 2
    assert set(rows(sqlite)) == {"req_0", "req_3"}
    assert ingester.corrupt == 2
    assert (tmp_path / "corrupt" / path.name).read_bytes().split(b"\n")[:-1] == lines[2:4]
    assert [r.levelname for r in caplog.records] == ["ERROR"]
    spool.close()
    ingester.close()


def test_a_damaged_header_costs_no_rows(sqlite: Engine, tmp_path: Path, exchange: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Without its header a file is read as this version writes it."""
    caplog.set_level(logging.CRITICAL)
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path)
    spool.settle(exchange("req_1"))
    path = segments.listed(tmp_path)[spool.generation][0].path
    path.write_bytes(b"X" + path.read_bytes()[1:])
    assert (ingester.run_once(), ingester.corrupt) == (1, 1)
    spool.close()
    ingester.close()


def test_a_file_of_a_newer_version_is_left_alone(sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What this version cannot understand is reported once and stays for the version that can."""
    monkeypatch.setattr(records, "FORMAT", 2)
    spool = Spool(tmp_path, "w0")
    monkeypatch.undo()
    spool.admit("a", 1.0, None, "models", None)
    spool.close()
    ingester = Ingester(sqlite, tmp_path)
    assert [ingester.run_once(), ingester.run_once(), ingester.recover()] == [0, 0, 0]
    assert len(segments.listed(tmp_path)) == 1
    assert len([r for r in caplog.records if "newer version (format 2)" in r.getMessage()]) == 1
    ingester.close()


def test_a_value_the_database_cannot_hold_costs_that_value_alone(database: Engine, tmp_path: Path, exchange: Make, caplog: pytest.LogCaptureFixture) -> None:
    """One impossible row among good ones: the others are stored, in its place stands an interrupted one, and its record is kept aside."""
    caplog.set_level(logging.CRITICAL)
    spool, ingester = Spool(tmp_path, "w0"), Ingester(database, tmp_path)
    spool.admit("bad", 5.0, "triage", "chat.completions", None)
    for name, sent in (("good", {}), ("bad", {"status": None}), ("fine", {}), ("worse", {"time": float("nan")})):
        spool.settle(exchange(name, **sent))
    assert ingester.run_once() == 3
    assert rows(database) == {"good": "ok", "fine": "ok", "bad": "interrupted"}
    assert (ingester.corrupt, ingester.open) == (2, 0)
    spool.settle(exchange("big", usage=Usage(2**62 * 4 - 1)))
    ingester.run_once()
    assert rows(database)["big"] in {"ok", "interrupted"}
    spool.close()
    ingester.close()


def test_a_database_that_refuses_loses_nothing(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """An error of the database is a LedgerError; the same records come in when it is over."""
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path)
    spool.admit("a", 1.0, "r", "chat.completions", None)
    spool.settle(exchange("a"))
    with writing(sqlite) as conn:
        conn.execute(text("ALTER TABLE attempts RENAME TO elsewhere"))
    with pytest.raises(LedgerError, match="tried again"):
        ingester.run_once()
    assert rows(sqlite) == {}
    with writing(sqlite) as conn:
        conn.execute(text("ALTER TABLE elsewhere RENAME TO attempts"))
    assert ingester.run_once() == 1
    spool.close()
    ingester.close()


def test_records_longer_than_a_piece_come_in(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """A long capture spans many pieces of the file."""
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path, chunk_bytes=100)
    spool.settle(exchange("a"), None, Capture("a", "r", 1.0, {"messages": ["x" * 5000]}, "y"))
    spool.settle(exchange("b"))
    assert ingester.run_once() == 2
    spool.close()
    ingester.close()


def test_late_local_rows_reopen_their_minutes(sqlite: Engine, tmp_path: Path, exchange: Make, noon: float) -> None:
    """A local row that arrives after its minute was closed marks it, in the transaction that stores the row."""
    minute = int(noon // 60)
    with writing(sqlite) as conn:
        for engine, number in (("local", minute), ("local", minute + 1), ("other", minute)):
            conn.execute(insert(engine_minutes).values(engine=engine, minute=number, milliseconds=60_000, closed_at=noon, stale=False))
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path)
    spool.settle(exchange("a", local=True, time=noon + 58.0))
    ingester.run_once()
    with reading(sqlite) as conn:
        stale = conn.execute(select(engine_minutes.c.engine, engine_minutes.c.minute).where(engine_minutes.c.stale)).all()
    assert stale == [("local", minute)]
    spool.close()
    ingester.close()


def test_only_one_process_ingests(sqlite: Engine, tmp_path: Path) -> None:
    """A second ingester of the same spool is refused until the first has closed."""
    first = Ingester(sqlite, tmp_path)
    with pytest.raises(StateError, match="only one may"):
        Ingester(sqlite, tmp_path)
    first.close()
    Ingester(sqlite, tmp_path).close()


def test_a_crash_between_commit_and_deletion_is_harmless(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """Files that are wholly in the database already bring nothing twice, even without their offsets."""
    spool = Spool(tmp_path / "spool", "w0")
    spool.admit("a", 1.0, "r", "chat.completions", None)
    spool.admit("b", 1.0, "r", "chat.completions", None)
    spool.settle(exchange("a"))
    spool.close()
    copies = {s.path: s.path.read_bytes() for files in segments.listed(tmp_path / "spool").values() for s in files}
    ingester = Ingester(sqlite, tmp_path / "spool")
    assert ingester.recover() == 1
    for path, content in copies.items():
        path.write_bytes(content)
    ingester.recover()
    assert rows(sqlite) == {"a": "ok", "b": "interrupted"}
    assert ingester.open == 0
    ingester.close()


def test_killed_workers_and_ingesters_lose_and_double_nothing(sqlite: Engine, tmp_path: Path) -> None:
    """kill -9 of workers and of the ingester at random moments: every admitted request has exactly one row, every settled one its own outcome."""
    spool, chance = tmp_path / "spool", random.Random(7)
    answered: set[str] = set()
    settled: set[str] = set()
    last = set()
    for life in range(3):
        ingester = subprocess.Popen([sys.executable, "-c", INGESTER, str(spool)], stdout=subprocess.PIPE, text=True)
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(spool), str(life)], stdout=subprocess.PIPE, text=True)
        assert ingester.stdout is not None
        assert worker.stdout is not None
        with patience(worker, ingester):
            worker.stdout.readline()
            ingester.stdout.readline()
            deadline = time.monotonic() + chance.uniform(0.05, 0.4)
            lines = []
            while time.monotonic() < deadline:
                lines.append(worker.stdout.readline())
            for process in chance.sample([worker, ingester], 2):
                process.kill()
            lines += worker.stdout.read().splitlines(keepends=True)
        for process in (worker, ingester):
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()
        said = [line.split() for line in lines if line.endswith("\n")]
        answered |= {name for word, name in said if word == "answered"}
        settled |= {name for word, name in said if word == "settled"}
        last.add(f"{life}-{max(int(name.split('-')[1]) for _, name in said) + 1}")
    final = Ingester(sqlite, spool)
    final.run_once()
    final.recover()
    found = rows(sqlite)
    assert len(answered) > 100
    assert set(found) - answered <= last, "rows of requests that nobody admitted"
    assert answered <= set(found)
    assert {name for name in settled if found[name] != "ok"} == set()
    assert Counter(found.values())[Outcome.INTERRUPTED] <= 3
    assert (final.corrupt, final.open) == (0, 0)
    assert list(segments.listed(spool)) == []
    final.close()


def test_rows_and_offset_are_one_transaction(sqlite: Engine, tmp_path: Path, exchange: Make) -> None:
    """When the commit fails, neither is there; the records are read again."""
    spool, ingester = Spool(tmp_path, "w0"), Ingester(sqlite, tmp_path)
    spool.settle(exchange("a"))

    def refuse(*_: object) -> None:
        raise RuntimeError("power cut")

    event.listen(sqlite, "commit", refuse)
    with pytest.raises(RuntimeError, match="power cut"):
        ingester.run_once()
    event.remove(sqlite, "commit", refuse)
    assert (count(sqlite, table), count(sqlite, spool_offsets)) == (0, 0)
    assert ingester.run_once() == 1
    spool.close()
    ingester.close()
