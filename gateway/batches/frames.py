"""The words on the lane between controller and workers: a line of JSON, then so many bytes, each way, once per connection. No HTTP, so no HTTP door."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson

MOST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on behalf of a key (None: of nobody, while the gateway has no keys)."""

    key_id: str | None
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """Its answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def retry_after_s(self) -> float | None:
        """Seconds the answer asks to wait."""
        for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            text = self.headers.get(name, "")
            if text.isascii() and text.isdigit():
                return int(text) * scale
        return None


async def send_asked(writer: asyncio.StreamWriter, asked: Asked) -> None:
    """Write a request."""
    await _send(writer, {"key_id": asked.key_id, "path": asked.path, "headers": asked.headers}, asked.body)


async def read_asked(reader: asyncio.StreamReader) -> Asked:
    """Read a request. EOFError when the other side left, ValueError for what is none."""
    head, body = await _read(reader)
    return Asked(head["key_id"], head["path"], head["headers"], body)


async def send_said(writer: asyncio.StreamWriter, said: Said) -> None:
    """Write an answer."""
    await _send(writer, {"status": said.status, "headers": said.headers}, said.body)


async def read_said(reader: asyncio.StreamReader) -> Said:
    """Read an answer. EOFError when the other side left, ValueError for what is none."""
    head, body = await _read(reader)
    return Said(head["status"], head["headers"], body)


async def _send(writer: asyncio.StreamWriter, head: dict[str, object], body: bytes) -> None:
    writer.write(orjson.dumps({**head, "size": len(body)}) + b"\n")
    writer.write(body)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the other side left")
    head = orjson.loads(line)
    size = head["size"]
    if not 0 <= size <= MOST_BYTES:
        raise ValueError(f"{size} bytes are too many")
    return head, await reader.readexactly(size)
