"""What stays the same from event to event of a chat stream, so that one which brings nothing but a piece of plain text need not be parsed. Pure.

A frame is taken from an event that was parsed, and proved on it: with other text between the same bytes, parsing gives the same chunk with that text. The text
must be plain (printable ASCII without quotes and backslashes): it can neither end its JSON string nor stand for anything but itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

_PLAIN = re.compile(rb"[ !#-\[\]-~]*")
_PROBE = "x"
Edit = Callable[[bytes, dict[str, Any]], bytes]


class Frame(NamedTuple):
    """The bytes before and after the text, as they come and as they are passed on. `size` is that of both as they come."""

    before: bytes
    after: bytes
    kept_before: bytes
    kept_after: bytes
    size: int

    def text(self, event: bytes) -> bytes | None:
        """The text of an event that differs from the others in nothing else; None where it does."""
        begin, end = len(self.before), len(event) - len(self.after)
        if begin > end or not (event.startswith(self.before) and event.endswith(self.after)) or _PLAIN.fullmatch(event, begin, end) is None:
            return None
        return event[begin:end]


def frame_of(event: bytes, chunk: dict[str, Any], edit: Edit) -> Frame | None:
    """The frame of an event that was parsed to `chunk`, where it has one: its first choice goes on with plain text, and nothing else happens in it.

    `edit` makes of an event and its chunk what is passed on.
    """
    text = _text_of(chunk)
    found = None if text is None else _around(event, text)
    if text is None or found is None or not event.startswith(b"data: ") or event.find(b"\n", 0, -2) != -1:
        return None
    kept = _around(edit(event, chunk), text)
    other = found[0] + (text + _PROBE).encode() + found[1]
    try:
        parsed = orjson.loads(other[6:])
    except orjson.JSONDecodeError:
        return None
    if kept is None or _text_of(parsed) != text + _PROBE or edit(other, parsed) != kept[0] + (text + _PROBE).encode() + kept[1]:
        return None
    parsed["choices"][0]["delta"]["content"] = text
    return Frame(*found, *kept, len(found[0]) + len(found[1])) if parsed == chunk else None


def _text_of(chunk: dict[str, Any]) -> str | None:
    """The text of a chunk that only goes on with its first choice's; None for any other."""
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict) or choice is None or choice.get("index") != 0 or choice.get("finish_reason") is not None or chunk.get("usage") is not None:
        return None
    text = delta.get("content")
    if not isinstance(text, str) or not text.isascii() or _PLAIN.fullmatch(text.encode()) is None or not text:
        return None
    return text if all(value is None for key, value in delta.items() if key not in {"role", "content"}) else None


def _around(event: bytes, text: str) -> tuple[bytes, bytes] | None:
    """What is before and after the text, where it stands as it is, once."""
    for opening in (b'"content":"', b'"content": "'):
        begin = event.find(opening + text.encode() + b'"')
        if begin >= 0:
            cut = begin + len(opening)
            return event[:cut], event[cut + len(text) :]
    return None
