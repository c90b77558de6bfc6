"""What the controller forgets once an hour."""

from __future__ import annotations

import time
from pathlib import Path

from gateway.files.sweep import sweep
from gateway.store import content, files, uploads
from serving.database import connect, reading, writing
from tests.databases import prepare


def test_files_expire(tmp_path: Path) -> None:
    """Expired files, parts of uploads whose hour is over and contents without a row go from database and disk; the others stay."""
    database = connect("sqlite:///b.db", tmp_path)
    prepare(database)
    now = time.time()

    def put(identity: str) -> None:
        incoming = content.Incoming(tmp_path, 9)
        incoming.write(b"x")
        incoming.keep(identity)

    with writing(database) as conn:
        for number in range(5):
            identity = f"{files.PREFIX}{number}"
            files.add(conn, files.File(identity, None, "a", "batch", 1, now, now + 60 if number else None))
            put(identity)
        upload = uploads.Upload("upload_bk-1", None, "a", "batch", 5, None, "pending", None, now, now + 60)
        uploads.add(conn, upload)
        uploads.add_part(conn, uploads.Part("part_bk-1", upload.id, 1, now), upload, 100)
        put("part_bk-1")
    put("file-bk-lost")
    assert sweep(database, tmp_path, now) == 0
    assert sweep(database, tmp_path, now + 60, chunk=2) == 5
    assert sorted(path.name for path in content.directory(tmp_path).iterdir()) == ["file-bk-0", "file-bk-lost", "incoming"]
    assert sweep(database, tmp_path, now + content.ABANDONED_S + 120) == 1
    with reading(database) as conn:
        assert files.total_bytes(conn) == 1
        assert content.path(tmp_path, f"{files.PREFIX}0").exists()
    database.dispose()
