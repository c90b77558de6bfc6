"""The bytes on disk: whole or not there, bounded, swept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gateway.store import content
from router.errors import RequestError


def test_a_name_that_is_there_is_whole(tmp_path: Path) -> None:
    """While it arrives a file has another name; kept, it has its own; nothing else is left, and only this user may read it."""
    incoming = content.Incoming(tmp_path, 100)
    incoming.write(b"hel")
    assert not content.path(tmp_path, "file-1").exists()
    incoming.write(b"lo")
    assert incoming.keep("file-1").read_bytes() == b"hello"
    assert incoming.size == 5
    assert [path.name for path in content.directory(tmp_path).rglob("*") if path.is_file()] == ["file-1"]
    assert content.path(tmp_path, "file-1").stat().st_mode & 0o077 == 0
    assert content.directory(tmp_path).joinpath("incoming").stat().st_mode & 0o077 == 0


def test_too_much_is_refused(tmp_path: Path) -> None:
    """413, and after discarding (twice is fine) nothing is on the disk."""
    incoming = content.Incoming(tmp_path, 4)
    with pytest.raises(RequestError) as refused:
        incoming.write(b"hello")
    assert (refused.value.status, refused.value.code) == (413, "file_too_large")
    incoming.discard()
    incoming.discard()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """507 that asks for space instead of an internal error."""
    incoming = content.Incoming(tmp_path, 100)
    os.dup2(os.open("/dev/full", os.O_WRONLY), incoming._descriptor)
    with pytest.raises(RequestError, match="free some space") as refused:
        incoming.write(b"hello")
    assert refused.value.status == 507
    incoming.discard()
    (tmp_path / "file").touch()
    with pytest.raises(RequestError) as refused:
        content.Incoming(tmp_path / "file", 100)
    assert refused.value.code == "insufficient_storage"


def test_an_id_is_no_path() -> None:
    """Nothing outside the directory can be named."""
    for bad in ("", "../x", "a/b", "a.b", "\0"):
        with pytest.raises(ValueError, match="no id"):
            content.path(Path(), bad)


def test_adopting_gives_a_second_name(tmp_path: Path) -> None:
    """The bytes stay whichever name is deleted first; doing it twice is doing it once."""
    source = tmp_path / "made"
    source.write_bytes(b"hello")
    content.adopt(tmp_path, source, "file-1")
    final = content.adopt(tmp_path, source, "file-1")
    source.unlink()
    assert final.read_bytes() == b"hello"
    assert [path.name for path in final.parent.iterdir()] == ["file-1"]


def test_adopting_where_the_disk_knows_no_second_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is copied."""

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "made"
    source.write_bytes(b"hello")
    final = content.adopt(tmp_path, source, "file-1")
    assert final.read_bytes() == b"hello"
    assert final.stat().st_ino != source.stat().st_ino


def test_what_nobody_knows_is_swept(tmp_path: Path) -> None:
    """Abandoned uploads and contents without a row go, once they are old; a fresh one may still get its row."""
    assert content.sweep(tmp_path, lambda _: [], time.time()) == 0
    for name in ("file-kept", "file-lost"):
        content.Incoming(tmp_path, 9).keep(name)
    abandoned = content.Incoming(tmp_path, 9)
    known = lambda names: [name for name in names if name == "file-kept"]  # noqa: E731
    assert content.sweep(tmp_path, known, time.time()) == 0
    assert content.sweep(tmp_path, known, time.time() + content.ABANDONED_S + 60) == 2
    assert [path.name for path in content.directory(tmp_path).rglob("*") if path.is_file()] == ["file-kept"]
    content.remove(tmp_path, ["file-kept", "file-gone"])
    assert not content.path(tmp_path, "file-kept").exists()
    abandoned.discard()
