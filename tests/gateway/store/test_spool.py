"""Writing ahead, and what a disk that refuses may cost."""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.store import records, segments
from gateway.store.spool import Spool
from router.errors import LedgerError

Make = Callable[..., Any]


def read(directory: Path) -> list[records.Record]:
    """Every record in the spool, headers left out."""
    lines = [line for files in segments.listed(directory).values() for s in files for line in s.path.read_bytes().split(b"\n")[:-1]]
    return [record for record in map(records.decode, lines) if not isinstance(record, records.Header)]


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """The kernel refuses, in the middle of a record if need be, whatever would make a file longer than `at` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def size(directory: Path) -> int:
    """Bytes of all spool files."""
    return sum(s.path.stat().st_size for files in segments.listed(directory).values() for s in files)


def test_records_are_on_file_when_the_call_returns(tmp_path: Path, exchange: Make, decision: Make) -> None:
    """Admit, snapshot (once per digest) and settle are readable by another process at once, in order."""
    spool = Spool(tmp_path, "w0", fsync=True)
    spool.admit("req_1", 1.5, None, "models", None)
    spool.snapshot("d1", {"route": "r"})
    spool.snapshot("d1", {"route": "r"})
    spool.settle(exchange("req_1"), decision())
    found = read(tmp_path)
    assert [type(item).__name__ for item in found] == ["Admit", "SnapshotBody", "Settle"]
    assert found[0] == records.Admit("req_1", 1.5, None, "models", None)
    spool.close()


def test_each_life_of_a_worker_has_files_of_its_own(tmp_path: Path) -> None:
    """A restarted worker of the same name never writes into the files of the one that died."""
    first, second = Spool(tmp_path, "w0"), Spool(tmp_path, "w0")
    assert first.generation != second.generation
    assert len(segments.listed(tmp_path)) == 2
    first.close()
    second.close()


def test_files_rotate_and_the_backlog_is_what_nobody_took(tmp_path: Path, exchange: Make) -> None:
    """A full spool refuses admission with its own code, never drops a settle, and admits again once the ingester has deleted files."""
    spool = Spool(tmp_path, "w0", max_backlog_bytes=8000)
    admitted = 0
    while spool.backlog_bytes <= 8000:
        spool.admit(f"req_{admitted}", 1.0, "r", "chat.completions", None)
        admitted += 1
    with pytest.raises(LedgerError, match="spool is full") as caught:
        spool.admit("one too many", 1.0, "r", "chat.completions", None)
    assert caught.value.code == "ledger_full"
    spool.settle(exchange("req_0"))
    assert len(read(tmp_path)) == admitted + 1
    files = segments.listed(tmp_path)[spool.generation]
    assert len(files) >= 4
    for segment in files[:2]:
        segment.path.unlink()
    spool.admit("again", 1.0, "r", "chat.completions", None)
    assert spool.backlog_bytes == size(tmp_path)
    spool.close()


def test_a_full_disk_refuses_admission_and_loses_no_settle(tmp_path: Path, exchange: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The disk fills in the middle of a record: the admit is refused, settles wait in memory, and all is written once there is space, without a torn line."""
    caplog.set_level(logging.CRITICAL)
    spool = Spool(tmp_path, "w0")
    for number in range(3):
        spool.admit(f"req_{number}", 1.0, "r", "chat.completions", None)
    before = size(tmp_path)
    with full_disk(before + 10):
        with pytest.raises(LedgerError, match="does not take records"):
            spool.admit("req_3", 1.0, "r", "chat.completions", None)
        spool.settle(exchange("req_0"))
        spool.settle(exchange("req_1"))
        assert (spool.pending, size(tmp_path)) == (2, before)
        with pytest.raises(LedgerError, match="does not take records"):
            spool.admit("req_4", 1.0, "r", "chat.completions", None)
    spool.admit("req_5", 1.0, "r", "chat.completions", None)
    assert spool.pending == 0
    found = read(tmp_path)
    assert [item.id for item in found if isinstance(item, records.Admit)] == ["req_0", "req_1", "req_2", "req_5"]
    assert [item.exchange.id for item in found if isinstance(item, records.Settle)] == ["req_0", "req_1"]
    spool.close()


def test_what_is_settled_together_is_one_write(tmp_path: Path, exchange: Make, decision: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on file before the block is left, and then everything, in order; an error inside loses nothing."""
    spool, writes, write = Spool(tmp_path, "w0"), [], segments.write_whole

    def counted(descriptor: int, data: bytes) -> None:
        writes.append(data)
        write(descriptor, data)

    monkeypatch.setattr(segments, "write_whole", counted)
    with pytest.raises(ValueError, match="inside"), spool.together():  # noqa: PT012 - what is left undone is the claim
        spool.snapshot("d1", {"route": "r"})
        spool.settle(exchange("req_0"), decision())
        spool.settle(exchange("req_1"))
        assert (read(tmp_path), spool.pending) == ([], 3)
        raise ValueError("inside")
    assert len(writes) == 1
    assert [type(item).__name__ for item in read(tmp_path)] == ["SnapshotBody", "Settle", "Settle"]
    spool.settle(exchange("req_2"))
    assert len(writes) == 2
    spool.close()


@pytest.mark.parametrize("torn", [False, True])
def test_a_disk_that_takes_a_part_of_what_is_settled_together(
    tmp_path: Path, exchange: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, torn: bool
) -> None:
    """Whole records that reached the disk stay where they are, for the ingester may have read them; only the rest is written again."""
    caplog.set_level(logging.CRITICAL)
    spool = Spool(tmp_path, "w0")
    one = len(records.settle(exchange("req_0"), None, None))

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if torn:
            patch.setattr("os.ftruncate", broken)
        with full_disk(size(tmp_path) + 2 * one + 10), spool.together():
            for number in range(4):
                spool.settle(exchange(f"req_{number}"))
        assert spool.pending == 2
    assert spool.flush() == 0
    lines = [line for s in segments.listed(tmp_path)[spool.generation] for line in s.path.read_bytes().split(b"\n")[1:-1]]
    found = [records.decode(line) for line in lines if len(line) + 1 == one]
    assert [item.exchange.id for item in found if isinstance(item, records.Settle)] == [f"req_{number}" for number in range(4)]
    assert len(lines) == (5 if torn else 4)
    assert spool.backlog_bytes == size(tmp_path)
    spool.close()


def test_closing_says_when_records_are_lost(tmp_path: Path, exchange: Make) -> None:
    """A process that ends while the disk refuses does not end in silence."""
    spool = Spool(tmp_path, "w0")
    with full_disk(size(tmp_path) + 10):
        spool.settle(exchange("req_0"))
        with pytest.raises(LedgerError, match="1 ledger records could not be written"):
            spool.close()


def test_a_torn_record_that_cannot_be_removed_costs_no_other(tmp_path: Path, exchange: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """When even truncating fails, the next record begins on a line of its own."""
    spool = Spool(tmp_path, "w0")

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with full_disk(size(tmp_path) + 10), monkeypatch.context() as patch:
        patch.setattr("os.ftruncate", broken)
        spool.settle(exchange("req_0"))
    spool.admit("req_1", 1.0, "r", "chat.completions", None)
    lines = next(iter(segments.listed(tmp_path).values()))[0].path.read_bytes().split(b"\n")[1:-1]
    assert len(lines[0]) == 10
    assert [type(records.decode(line)).__name__ for line in lines[1:]] == ["Settle", "Admit"]
    spool.close()


def test_a_disk_that_does_not_flush_refuses_admission_but_not_settling(tmp_path: Path, exchange: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fsync on, a failing flush is an admission refused; a settle is in the kernel's hands and is not written twice."""
    spool = Spool(tmp_path, "w0", fsync=True)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", broken)
        with pytest.raises(LedgerError, match="Input/output error"):
            spool.admit("req_0", 1.0, "r", "chat.completions", None)
        spool.settle(exchange("req_0"))
    assert spool.pending == 0
    assert [type(item).__name__ for item in read(tmp_path)] == ["Admit", "Settle"]
    spool.close()


def test_without_a_new_file_the_old_one_goes_on(tmp_path: Path) -> None:
    """When no new file can be made, records go into the old one, however long it gets."""
    directory = tmp_path / "spool"
    spool = Spool(directory, "w0", max_backlog_bytes=4000)
    moved = directory.rename(tmp_path / "moved")
    for number in range(20):
        spool.admit(f"req_{number}", 1.0, "r", "chat.completions", None)
    assert len(read(moved)) == 20
    spool.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The spool's directory must be one; the error names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot write to .*file/spool"):
        Spool(tmp_path / "file" / "spool", "w0")
    with pytest.raises(ValueError, match="use letters, digits"):
        Spool(tmp_path, "../w0")
