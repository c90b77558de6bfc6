"""Forgetting files: what expired, uploads whose hour is over, contents that nobody knows. Once an hour, by the controller. Blocking."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Engine

from gateway.store import content, files, uploads
from serving.database import reading, writing

_CHUNK = 500


def sweep(database: Engine, data_dir: Path, now: float, chunk: int = _CHUNK) -> int:
    """Delete it all, rows first; how many contents went."""
    gone = 0
    while True:
        with writing(database) as conn:
            expired = files.forget_expired(conn, now, chunk)
        content.remove(data_dir, expired)
        gone += len(expired)
        if len(expired) < chunk:
            break
    with writing(database) as conn:
        parts = uploads.expire(conn, now)
    content.remove(data_dir, parts)

    def known(identities: Collection[str]) -> set[str]:
        with reading(database) as conn:
            return files.known(conn, identities)

    return gone + len(parts) + content.sweep(data_dir, known, now)
