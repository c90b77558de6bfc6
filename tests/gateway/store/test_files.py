"""Files: whose, in which order, until when, how much together."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.store import content, files
from gateway.store.files import File, Query
from router.errors import RequestError
from serving.database import reading, writing


def made(number: int, key: str | None = "key_a", **more: object) -> File:
    values: dict[str, object] = {"filename": f"{number}.jsonl", "purpose": "batch", "bytes": 10, "created_at": float(number), **more}
    return File(f"{files.PREFIX}{number:04d}", key, **values)  # type: ignore[arg-type]


def test_a_file_belongs_to_its_key(database: Engine) -> None:
    """Another key's file, and one that was made while there were no keys, do not exist: 404 in OpenAI's words."""
    with writing(database) as conn:
        files.add(conn, made(1))
        files.add(conn, made(2, None))
    with reading(database) as conn:
        assert files.owned(conn, f"{files.PREFIX}0001", "key_a", 0.0) == made(1)
        assert files.owned(conn, f"{files.PREFIX}0002", None, 0.0) == made(2, None)
        for key in ("key_b", None):
            with pytest.raises(RequestError, match=f"^No such File object: {files.PREFIX}0001$") as refused:
                files.owned(conn, f"{files.PREFIX}0001", key, 0.0)
            assert refused.value.status == 404
        assert files.page(conn, "key_b", Query(10), 0.0) == ([], False)


def test_an_expired_file_is_gone_at_once(database: Engine) -> None:
    """It is neither found nor listed, and what is swept later is what expired."""
    with writing(database) as conn:
        files.add(conn, made(1, expires_at=100.0))
        files.add(conn, made(2))
    with reading(database) as conn:
        assert files.get(conn, made(1).id, 99.0) is not None
        assert files.get(conn, made(1).id, 100.0) is None
        assert [file.id for file in files.page(conn, "key_a", Query(10), 100.0)[0]] == [made(2).id]
    with writing(database) as conn:
        assert files.forget_expired(conn, 99.0) == []
        assert files.forget_expired(conn, 100.0) == [made(1).id]
        assert files.total_bytes(conn) == 10


def test_pages_meet_without_gap_or_repeat(database: Engine) -> None:
    """Both orders, also where several files have the same instant; a purpose keeps the others out; an unknown cursor gives an empty page."""
    with writing(database) as conn:
        for number in range(7):
            files.add(conn, made(number, created_at=float(number // 3), purpose="fine-tune" if number == 5 else "batch"))
    with reading(database) as conn:
        for ascending in (False, True):
            seen: list[str] = []
            more = True
            while more:
                page, more = files.page(conn, "key_a", Query(2, seen[-1] if seen else None, ascending=ascending), 50.0)
                seen += [file.id for file in page]
            assert seen == [made(number).id for number in (range(7) if ascending else reversed(range(7)))]
        tuned, _ = files.page(conn, "key_a", Query(10, purpose="fine-tune"), 50.0)
        assert [file.id for file in tuned] == [made(5).id]
        assert files.page(conn, "key_a", Query(10, after="file-nobody"), 50.0) == ([], False)


def test_all_files_together_are_bounded(database: Engine) -> None:
    """The last one that does not fit leaves no row; adding one again changes nothing."""
    with writing(database) as conn:
        files.add(conn, made(1), quota=20)
        files.add(conn, made(2), quota=20)
    with writing(database) as conn, pytest.raises(RequestError, match="delete files") as refused:
        files.add(conn, made(3), quota=20)
    assert (refused.value.status, refused.value.code) == (413, "storage_quota_exceeded")
    with writing(database) as conn:
        files.add(conn, made(1, bytes=99))
        assert files.total_bytes(conn) == 20
        files.forget(conn, made(1).id)
        assert files.total_bytes(conn) == 10


def test_where_the_content_is(database: Engine, tmp_path: Path) -> None:
    """The path of a file that is there; 404 for one without a row, and for one whose content is not on this host."""
    with writing(database) as conn:
        files.add(conn, made(1))
        files.add(conn, made(2))
    incoming = content.Incoming(tmp_path, 100)
    incoming.write(b"hello")
    incoming.keep(made(1).id)
    with reading(database) as conn:
        assert files.path(conn, tmp_path, made(1).id, 0.0).read_bytes() == b"hello"
        for missing in (made(2).id, made(3).id):
            with pytest.raises(RequestError, match="No such File"):
                files.path(conn, tmp_path, missing, 0.0)


def test_ours_and_theirs() -> None:
    """Ids that we make are told from a provider's by their look."""
    assert files.is_ours(files.new_id())
    assert not files.is_ours("file-52voFe6FU6MWyAwa1Uj39R")
    assert files.new_id() != files.new_id()
