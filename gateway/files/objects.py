"""Files and uploads as OpenAI's API shows them. Pure."""

from __future__ import annotations

from typing import Any

from gateway.store.files import File
from gateway.store.uploads import Part, Upload


def file(found: File) -> dict[str, Any]:
    """A `file` object. Whatever is stored is processed: nothing is done to it later."""
    return {
        "id": found.id,
        "object": "file",
        "bytes": found.bytes,
        "created_at": int(found.created_at),
        "expires_at": None if found.expires_at is None else int(found.expires_at),
        "filename": found.filename,
        "purpose": found.purpose,
        "status": "processed",
        "status_details": None,
    }


def upload(found: Upload, made: File | None = None) -> dict[str, Any]:
    """An `upload` object, with the file it became."""
    return {
        "id": found.id,
        "object": "upload",
        "bytes": found.bytes,
        "created_at": int(found.created_at),
        "expires_at": int(found.expires_at),
        "filename": found.filename,
        "purpose": found.purpose,
        "status": found.status,
        "file": None if made is None else file(made),
    }


def part(found: Part) -> dict[str, Any]:
    """An `upload.part` object."""
    return {"id": found.id, "object": "upload.part", "created_at": int(found.created_at), "upload_id": found.upload_id}
