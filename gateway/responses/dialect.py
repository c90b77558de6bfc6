"""How a backend is asked for a Responses answer and how its answer is read: natively or in chat's words. One object per call; no I/O."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from typing_extensions import override

from gateway.responses import native, translated
from gateway.responses.answer import unfinished
from gateway.responses.composer import Composer
from gateway.responses.ids import new_id
from gateway.responses.items import given, kept
from gateway.store.responses import Stored
from gateway.transcript import Transcript
from gateway.wire import PATHS, Turn, upstream_body
from router.capability import speaks_responses

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.run import Run
    from gateway.sse import Meter


class Dialect(Protocol):
    """What call.py needs. `path` hangs below the backend's address."""

    path: str

    def body(self, model: str) -> bytes:
        """The bytes to send."""
        ...

    def meter(self) -> Meter:
        """What watches a stream."""
        ...

    def stands(self, answer: dict[str, Any]) -> bool:
        """Whether a whole answer with an `error` in it is the client's to have."""
        ...

    def whole(self, call: Call, answer: dict[str, Any], raw: bytes) -> bytes:
        """The bytes for the client; what they say is noted in `call`."""
        ...


def dialect_of(run: Run, call: Call) -> Dialect:
    """The dialect of the backend that is called."""
    return _Native(run, call) if speaks_responses(call.backend.provider_kind) else _Translated(run, call)


class _Native(Dialect):
    path = PATHS["responses"]

    def __init__(self, run: Run, call: Call) -> None:
        self._ask, self._keep_text = call.ask or run.ask, run.keep_text

    @override
    def body(self, model: str) -> bytes:
        return upstream_body(self._ask, model)

    @override
    def meter(self) -> Meter:
        return native.NativeMeter(keep_text=self._keep_text)

    @override
    def stands(self, answer: dict[str, Any]) -> bool:
        return answer.get("object") == "response" and not native.failed(answer)

    @override
    def whole(self, call: Call, answer: dict[str, Any], raw: bytes) -> bytes:
        call.transcript = Transcript() if self._keep_text else None
        call.output_bytes = native.read_output(answer, call.transcript)
        call.finish_reason = native.finish_of(answer)
        call.later = answer.get("status") in ("queued", "in_progress")  # `background: true`
        return raw


class _Translated(Dialect):
    path = PATHS["chat"]

    def __init__(self, run: Run, call: Call) -> None:
        self._run, self._ask, self._rename = run, call.ask or run.ask, call.backend.rename
        turn = run.ask.turn
        if turn is None:
            raise RuntimeError("a Responses request has a turn")
        self._turn: Turn = turn
        now = run.gateway.clock
        self._composer = Composer(unfinished(turn.sent, new_id(), int(now())), _ident, now)

    @override
    def body(self, model: str) -> bytes:
        body = {**self._ask.conversation, "model": model}
        if self._ask.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return orjson.dumps(body)

    @override
    def meter(self) -> Meter:
        return translated.TranslatedMeter(self._composer, self._keep, keep_text=self._run.keep_text, rename=self._rename)

    @override
    def stands(self, answer: dict[str, Any]) -> bool:
        return False

    @override
    def whole(self, call: Call, answer: dict[str, Any], raw: bytes) -> bytes:
        events = translated.whole(self._composer, answer, self._rename)
        self._keep(self._composer.response)
        if not self._ask.stream:
            return orjson.dumps(self._composer.response)
        call.media = "text/event-stream; charset=utf-8"  # the backend was asked for a stream and did not make one
        return events

    def _keep(self, response: dict[str, Any]) -> None:
        """Write the answer ahead of the client having it, so that its next request finds it."""
        run, turn = self._run, self._turn
        if turn.sent.get("store") is False:
            return
        ident, key_id = response["id"], run.key.id if run.key is not None else None
        items = kept(given(turn.sent.get("input")), _ident)
        run.gateway.responses.keep(Stored(ident, run.time, key_id, turn.root or ident, turn.previous_id, items, response), run.gateway.spool)


def _ident(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(20)}"
