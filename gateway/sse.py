"""A meter for an OpenAI event stream, without I/O: bytes of the upstream go in, bytes for the client come out, and what they mean is noted.

Only whole events come out, each as it was received, except that usage is hidden again when the client did not ask for it. How the upstream's bytes were split
into reads makes no difference. What to do about a broken stream is decided by gateway.relay; this file only says `complete`, `error` or neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from gateway.sse_frame import Frame, frame_of
from gateway.transcript import Rename, Transcript
from gateway.usage import usage_of
from router.types import Usage

DONE = b"data: [DONE]\n\n"
# An event that is larger than this is not a chat stream any more; without a bound a provider could fill our memory.
MAX_EVENT_BYTES = 16 * 1024 * 1024

# Two line ends in a row, each CRLF, LF or CR. A CR at the very end may be half of a CRLF, so it counts only once the next byte is known.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n])){2}")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null')
# So many events are looked at for what stays the same; a provider that puts something new into each has no such thing.
_LOOKS = 4
_SILENT_DELTA_KEYS = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "audio", "reasoning_content", "reasoning"})


class Meter:
    """Watches one stream. Read the attributes at any time; `feed` and `end` return what may be relayed."""

    __slots__ = (
        *("_buffer", "_finished", "_frame", "_hide_usage", "_kept", "_looks", "_rename", "_scan", "_seen", "_whole"),
        *("done", "error", "events", "finish_reason", "output_bytes", "service_tier", "started", "usage"),
    )

    def __init__(self, *, hide_usage: bool = False, keep_text: bool = False, rename: Rename | None = None) -> None:
        self._buffer = b""
        self._scan = 0
        self._hide_usage = hide_usage
        self._rename = rename
        self._kept: Transcript | None = Transcript() if keep_text else None
        self._seen: set[int] = set()
        self._finished: set[int] = set()
        self._whole = False
        self._frame: Frame | None = None
        self._looks = _LOOKS if type(self) is Meter else 0  # other meters make something else of each event
        self.started = False
        self.done = False
        self.events = 0
        self.error: str | None = None
        self.usage: Usage | None = None
        self.service_tier: str | None = None
        self.finish_reason: str | None = None
        self.output_bytes = 0

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: `[DONE]` was seen, or every choice that began has its finish_reason."""
        return self.error is None and (self.done or self._whole)

    @property
    def transcript(self) -> Transcript | None:
        """What the first choice said; None unless `keep_text` was asked for."""
        return self._kept

    def feed(self, data: bytes) -> bytes:
        """Take what was read and return the whole events to relay now. After `[DONE]` or an error nothing more comes out."""
        if self._over():
            return b""
        if not self._buffer and self._frame is not None and (framed := self._framed(self._frame, data)) is not None:
            return framed
        buffer = self._buffer + data if self._buffer else data
        out: list[bytes] = []
        begin, plain = 0, b"\r" not in buffer
        end = _event_end(buffer, self._scan, plain)
        while end > 0 and not self._over():
            out.append(self._event(buffer[begin:end]))
            begin, end = end, _event_end(buffer, end, plain)
        self._buffer = buffer[begin:]
        # the last three bytes may be the beginning of an event's end
        self._scan = max(0, len(self._buffer) - 3)
        if not self._over() and len(self._buffer) > MAX_EVENT_BYTES:
            self.error = f"an event of more than {MAX_EVENT_BYTES} bytes"
        return b"".join(out)

    def end(self) -> bytes:
        """The upstream closed: return the last bytes to relay. A last event without its blank line counts; a missing `[DONE]` is supplied to a whole answer."""
        if self._over():
            return b""
        rest, self._buffer, self._scan = self._buffer, b"", 0
        out = b""
        if payload_of(rest) is not None:
            kept = self._event(rest)
            out = kept.rstrip(b"\r\n") + b"\n\n" if kept else b""
            if self._whole:
                self.error = None  # cut inside an event, but nothing of the answer was left to come
        if self.complete and not self.done:
            self.done = True
            out += self._closing(DONE)
        return out

    def broken(self, message: str) -> bytes:
        """The last event of a stream that broke, for the client. No `[DONE]` follows it."""
        return error_event(message)

    def _closing(self, event: bytes) -> bytes:
        """What the client gets for `[DONE]`."""
        return event

    def _over(self) -> bool:
        return self.done or self.error is not None

    def _framed(self, frame: Frame, event: bytes) -> bytes | None:
        """As `_event`, where the event differs in nothing but its text from others that were parsed; else None."""
        text = frame.text(event)
        if text is None:
            return None
        self.events += 1
        self.output_bytes += len(text)
        if self._kept is not None:
            self._kept.add(text.decode("ascii"), None)
        return frame.kept_before + text + frame.kept_after

    def _event(self, event: bytes) -> bytes:
        if self._frame is not None and (framed := self._framed(self._frame, event)) is not None:
            return framed
        self.events += 1
        payload = payload_of(event)
        if payload is None:
            return event
        if payload == b"[DONE]":
            self.done = True
            return self._closing(event)
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            self.error = "a chunk that is not JSON"
            return b""
        if not isinstance(chunk, dict):
            self.error = "a chunk that is not a JSON object"
            return b""
        failure = chunk.get("error")
        if failure:
            self.error = message_of(failure)
            return b""
        if self._looks and self.started:
            self._looks -= 1
            self._frame = frame_of(event, chunk, self._edited) or self._frame
        return self._chunk(event, chunk)

    def _chunk(self, event: bytes, chunk: dict[str, object]) -> bytes:
        usage = usage_of(chunk.get("usage"))
        if usage is not None:
            self.usage = usage
        tier = chunk.get("service_tier")
        if isinstance(tier, str) and tier != self.service_tier:
            self.service_tier, self._frame = tier, None
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            # usage-only chunk of `stream_options.include_usage`; anything else without choices (content filter results) is passed on
            return b"" if self._hide_usage and usage is not None else self._edited(event, chunk)
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(choice)
        return self._edited(event, chunk)

    def _edited(self, event: bytes, chunk: dict[str, object]) -> bytes:
        # `"usage":null` is in every chunk because we asked for usage; an unescaped quote cannot be inside a JSON string, so the pattern finds only keys
        if self._hide_usage and "usage" in chunk and chunk["usage"] is None and len(_NULL_USAGE.findall(event)) == 1:
            event = _NULL_USAGE.sub(b"", event)
        return event if self._rename is None else self._rename.apply(event)

    def _choice(self, choice: Mapping[str, object]) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        self._seen.add(index)
        delta = choice.get("delta")
        text = choice.get("text")
        if isinstance(delta, dict):
            self.output_bytes += _size(delta)
            if not self.started and _says_something(delta):
                self.started = True
            text = delta.get("content")
        elif isinstance(text, str) and text:
            self.started = True
            self.output_bytes += len(text)
        if self._kept is not None and index == 0:
            self._kept.add(text, delta.get("tool_calls") if isinstance(delta, dict) else None)
        finish = choice.get("finish_reason")
        if finish is not None:
            self.started = True
            self._finished.add(index)
            if index == 0 or self.finish_reason is None:
                self.finish_reason = str(finish)
        if self._finished:
            self._whole = self._seen <= self._finished


def _event_end(buffer: bytes, begin: int, plain: bool) -> int:
    """Where the first event that ends after `begin` ends; 0: none does. `plain`: there is no CR in it, as nearly always."""
    if plain:
        found_at = buffer.find(b"\n\n", begin)
        return found_at + 2 if found_at >= 0 else 0
    found = _EVENT_END.search(buffer, begin)
    return found.end() if found is not None else 0


def error_event(message: str) -> bytes:
    """The last event of a stream that broke. No `[DONE]` follows it."""
    return b"data: " + orjson.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": "stream_interrupted"}}) + b"\n\n"


def payload_of(event: bytes) -> bytes | None:
    """The data of one event, None when it has none (a comment, a bare event name)."""
    if event.startswith(b"data: ") and event.find(b"\n", 0, -2) == -1 and b"\r" not in event:
        return event[6:].strip()
    lines = [line[5:].removeprefix(b" ") for line in _LINE_END.split(event) if line.startswith(b"data:")]
    return b"\n".join(lines).strip() or None


def _says_something(delta: Mapping[str, object]) -> bool:
    """Whether a delta is more than the opening `{"role":"assistant","content":""}`. Fields we do not know count as something."""
    return any(value if key in _SILENT_DELTA_KEYS else value is not None for key, value in delta.items() if key != "role")


def _size(delta: Mapping[str, object]) -> int:
    total = 0
    for key, value in delta.items():
        if isinstance(value, str):
            total += len(value) if key != "role" else 0
        elif isinstance(value, list):
            total += sum(_size(part.get("function", part)) for part in value if isinstance(part, dict) and isinstance(part.get("function", part), dict))
        elif isinstance(value, dict):
            total += _size(value)
    return total


def message_of(failure: object) -> str:
    """What an error object says, cut to a length fit for people."""
    if isinstance(failure, dict) and isinstance(failure.get("message"), str):
        return str(failure["message"])[:500]
    return str(failure)[:500]
