"""`/v1/uploads`: a large file in parts. Parts lie on disk under their own ids until `complete` makes one file of them, or cancel or an hour ends it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from gateway.asgi import Request
from gateway.context import Gateway
from gateway.files import form, http, objects, rules
from gateway.files.arrivals import Arrivals
from gateway.files.endpoint import head_of
from gateway.store import content, files, uploads
from gateway.store.content import Incoming
from gateway.store.files import File
from gateway.store.uploads import Part, Upload
from router.errors import RequestError
from serving.database import reading, writing

_COPY_BYTES = 1024 * 1024

T = TypeVar("T")


class Uploads:
    """The handlers of one gateway."""

    def __init__(self, gateway: Gateway, arrivals: Arrivals) -> None:
        self._gateway = gateway
        self._arrivals = arrivals

    async def create(self, request: Request) -> None:
        """`POST /v1/uploads`."""
        gateway = self._gateway
        owner = http.key_id(gateway, request)
        body, raw = await http.json_body(request)
        purpose = rules.check_purpose(body.get("purpose"))
        if purpose in rules.PROVIDER_PURPOSES and http.has_provider(gateway):
            await http.hand_on(gateway, request, raw)
            return
        now = gateway.clock()
        made = Upload(
            id=uploads.new_id(),
            key_id=owner,
            filename=_filename(body, purpose),
            purpose=purpose,
            bytes=_size(body.get("bytes")),
            file_seconds=rules.expiry(body.get("expires_after")),
            status="pending",
            file_id=None,
            created_at=now,
            expires_at=now + uploads.LIFE_S,
        )
        await self._write(lambda conn: uploads.add(conn, made))
        await http.send_json(request, objects.upload(made))

    async def one(self, request: Request) -> None:
        """`POST /v1/uploads/{id}/parts`, `/complete` and `/cancel`."""
        gateway = self._gateway
        owner = http.key_id(gateway, request)
        upload_id, _, verb = request.scope["path"].removeprefix("/v1/uploads/").partition("/")
        if not uploads.is_ours(upload_id):
            await http.hand_on(gateway, request)
            return
        found = await self._read(lambda conn: uploads.owned(conn, upload_id, owner, gateway.clock()))
        uploads.require_pending(found.status, found.id)
        if verb == "parts":
            with self._arrivals.one():
                await self._add_part(request, found)
        elif verb == "complete":
            await self._complete(request, found)
        else:
            await self._cancel(request, found)

    async def _add_part(self, request: Request, upload: Upload) -> None:
        server = self._gateway.config.server
        incoming = await asyncio.to_thread(Incoming, server.data_dir, rules.MOST_PART_BYTES)
        try:
            await form.receive(request, incoming, "data", rules.MOST_PART_BYTES)
            made = Part(uploads.new_part_id(), upload.id, incoming.size, self._gateway.clock())
            await asyncio.to_thread(incoming.keep, made.id)
        finally:
            await asyncio.to_thread(incoming.discard)
        try:
            await self._write(lambda conn: uploads.add_part(conn, made, upload, server.files_gib * 1024**3))
        except RequestError:
            await asyncio.to_thread(content.remove, server.data_dir, [made.id])
            raise
        await http.send_json(request, objects.part(made))

    async def _complete(self, request: Request, upload: Upload) -> None:
        body, _ = await http.json_body(request)
        stored = {part.id: part for part in await self._read(lambda conn: uploads.parts(conn, upload.id))}
        order = _order(body.get("part_ids"), stored)
        if sum(part.bytes for part in order) != upload.bytes:
            raise RequestError(f"The parts come to {sum(part.bytes for part in order)} bytes, but the upload was opened for {upload.bytes}.", param="part_ids")
        now = self._gateway.clock()
        seconds = rules.lifetime_s(upload.purpose, upload.file_seconds)
        expires_at = None if seconds is None else now + seconds
        made = File(files.new_id(), upload.key_id, upload.filename, upload.purpose, upload.bytes, now, expires_at)
        await asyncio.to_thread(self._join, upload, made, [part.id for part in order], body.get("md5"))
        await http.send_json(request, objects.upload(replace(upload, status="completed", file_id=made.id), made))

    def _join(self, upload: Upload, made: File, order: Sequence[str], md5: object) -> None:
        """One content of all parts, then its row and the end of the upload together. The parts were counted already, so the quota is not asked."""
        data_dir = self._gateway.config.server.data_dir
        incoming = Incoming(data_dir, rules.MOST_UPLOAD_BYTES)
        try:
            digest = hashlib.md5(usedforsecurity=False)
            for part_id in order:
                with content.path(data_dir, part_id).open("rb") as part:
                    while piece := part.read(_COPY_BYTES):
                        digest.update(piece)
                        incoming.write(piece)
            if isinstance(md5, str) and md5.lower() != digest.hexdigest():
                raise RequestError("The md5 of the parts is not the one that was given.", param="md5", code="md5_mismatch")
            rules.check_head(made.purpose, head_of(incoming))
            incoming.keep(made.id)
        finally:
            incoming.discard()
        try:
            with writing(self._gateway.database) as conn:
                files.add(conn, made)
                gone = uploads.end(conn, upload, "completed", made.id)
        except RequestError:
            content.remove(data_dir, [made.id])
            raise
        content.remove(data_dir, gone)

    async def _cancel(self, request: Request, upload: Upload) -> None:
        gone = await self._write(lambda conn: uploads.end(conn, upload, "cancelled"))
        await asyncio.to_thread(content.remove, self._gateway.config.server.data_dir, gone)
        await http.send_json(request, objects.upload(replace(upload, status="cancelled")))

    async def _read(self, question: Callable[[Connection], T]) -> T:
        def ask() -> T:
            with reading(self._gateway.database) as conn:
                return question(conn)

        return await asyncio.to_thread(ask)

    async def _write(self, change: Callable[[Connection], T]) -> T:
        def make() -> T:
            with writing(self._gateway.database) as conn:
                return change(conn)

        return await asyncio.to_thread(make)


def _filename(body: dict[str, Any], purpose: str) -> str:
    name = body.get("filename")
    if not isinstance(name, str):
        raise rules.missing("filename")
    named = rules.base_name(name)
    rules.check_name(purpose, named)
    if not isinstance(body.get("mime_type"), str):
        raise rules.missing("mime_type")
    return named


def _size(value: object) -> int:
    if value is None:
        raise rules.missing("bytes")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= rules.MOST_UPLOAD_BYTES:
        raise RequestError(f"Invalid value for 'bytes': it must be a whole number from 1 to {rules.MOST_UPLOAD_BYTES}.", param="bytes", code="invalid_value")
    return value


def _order(part_ids: object, stored: dict[str, Part]) -> list[Part]:
    if not isinstance(part_ids, list):
        raise rules.missing("part_ids")
    if len(set(map(str, part_ids))) != len(part_ids):
        raise RequestError("A part is named twice in 'part_ids'.", param="part_ids", code="invalid_value")
    for part_id in part_ids:
        if part_id not in stored:
            raise RequestError(f"No such part of this upload: {str(part_id)[:100]!r}.", param="part_ids", code="invalid_value")
    return [stored[part_id] for part_id in part_ids]
