"""Handing a file on to the default provider: its form is built again from what arrived, as the provider would have got it from the client."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.admit import MOST_BODY_BYTES
from gateway.asgi import Request
from gateway.files import http
from gateway.store.content import too_large

if TYPE_CHECKING:
    from gateway.context import Gateway
    from gateway.files.form import Form
    from gateway.store.content import Incoming


async def forward(gateway: Gateway, request: Request, form: Form, incoming: Incoming) -> None:
    """Relay a file that only the provider can use. It goes through memory, as every body that is passed on: RequestError 413 beyond that bound."""
    if incoming.size > MOST_BODY_BYTES - 1024 * 1024:
        raise too_large(MOST_BODY_BYTES - 1024 * 1024)
    boundary = secrets.token_hex(16)
    body = rebuilt(form, await asyncio.to_thread(incoming.path.read_bytes), boundary)
    kept = [pair for pair in request.scope["headers"] if pair[0] not in {b"content-type", b"content-length", b"transfer-encoding"}]
    headers = [*kept, (b"content-type", f"multipart/form-data; boundary={boundary}".encode()), (b"content-length", str(len(body)).encode())]
    await http.hand_on(gateway, replace(request, scope={**request.scope, "headers": headers}), body)


def rebuilt(form: Form, data: bytes, boundary: str) -> bytes:
    """The multipart body of a form and its file."""
    parts = [_part(boundary, f'name="{_quoted(name)}"', value.encode()) for name, value in form.fields.items()]
    named = f'name="file"; filename="{_quoted(form.filename or "upload")}"'
    parts.append(_part(boundary, named, data, "content-type: application/octet-stream\r\n"))
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def _part(boundary: str, named: str, value: bytes, more: str = "") -> bytes:
    return f"--{boundary}\r\ncontent-disposition: form-data; {named}\r\n{more}\r\n".encode() + value + b"\r\n"


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
