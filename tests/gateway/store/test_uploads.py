"""Uploads in parts: pending until completed, cancelled or expired."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from gateway.store import files, uploads
from gateway.store.uploads import Part, Upload
from router.errors import RequestError
from serving.database import reading, writing

QUOTA = 1000


def opened(number: int = 1, key: str | None = "key_a", size: int = 20) -> Upload:
    return Upload(f"{uploads.PREFIX}{number}", key, "a.jsonl", "batch", size, None, "pending", None, 0.0, uploads.LIFE_S)


def part(number: int, size: int = 10, upload: int = 1) -> Part:
    return Part(f"{uploads.PART_PREFIX}{number}", f"{uploads.PREFIX}{upload}", size, float(number))


def test_parts_until_it_is_completed(database: Engine) -> None:
    """Parts count as stored bytes; completing names the file, lets the parts go, and closes it for more."""
    with writing(database) as conn:
        uploads.add(conn, opened())
        for number in (1, 2):
            uploads.add_part(conn, part(number), opened(), QUOTA)
        assert uploads.parts(conn, opened().id) == [part(1), part(2)]
        assert files.total_bytes(conn) == 20
        assert files.known(conn, [part(1).id, "part_nobody"]) == {part(1).id}
        with pytest.raises(RequestError, match="more than the 20 bytes"):
            uploads.add_part(conn, part(3, 1), opened(), QUOTA)
        assert uploads.end(conn, opened(), "completed", "file-x") == [part(1).id, part(2).id]
        assert files.total_bytes(conn) == 0
    with reading(database) as conn:
        done = uploads.owned(conn, opened().id, "key_a", 1.0)
        assert (done.status, done.file_id) == ("completed", "file-x")
    with writing(database) as conn, pytest.raises(RequestError, match="is completed") as refused:
        uploads.end(conn, opened(), "cancelled")
    assert refused.value.code == "upload_not_pending"
    with writing(database) as conn, pytest.raises(RequestError, match="is completed"):
        uploads.add_part(conn, part(4, 1), opened(), QUOTA)


def test_another_keys_upload_does_not_exist(database: Engine) -> None:
    """404, as for files."""
    with writing(database) as conn:
        uploads.add(conn, opened())
    with reading(database) as conn, pytest.raises(RequestError, match="No such Upload") as refused:
        uploads.owned(conn, opened().id, "key_b", 1.0)
    assert refused.value.status == 404


def test_an_hour_is_all_it_has(database: Engine) -> None:
    """Its parts are given back for deletion, and it shows as expired even before that."""
    with writing(database) as conn:
        uploads.add(conn, opened())
        uploads.add_part(conn, part(1), opened(), QUOTA)
        assert uploads.owned(conn, opened().id, "key_a", uploads.LIFE_S).status == "expired"
        assert uploads.expire(conn, uploads.LIFE_S - 1) == []
        assert uploads.expire(conn, uploads.LIFE_S) == [part(1).id]
        assert uploads.owned(conn, opened().id, "key_a", 0.0).status == "expired"


def test_parts_count_against_the_quota(database: Engine) -> None:
    """413 when all files and parts together would be too many bytes."""
    with writing(database) as conn:
        uploads.add(conn, opened())
        uploads.add_part(conn, part(1), opened(), 15)
        with pytest.raises(RequestError) as refused:
            uploads.add_part(conn, part(2), opened(), 15)
        assert refused.value.code == "storage_quota_exceeded"


def test_ours_and_theirs() -> None:
    """Ids that we make are told from a provider's by their look."""
    assert uploads.is_ours(uploads.new_id())
    assert not uploads.is_ours("upload_abc123")
    assert uploads.new_part_id().startswith(uploads.PART_PREFIX)
