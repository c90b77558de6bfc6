"""`/v1/files`: take a file, list, show, send back, delete. A file that only the provider can use goes to the provider; its ids are asked for there.

Not here: uploads in parts (uploads.py), the bytes on disk and the rows (gateway/store).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from sqlalchemy import Connection

from gateway.asgi import Request, send_body, send_start
from gateway.context import Gateway
from gateway.files import form, http, objects, rules
from gateway.files.arrivals import Arrivals
from gateway.files.native import forward
from gateway.guard import Guard
from gateway.store import content, files
from gateway.store.content import Incoming
from gateway.store.files import File, Query
from serving.database import reading, writing

_CHUNK_BYTES = 256 * 1024
# A download may be slow for as long as it likes within a day; a client that leaves ends it at once.
_DOWNLOAD_MS = 86_400_000.0

T = TypeVar("T")


class Files:
    """The handlers of one gateway."""

    def __init__(self, gateway: Gateway, arrivals: Arrivals) -> None:
        self._gateway = gateway
        self._arrivals = arrivals

    async def collection(self, request: Request) -> None:
        """`GET` and `POST /v1/files`."""
        if request.scope["method"] == "POST":
            await self._create(request)
        else:
            await self._list(request)

    async def one(self, request: Request) -> None:
        """`GET` and `DELETE /v1/files/{id}`, `GET /v1/files/{id}/content`."""
        file_id, _, below = request.scope["path"].removeprefix("/v1/files/").partition("/")
        owner = http.key_id(self._gateway, request)
        if not files.is_ours(file_id):
            if not http.has_provider(self._gateway):
                raise files.no_such_file(file_id)
            await http.hand_on(self._gateway, request)
            return
        found = await self._read(lambda conn: files.owned(conn, file_id, owner, self._gateway.clock()))
        if below:
            await self._send(request, found)
        elif request.scope["method"] == "DELETE":
            await self._delete(request, found)
        else:
            await http.send_json(request, objects.file(found))

    async def _create(self, request: Request) -> None:
        gateway = self._gateway
        owner = http.key_id(gateway, request)
        declared = request.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > rules.MOST_FILE_BYTES + 1024 * 1024:
            raise content.too_large(rules.MOST_FILE_BYTES)
        with self._arrivals.one():
            await self._take(request, owner)

    async def _take(self, request: Request, owner: str | None) -> None:
        gateway = self._gateway
        incoming = await asyncio.to_thread(Incoming, gateway.config.server.data_dir, rules.MOST_FILE_BYTES)
        try:
            read = await form.receive(request, incoming, "file", rules.MOST_FILE_BYTES)
            purpose = rules.check_purpose(read.fields.get("purpose"))
            lifetime = rules.lifetime_s(purpose, rules.expiry(read.group("expires_after")))
            if purpose in rules.PROVIDER_PURPOSES and http.has_provider(gateway):
                await forward(gateway, request, read, incoming)
                return
            name = rules.base_name(read.filename)
            rules.check_name(purpose, name)
            rules.check_size(incoming.size)
            now = gateway.clock()
            made = File(files.new_id(), owner, name, purpose, incoming.size, now, None if lifetime is None else now + lifetime)
            await asyncio.to_thread(self._keep, incoming, made)
        finally:
            await asyncio.to_thread(incoming.discard)
        await http.send_json(request, objects.file(made))

    def _keep(self, incoming: Incoming, made: File) -> None:
        """Content first, row second: a row never lacks its content; a content that lacks its row is swept."""
        config = self._gateway.config.server
        rules.check_head(made.purpose, head_of(incoming))
        incoming.keep(made.id)
        try:
            with writing(self._gateway.database) as conn:
                files.add(conn, made, config.files_gib * 1024**3)
        except BaseException:
            content.remove(config.data_dir, [made.id])
            raise

    async def _list(self, request: Request) -> None:
        owner, asked = http.key_id(self._gateway, request), http.query(request)
        purpose = asked.get("purpose")
        if purpose is not None and purpose not in rules.MADE_PURPOSES:
            rules.check_purpose(purpose)
        if purpose in rules.PROVIDER_PURPOSES and http.has_provider(self._gateway):
            await http.hand_on(self._gateway, request)
            return
        wanted = Query(http.limit_of(asked, 10_000, 10_000), asked.get("after"), ascending=http.ascending(asked), purpose=purpose)
        found, more = await self._read(lambda conn: files.page(conn, owner, wanted, self._gateway.clock()))
        await http.send_json(request, http.listing([objects.file(each) for each in found], has_more=more))

    async def _delete(self, request: Request, found: File) -> None:
        def forget() -> None:
            with writing(self._gateway.database) as conn:
                files.forget(conn, found.id)
            content.remove(self._gateway.config.server.data_dir, [found.id])

        await asyncio.to_thread(forget)
        await http.send_json(request, {"id": found.id, "object": "file", "deleted": True})

    async def _send(self, request: Request, found: File) -> None:
        data_dir = self._gateway.config.server.data_dir
        place = await self._read(lambda conn: files.path(conn, data_dir, found.id, self._gateway.clock()))
        stream = await asyncio.to_thread(place.open, "rb")
        guard = Guard(request.receive, _DOWNLOAD_MS)
        try:
            await _stream(request, found, stream)
        except asyncio.CancelledError:
            if guard.caught() is None:
                raise
        finally:
            guard.stop()
            stream.close()

    async def _read(self, question: Callable[[Connection], T]) -> T:
        def ask() -> T:
            with reading(self._gateway.database) as conn:
                return question(conn)

        return await asyncio.to_thread(ask)


def head_of(incoming: Incoming) -> bytes:
    """The first bytes of a file that has arrived."""
    with incoming.path.open("rb") as file:
        return file.read(rules.HEAD_BYTES)


async def _stream(request: Request, found: File, stream: BinaryIO) -> None:
    quoted = found.filename.replace("\\", "_").replace('"', "_").encode("ascii", "replace").decode()
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(found.bytes).encode()),
        (b"content-disposition", f'attachment; filename="{quoted}"'.encode()),
        (b"x-request-id", request.id.encode()),
    ]
    await send_start(request.send, 200, headers)
    if request.scope["method"] != "HEAD":
        while data := await asyncio.to_thread(stream.read, _CHUNK_BYTES):
            await send_body(request.send, data, more=True)
    await send_body(request.send, b"", more=False)
