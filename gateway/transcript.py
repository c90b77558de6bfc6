"""What an answer said, put together from its pieces, and the name it carries. For captures and for `model`; nothing is judged here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson


class Transcript:
    """Text and tool calls of one choice."""

    __slots__ = ("_calls", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}

    def add(self, text: object, calls: object) -> None:
        """One piece: content, and `delta.tool_calls` in OpenAI's shape."""
        if isinstance(text, str) and text:
            self._parts.append(text)
        for piece in calls if isinstance(calls, list) else ():
            if isinstance(piece, dict):
                self._call(piece)

    @property
    def text(self) -> str:
        """The content so far."""
        return "".join(self._parts)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Whole tool calls, as they stand in a message."""
        return [self._calls[index] for index in sorted(self._calls)]

    def _call(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index")
        call = self._calls.setdefault(index if isinstance(index, int) else 0, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        if piece.get("id"):
            call["id"] = piece["id"]
        function = piece.get("function")
        if isinstance(function, dict):
            for part in ("name", "arguments"):
                if isinstance(function.get(part), str):
                    call["function"][part] += function[part]


class Rename:
    """Replaces the value of `"model"` in a JSON text. An unescaped quote cannot be inside a JSON string, so what the model said is never touched."""

    __slots__ = ("_new", "_pattern", "new", "old")

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new
        self._pattern = re.compile(rb'("model"\s*:\s*)' + re.escape(orjson.dumps(old)))
        self._new = orjson.dumps(new)

    def apply(self, data: bytes) -> bytes:
        """`data` with the first such value replaced."""
        return self._pattern.sub(lambda found: found[1] + self._new, data, count=1)
