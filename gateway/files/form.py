"""A multipart form whose one file goes to disk while it arrives: never more of it in memory than a quarter of a megabyte."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.asgi import ClientGone, Message, Request
from gateway.files.rules import missing
from router.errors import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

    from gateway.store.content import Incoming

_FLUSH_BYTES = 256 * 1024
_MOST_FIELD_BYTES = 64 * 1024
_MOST_PARTS = 64
# Headers, boundaries and fields beside the file.
_MOST_FRAME_BYTES = 1024 * 1024
# A sender that says nothing for so long is not going on.
_SILENCE_S = 60.0


@dataclass(slots=True)
class Form:
    """What stood beside the file; `filename` as the client named it."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    has_file: bool = False

    def group(self, name: str) -> dict[str, str] | None:
        """The fields `name[key]` as one mapping; None when there is none."""
        found = {key[len(name) + 1 : -1]: value for key, value in self.fields.items() if key.startswith(f"{name}[") and key.endswith("]")}
        return found or None


async def receive(request: Request, incoming: Incoming, name: str, most: int) -> Form:
    """Read the form; the part `name` is written to `incoming`.

    RequestError 400 for what is no such form or has no such part, 408 for a sender that stalls, 413 and 507 as Incoming says; ClientGone.
    """
    reader = _Reader(_boundary(request), name)
    total = 0
    while True:
        message = await _next(request)
        data = message.get("body", b"")
        total += len(data)
        if total > most + _MOST_FRAME_BYTES:
            raise _malformed("it is larger than the file it may hold")
        reader.feed(data)
        last = not message.get("more_body", False)
        if reader.waiting >= _FLUSH_BYTES or (last and reader.waiting):
            await asyncio.to_thread(incoming.write, reader.take())
        if last:
            break
    if not reader.ended:
        raise _malformed("its last boundary is missing")
    if not reader.form.has_file:
        raise missing(name)
    return reader.form


class _Reader:
    """The parser's callbacks: fields are kept, the file's bytes wait to be taken."""

    def __init__(self, boundary: bytes, name: str) -> None:
        self.form = Form()
        self.waiting = 0
        self.ended = False
        self._name = name
        self._chunks: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = b"", b""
        self._field: str | None = None
        self._text = b""
        self._in_file = False
        self._parts = 0
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_end,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _malformed(str(error)) from None

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(str(error)) from None

    def take(self) -> bytes:
        """The file's bytes since the last time."""
        taken = b"".join(self._chunks)
        self._chunks.clear()
        self.waiting = 0
        return taken

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _malformed(f"it has more than {_MOST_PARTS} parts")
        self._headers.clear()
        self._field, self._text, self._in_file = None, b"", False

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = self._field == self._name
        if self._in_file:
            if self.form.has_file:
                raise _malformed(f"{self._name!r} is there twice")
            named = options.get(b"filename")
            self.form.filename = None if named is None else named.decode("utf-8", "replace")
            self.form.has_file = True

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._chunks.append(data[start:end])
            self.waiting += end - start
            return
        self._text += data[start:end]
        if len(self._text) > _MOST_FIELD_BYTES:
            raise _malformed(f"the field {(self._field or '')[:60]!r} is longer than {_MOST_FIELD_BYTES // 1024} KiB")

    def _on_end(self) -> None:
        if not self._in_file and self._field:
            self.form.fields[self._field] = self._text.decode("utf-8", "replace")

    def _finish(self) -> None:
        self.ended = True


async def _next(request: Request) -> Message:
    try:
        async with asyncio.timeout(_SILENCE_S):
            message = await request.receive()
    except TimeoutError:
        raise RequestError(f"Nothing of the request body came for {_SILENCE_S:.0f} s.", status=408, code="request_timeout") from None
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.header(b"content-type") or b"")
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise RequestError("Send the file as multipart/form-data.", status=415, code="unsupported_media_type")
    return boundary


def _malformed(why: str) -> RequestError:
    return RequestError(f"We could not read the multipart form of your request: {why}.", code="invalid_multipart")
