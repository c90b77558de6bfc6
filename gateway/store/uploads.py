"""Files that come in parts: an upload is opened, its parts are stored, and `complete` makes one file of them. The only writer of `uploads`, `upload_parts`.

pending -> completed | cancelled | expired. An upload lives an hour; an expired one takes no parts and is swept with its parts. Instants are epoch seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from gateway.store import files
from gateway.store.tables import upload_parts, uploads
from router.errors import RequestError

PREFIX = "upload_bk-"
PART_PREFIX = "part_bk-"
LIFE_S = 3600.0
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload. `bytes` is what all parts must come to; `file_seconds` how long the file shall live (None: as its purpose has it)."""

    id: str
    key_id: str | None
    filename: str
    purpose: str
    bytes: int
    file_seconds: int | None
    status: str
    file_id: str | None
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Part:
    """One part; its content is stored under its id (content.py)."""

    id: str
    upload_id: str
    bytes: int
    created_at: float


def new_id() -> str:
    """An id for a new upload."""
    return PREFIX + secrets.token_hex(12)


def new_part_id() -> str:
    """An id for a new part."""
    return PART_PREFIX + secrets.token_hex(12)


def is_ours(upload_id: str) -> bool:
    """Whether an id is one this program makes; others are a provider's."""
    return upload_id.startswith(PREFIX)


def add(conn: Connection, upload: Upload) -> None:
    """Open an upload."""
    conn.execute(insert(uploads).values(**{name: getattr(upload, name) for name in Upload.__slots__}))


def owned(conn: Connection, upload_id: str, key_id: str | None, now: float) -> Upload:
    """An upload of that key, `expired` when its time is over. RequestError 404: another key's upload does not exist."""
    row = conn.execute(select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    if row is None or row.key_id != key_id:
        raise RequestError(f"No such Upload object: {upload_id[:200]}", status=404, param="upload_id")
    return _upload(row, now)


def add_part(conn: Connection, part: Part, upload: Upload, quota: int) -> None:
    """Make the row of a part whose content is in place. RequestError when the upload is not pending any more, or what was announced is exceeded."""
    here = sum(found.bytes for found in parts(conn, part.upload_id))
    if here + part.bytes > upload.bytes:
        raise RequestError(f"The parts come to more than the {upload.bytes} bytes that this upload was opened for.", param="data")
    if files.total_bytes(conn) + part.bytes > quota:
        raise files.no_room(quota)
    row = conn.execute(select(uploads.c.status).where(uploads.c.id == part.upload_id)).one()
    require_pending(row.status, part.upload_id)
    conn.execute(insert(upload_parts).values(id=part.id, upload_id=part.upload_id, bytes=part.bytes, created_at=part.created_at))


def parts(conn: Connection, upload_id: str) -> list[Part]:
    """The parts of an upload, oldest first."""
    rows = conn.execute(select(upload_parts).where(upload_parts.c.upload_id == upload_id).order_by(upload_parts.c.created_at, upload_parts.c.id))
    return [Part(row.id, row.upload_id, row.bytes, row.created_at) for row in rows]


def end(conn: Connection, upload: Upload, status: str, file_id: str | None = None) -> list[str]:
    """Close a pending upload as `status`. The ids of its parts, whose contents are the caller's to remove. RequestError 400 when it is not pending."""
    changed = update(uploads).where(uploads.c.id == upload.id, uploads.c.status == "pending").values(status=status, file_id=file_id)
    if conn.execute(changed).rowcount == 0:
        require_pending(conn.execute(select(uploads.c.status).where(uploads.c.id == upload.id)).scalar_one(), upload.id)
    return _drop_parts(conn, [upload.id])


def expire(conn: Connection, now: float, limit: int = _CHUNK) -> list[str]:
    """Close at most `limit` uploads whose time is over. The ids of their parts, whose contents are the caller's to remove."""
    over = list(conn.execute(select(uploads.c.id).where(uploads.c.status == "pending", uploads.c.expires_at <= now).limit(limit)).scalars())
    conn.execute(update(uploads).where(uploads.c.id.in_(over)).values(status="expired"))
    return _drop_parts(conn, over)


def require_pending(status: str, upload_id: str) -> None:
    """RequestError 400 for an upload that is closed."""
    if status != "pending":
        raise RequestError(f"Upload {upload_id} is {status}; only a pending upload can be changed. Open a new one.", code="upload_not_pending")


def _drop_parts(conn: Connection, upload_ids: Sequence[str]) -> list[str]:
    gone = list(conn.execute(select(upload_parts.c.id).where(upload_parts.c.upload_id.in_(upload_ids))).scalars())
    conn.execute(delete(upload_parts).where(upload_parts.c.upload_id.in_(upload_ids)))
    return gone


def _upload(row: Row[Any], now: float) -> Upload:
    values = {name: getattr(row, name) for name in Upload.__slots__}
    if row.status == "pending" and row.expires_at <= now:
        values["status"] = "expired"
    return Upload(**values)
