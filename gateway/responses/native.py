"""The answer of a backend that has the Responses API itself: relayed as it is, and read. No I/O.

A stream is over with its terminal event; there is no `[DONE]`. An answer that failed on the provider's side is a failure like any other, so that another
candidate can make it good while nothing was sent; one that failed because of what was asked is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from typing_extensions import override

from gateway.responses.answer import interrupted
from gateway.sse import Meter, message_of
from gateway.transcript import Transcript
from gateway.usage import usage_of

# Failures that are the provider's. Every other code judges the request: its content, its images.
_PROVIDERS_FAULT = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout", "data_residency_mismatch"})
_OPENINGS = frozenset({"response.created", "response.queued", "response.in_progress", "response.output_item.added", "response.content_part.added"})
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_OUTCOMES: Mapping[str, str] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class NativeMeter(Meter):
    """Watches a Responses stream. Its bytes are never changed; of an error inside it the client gets our event, which says `stream_interrupted`."""

    __slots__ = ("_failed", "_sequence")

    def __init__(self, *, keep_text: bool = False) -> None:
        super().__init__(keep_text=keep_text)
        self._sequence = -1
        self._failed = False

    @override
    def broken(self, message: str) -> bytes:
        if self._failed:
            return b""  # the provider's `response.failed` has been sent, and says all of it
        event = {"type": "error", "sequence_number": self._sequence + 1, **interrupted(message)}
        return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"

    @override
    def _chunk(self, event: bytes, chunk: dict[str, Any]) -> bytes:
        kind, number = chunk.get("type"), chunk.get("sequence_number")
        if isinstance(number, int):
            self._sequence = number
        if kind == "error":
            self.error = message_of(chunk)
            return b""
        if isinstance(kind, str) and kind not in _OPENINGS:
            self._piece(kind, chunk)
            if kind in _TERMINAL:
                self._end(kind, chunk.get("response"))
        return event

    def _piece(self, kind: str, chunk: Mapping[str, Any]) -> None:
        delta = chunk.get("delta")
        if kind not in _TERMINAL and delta != "":
            self.started = True
        self.output_bytes += len(delta) if isinstance(delta, str) else 0
        kept = self.transcript
        if kept is not None and kind == "response.output_text.delta":
            kept.add(delta, None)
        elif kept is not None and kind == "response.output_item.done":
            _keep_call(kept, chunk.get("item"), chunk.get("output_index"))

    def _end(self, kind: str, response: object) -> None:
        whole: Mapping[str, Any] = response if isinstance(response, dict) else {}
        self.usage = usage_of(whole.get("usage"))
        tier = whole.get("service_tier")
        self.service_tier = tier if isinstance(tier, str) else None
        self.finish_reason = finish_of(whole)
        if kind == "response.failed" and failed(whole):
            self.error, self._failed = message_of(whole.get("error") or "the answer failed"), True
        else:
            self.started = self.done = True


def failed(response: Mapping[str, Any]) -> bool:
    """Whether an answer failed on the provider's side."""
    error = response.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code is None or (isinstance(code, str) and code in _PROVIDERS_FAULT)


def finish_of(response: Mapping[str, Any]) -> str | None:
    """Why an answer ended, in chat's words; the code of its error where it failed."""
    error, details = response.get("error"), response.get("incomplete_details")
    if isinstance(error, dict):
        return str(error.get("code"))
    if isinstance(details, dict):
        return _OUTCOMES.get(str(details.get("reason")), str(details.get("reason")))
    output = response.get("output")
    if any(isinstance(item, dict) and item.get("type") == "function_call" for item in (output if isinstance(output, list) else ())):
        return "tool_calls"
    return "stop" if response.get("status") == "completed" else None


def read_output(response: Mapping[str, Any], transcript: Transcript | None) -> int:
    """Bytes of text and arguments of a whole answer; they go into `transcript` as well."""
    size = 0
    output = response.get("output")
    for index, item in enumerate(output if isinstance(output, list) else ()):
        if not isinstance(item, dict):
            continue
        size += len(item["arguments"]) if isinstance(item.get("arguments"), str) else 0
        if transcript is not None:
            _keep_call(transcript, item, index)
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            text = part.get("text") if isinstance(part, dict) else None
            size += len(text) if isinstance(text, str) else 0
            if transcript is not None and isinstance(part, dict) and part.get("type") == "output_text":
                transcript.add(text, None)
    return size


def _keep_call(transcript: Transcript, item: object, index: object) -> None:
    if isinstance(item, dict) and item.get("type") == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        transcript.add(None, [{"index": index, "id": item.get("call_id"), "function": function}])
