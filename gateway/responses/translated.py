"""A chat backend's answer to a Responses request: its stream and its whole body, in the API's shape. No I/O.

The stream's meter is the chat meter (gateway/sse.py), so that first token, usage, errors and completeness are judged by the same rules; what comes out are the
composer's events. How the upstream's bytes were split into reads makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from gateway.responses.composer import Composer
from gateway.sse import Meter, payload_of
from gateway.transcript import Rename
from gateway.usage import usage_of

Keep = Callable[[dict[str, Any]], None]


class TranslatedMeter(Meter):
    """Watches a chat stream and makes a Responses stream of it. `keep` gets the whole `response` before its last event is sent."""

    __slots__ = ("_composer", "_keep", "_names")

    def __init__(self, composer: Composer, keep: Keep, *, keep_text: bool = False, rename: Rename | None = None) -> None:
        super().__init__(keep_text=keep_text)
        self._composer, self._keep, self._names = composer, keep, rename

    @override
    def broken(self, message: str) -> bytes:
        return self._composer.broken(message)

    @override
    def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data:") and payload_of(event) is None:
            self.events += 1
            return event if event.startswith(b":") else b""
        return super()._event(event)

    @override
    def _chunk(self, event: bytes, chunk: dict[str, object]) -> bytes:
        super()._chunk(event, chunk)
        composer, choices = self._composer, chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return b""  # usage, or what a filter thinks of the prompt: Azure's says so before it knows the model's name
        out = composer.begin(named(chunk.get("model"), self._names))
        for choice in choices:
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta")
            if isinstance(delta, dict):
                out += composer.add(delta, choice.get("logprobs"))
            if choice.get("finish_reason") is not None:
                composer.finish(str(choice["finish_reason"]))
        return out

    @override
    def _closing(self, event: bytes) -> bytes:
        out = self._composer.complete(self.usage, self.service_tier)
        self._keep(self._composer.response)
        return out


def whole(composer: Composer, answer: dict[str, Any], rename: Rename | None) -> bytes:
    """The events of a whole chat answer; the composer holds its `response`."""
    out = composer.begin(named(answer.get("model"), rename))
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict):
        message = choice.get("message")
        if isinstance(message, dict):
            out += composer.add(message, choice.get("logprobs"))
        composer.finish(str(choice.get("finish_reason")))
    tier = answer.get("service_tier")
    return out + composer.complete(usage_of(answer.get("usage")), tier if isinstance(tier, str) else None)


def named(model: object, rename: Rename | None) -> str | None:
    """The model's name as the client is to see it."""
    if not isinstance(model, str):
        return None
    return rename.new if rename is not None and rename.old == model else model
