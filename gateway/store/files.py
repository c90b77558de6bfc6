"""Uploaded files and the files that batches and training make: whose they are, what for, until when. The only writer of `files`.

What jobs need: `path(conn, data_dir, file_id, now)` is where the content of a file lies, `add` makes a row for a content that is in its place
(content.py). An expired file does not exist; its content is deleted by `sweep`, once per hour. Instants are epoch seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, insert, or_, select

from gateway.store import bulk, content
from gateway.store.tables import files, upload_parts
from router.errors import RequestError

# No provider makes such ids: letters and digits follow their `file-`. What looks like this is ours, or was.
PREFIX = "file-bk-"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class File:
    """One file. `key_id` None: uploaded while the gateway had no keys. `expires_at` None: never."""

    id: str
    key_id: str | None
    filename: str
    purpose: str
    bytes: int
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A page of a listing: after which id, how many, newest first unless `ascending`."""

    limit: int
    after: str | None = None
    ascending: bool = False
    purpose: str | None = None


def new_id() -> str:
    """An id for a new file."""
    return PREFIX + secrets.token_hex(12)


def is_ours(file_id: str) -> bool:
    """Whether an id is one this program makes; others are a provider's."""
    return file_id.startswith(PREFIX)


def add(conn: Connection, file: File, quota: int | None = None) -> None:
    """Make the row of a file whose content is in place; one that is there stays. RequestError 413 when all files would then exceed `quota` bytes."""
    if quota is not None and total_bytes(conn) + file.bytes > quota:
        raise no_room(quota)
    if conn.execute(select(files.c.id).where(files.c.id == file.id)).one_or_none() is None:
        conn.execute(insert(files).values(**{name: getattr(file, name) for name in File.__slots__}))


def get(conn: Connection, file_id: str, now: float) -> File | None:
    """A file that has not expired, whoever's."""
    row = conn.execute(select(files).where(files.c.id == file_id, _alive(now))).one_or_none()
    return None if row is None else _file(row)


def owned(conn: Connection, file_id: str, key_id: str | None, now: float) -> File:
    """A file of that key. RequestError 404 in OpenAI's words: another key's file does not exist."""
    found = get(conn, file_id, now)
    if found is None or found.key_id != key_id:
        raise no_such_file(file_id)
    return found


def path(conn: Connection, data_dir: Path, file_id: str, now: float) -> Path:
    """Where a file's content lies on this host. RequestError 404 when there is no such file, or its content is on another host."""
    place = content.path(data_dir, file_id) if get(conn, file_id, now) is not None else None
    if place is None or not place.exists():
        raise no_such_file(file_id)
    return place


def page(conn: Connection, key_id: str | None, query: Query, now: float) -> tuple[list[File], bool]:
    """A page of a key's files, and whether there are more. An `after` that is not there begins nowhere: the page is empty."""
    chosen = select(files).where(files.c.key_id.is_not_distinct_from(key_id), _alive(now))
    if query.purpose is not None:
        chosen = chosen.where(files.c.purpose == query.purpose)
    if query.after is not None:
        mark = conn.execute(select(files.c.created_at).where(files.c.id == query.after, files.c.key_id.is_not_distinct_from(key_id))).scalar()
        if mark is None:
            return [], False
        chosen = chosen.where(_beyond(mark, query.after, ascending=query.ascending))
    rows = conn.execute(_ordered(chosen, ascending=query.ascending).limit(query.limit + 1)).all()
    return [_file(row) for row in rows[: query.limit]], len(rows) > query.limit


def forget(conn: Connection, file_id: str) -> None:
    """Delete the row; the content is the caller's to remove afterwards (content.remove)."""
    conn.execute(delete(files).where(files.c.id == file_id))


def total_bytes(conn: Connection) -> int:
    """What all files and the parts of uploads under way take, in bytes."""
    whole = conn.execute(select(func.coalesce(func.sum(files.c.bytes), 0))).scalar_one()
    parts = conn.execute(select(func.coalesce(func.sum(upload_parts.c.bytes), 0))).scalar_one()
    return int(whole) + int(parts)


def forget_expired(conn: Connection, now: float, limit: int = _CHUNK) -> list[str]:
    """Delete the rows of at most `limit` expired files; their ids, whose contents are the caller's to remove."""
    gone = list(conn.execute(select(files.c.id).where(files.c.expires_at <= now).limit(limit)).scalars())
    conn.execute(delete(files).where(files.c.id.in_(gone)))
    return gone


def known(conn: Connection, identities: Collection[str]) -> set[str]:
    """Which of some ids, of files or of upload parts, have a row."""
    found: set[str] = set()
    for some in bulk.chunks(list(identities)):
        for table in (files, upload_parts):
            found.update(conn.execute(select(table.c.id).where(table.c.id.in_(some))).scalars())
    return found


def no_such_file(file_id: str) -> RequestError:
    """OpenAI's answer for an id that names no file of the caller."""
    return RequestError(f"No such File object: {file_id[:200]}", status=404, param="id")


def no_room(quota: int) -> RequestError:
    """The answer when all files together would become too many bytes."""
    return RequestError(
        f"The gateway keeps {quota // 1024**3} GiB of files at most, and this one does not fit any more; delete files that are not needed.",
        status=413,
        code="storage_quota_exceeded",
    )


def _alive(now: float) -> ColumnElement[bool]:
    return or_(files.c.expires_at.is_(None), files.c.expires_at > now)


def _beyond(mark: float, after: str, *, ascending: bool) -> ColumnElement[bool]:
    if ascending:
        return or_(files.c.created_at > mark, and_(files.c.created_at == mark, files.c.id > after))
    return or_(files.c.created_at < mark, and_(files.c.created_at == mark, files.c.id < after))


def _ordered(chosen: Select[Any], *, ascending: bool) -> Select[Any]:
    columns = (files.c.created_at, files.c.id)
    return chosen.order_by(*(column.asc() if ascending else column.desc() for column in columns))


def _file(row: Row[Any]) -> File:
    return File(**{name: getattr(row, name) for name in File.__slots__})
