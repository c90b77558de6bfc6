"""From the pieces of a chat answer to the events of a Responses stream and to its `response` object. No I/O: what went in decides what comes out.

A text, a refusal or a reasoning text is one part of one item, open until something else begins; function calls stay open until the answer ends, because
nothing in a chat stream says that one is finished. A whole answer is composed the same way, its events thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from gateway.responses.answer import interrupted, usage_of
from router.types import Usage


class _Kind(NamedTuple):
    """How one kind of text is called: its item, its part, the part's field, and its events."""

    item: str
    part: str
    key: str
    event: str


_TEXT = _Kind("message", "output_text", "text", "response.output_text")
_REFUSAL = _Kind("message", "refusal", "refusal", "response.refusal")
_REASONING = _Kind("reasoning", "reasoning_text", "text", "response.reasoning_text")
_DELTAS: tuple[tuple[str, _Kind], ...] = (("reasoning_content", _REASONING), ("reasoning", _REASONING), ("content", _TEXT), ("refusal", _REFUSAL))
_INCOMPLETE: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class _Call:
    """A function call under way. `item` is None until its name is known."""

    id: str = ""
    name: str = ""
    item: dict[str, Any] | None = None
    index: int = 0
    pieces: list[str] = field(default_factory=list)


class Composer:
    """One answer. `base` is its object before it began; `ident` makes an id from its prefix, `now` gives epoch seconds."""

    def __init__(self, base: dict[str, Any], ident: Callable[[str], str], now: Callable[[], float]) -> None:
        self.response = base
        self._ident, self._now = ident, now
        self._output: list[dict[str, Any]] = base["output"]
        self._sequence = 0
        self._begun = False
        self._finish: str | None = None
        self._kind: _Kind | None = None
        self._pieces: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._calls: dict[int, _Call] = {}
        self._slots: dict[int, int] = {}

    def begin(self, model: str | None = None) -> bytes:
        """The first events; nothing the second time."""
        if self._begun:
            return b""
        self._begun = True
        if model:
            self.response["model"] = model
        return self._event("response.created", response=self.response) + self._event("response.in_progress", response=self.response)

    def add(self, piece: Mapping[str, Any], logprobs: object = None) -> bytes:
        """The events of a `delta` (or a whole `message`) and the `logprobs` of its choice."""
        out = b""
        told: set[_Kind] = set()
        for name, kind in _DELTAS:
            text = piece.get(name)
            if isinstance(text, str) and text and (kind is not _REASONING or not told):
                told.add(kind)
                out += self._text(kind, text, _logprobs(logprobs) if kind is _TEXT else [])
        calls = piece.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                out += self._call(call, position)
        return out

    def finish(self, reason: str) -> None:
        """Why the model stopped, in chat's words."""
        self._finish = reason

    def complete(self, usage: Usage | None, service_tier: str | None = None) -> bytes:
        """The last events. From here on `response` is whole."""
        incomplete = _INCOMPLETE.get(self._finish or "")
        status = "incomplete" if incomplete is not None else "completed"
        out = self.begin() + self._close(status) + b"".join(self._close_call(call, status) for call in self._calls.values())
        self.response["status"] = status
        self.response["usage"] = usage_of(usage)
        if service_tier is not None:
            self.response["service_tier"] = service_tier
        if incomplete is not None:
            self.response["incomplete_details"] = {"reason": incomplete}
        else:
            self.response["completed_at"] = int(self._now())
        return out + self._event(f"response.{status}", response=self.response)

    def broken(self, message: str) -> bytes:
        """The last event of an answer that broke off."""
        return self._event("error", **interrupted(message))

    def _text(self, kind: _Kind, text: str, logprobs: list[dict[str, Any]]) -> bytes:
        out = b""
        if self._kind is not kind:
            out = self._open(kind)
        self._pieces.append(text)
        self._logprobs += logprobs
        more: dict[str, Any] = {"logprobs": [_short(entry) for entry in logprobs]} if kind is _TEXT else {}
        return out + self._event(f"{kind.event}.delta", **self._place(), delta=text, **more)

    def _open(self, kind: _Kind) -> bytes:
        """Begin a part: in the open message after its text or refusal, in an item of its own otherwise."""
        if self._kind is not None and self._kind.item == kind.item == "message":
            out = self._close_part()
        else:
            out = self._close("completed")
            item: dict[str, Any] = {"id": self._ident("msg"), "type": "message", "status": "in_progress", "role": "assistant", "content": []}
            if kind is _REASONING:
                item = {"id": self._ident("rs"), "type": "reasoning", "status": "in_progress", "summary": [], "content": []}
            self._output.append(item)
            out += self._event("response.output_item.added", output_index=len(self._output) - 1, item=item)
        self._kind = kind
        part: dict[str, Any] = {"type": kind.part, kind.key: ""}
        if kind is _TEXT:
            part |= {"annotations": [], "logprobs": []}
        self._output[-1]["content"].append(part)
        return out + self._event("response.content_part.added", **self._place(), part=part)

    def _place(self) -> dict[str, Any]:
        item = self._output[-1]
        return {"item_id": item["id"], "output_index": len(self._output) - 1, "content_index": len(item["content"]) - 1}

    def _close_part(self) -> bytes:
        kind = self._kind
        if kind is None:
            return b""
        part = self._output[-1]["content"][-1]
        part[kind.key] = "".join(self._pieces)
        more: dict[str, Any] = {}
        if kind is _TEXT:
            part["logprobs"] = self._logprobs
            more = {"logprobs": [_short(entry) for entry in self._logprobs]}
        self._kind, self._pieces, self._logprobs = None, [], []
        place = self._place()
        return self._event(f"{kind.event}.done", **place, **{kind.key: part[kind.key]}, **more) + self._event("response.content_part.done", **place, part=part)

    def _close(self, status: str) -> bytes:
        """End the open item, if there is one."""
        if self._kind is None:
            return b""
        out = self._close_part()
        self._output[-1]["status"] = status
        return out + self._event("response.output_item.done", output_index=len(self._output) - 1, item=self._output[-1])

    def _call(self, piece: Mapping[str, Any], position: int) -> bytes:
        call = self._calls[self._slot(piece, position)]
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call.id = call.id or str(piece.get("id") or "")
        call.name += function["name"] if isinstance(function.get("name"), str) and call.item is None else ""
        out = b""
        if call.item is None and call.name:
            out = self._close("completed")
            call.index = len(self._output)
            call.item = {"id": self._ident("fc"), "type": "function_call", "status": "in_progress", "call_id": call.id or self._ident("call")}
            call.item |= {"name": call.name, "arguments": ""}
            self._output.append(call.item)
            out += self._event("response.output_item.added", output_index=call.index, item=call.item)
            held = "".join(call.pieces)
            out += self._arguments(call, held) if held else b""
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            call.pieces.append(arguments)
            out += self._arguments(call, arguments) if call.item is not None else b""
        return out

    def _slot(self, piece: Mapping[str, Any], position: int) -> int:
        """Which call a piece belongs to. Some providers number every call 0: another id is another call."""
        index = piece.get("index")
        index = index if isinstance(index, int) else position
        slot, known = self._slots.get(index), None
        if slot is not None:
            known = self._calls[slot]
        if slot is None or (known is not None and piece.get("id") and known.id and piece["id"] != known.id):
            slot = self._slots[index] = len(self._calls)
            self._calls[slot] = _Call()
        return slot

    def _arguments(self, call: _Call, delta: str) -> bytes:
        assert call.item is not None  # noqa: S101 - checked by both callers; for the type checker
        return self._event("response.function_call_arguments.delta", item_id=call.item["id"], output_index=call.index, delta=delta)

    def _close_call(self, call: _Call, status: str) -> bytes:
        item = call.item
        if item is None:
            return b""
        item["arguments"], item["status"] = "".join(call.pieces), status
        named = {"item_id": item["id"], "output_index": call.index, "name": item["name"], "arguments": item["arguments"]}
        return self._event("response.function_call_arguments.done", **named) + self._event("response.output_item.done", output_index=call.index, item=item)

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, "sequence_number": number, **fields}))


def _logprobs(reported: object) -> list[dict[str, Any]]:
    """The log-probabilities of a choice's text; `bytes` is never null here."""
    entries = reported.get("content") if isinstance(reported, dict) else None
    return [_entry(entry) | {"top_logprobs": [_entry(top) for top in _objects(entry.get("top_logprobs"))]} for entry in _objects(entries)]


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": entry.get("token", ""), "logprob": entry.get("logprob", 0.0), "bytes": entry.get("bytes") or []}


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """As events have it: without bytes."""
    return {
        "token": entry["token"],
        "logprob": entry["logprob"],
        "top_logprobs": [{"token": top["token"], "logprob": top["logprob"]} for top in entry["top_logprobs"]],
    }
