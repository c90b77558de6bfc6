"""`POST /v1/feedback`: what a client says of an answer it got: a score from 0 to 1, or what the answer should have been.

One word per request, the last one counts. The database is asked beside the event loop; a request that ended a moment ago may not be in it yet and is waited
for. Not here: the rows (gateway/store/feedback.py), what follows from them (gather.py).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway import auth, complaint
from gateway.asgi import Request
from gateway.context import Gateway
from gateway.files.http import json_body, send_json
from gateway.ids import new_id
from gateway.store import feedback, redact
from gateway.store.feedback import Feedback
from router.errors import LimitError, RequestError
from serving.database import reading, writing

PATH = "/v1/feedback"
# As long as the longest answer a model usually gives; a correction is a text for training, not a file.
MOST_CORRECTION_BYTES = 64 * 1024
# The controller brings settled requests into the database several times a second; one that is this old and not there never was.
_WAIT_S = 5.0
_POLL_S = 0.1
_FIELDS = frozenset({"request_id", "score", "correction"})


@dataclass(frozen=True, slots=True)
class Word:
    """What was said of `request_id`; at least one of `score` and `correction` is there. `correction` is text: a message is kept as its JSON."""

    request_id: str
    score: float | None
    correction: str | None


async def serve(gateway: Gateway, request: Request) -> None:
    """Answer one call. RequestError 400, 404 for a request that is not this key's; LimitError 503 while the database does not answer."""
    view, now = gateway.fleet.view, gateway.clock()
    key = auth.authenticate(request.header(b"authorization"), view.keys, open_access=view.open_access, now=now)
    body, _ = await json_body(request)
    word = read(body)
    try:
        about = await _found(gateway, word.request_id, None if key is None else key.id)
        route = None if about.route is None else view.config.routes.get(about.route)
        kinds = ("email", "phone", "card") if route is None else route.capture.redact
        text = None if word.correction is None else redact.text(word.correction, kinds)
        item = replace(about, id=new_id("fb", now, 8), score=word.score, correction=text, corrected=text is not None, time=now)
        kept = await asyncio.to_thread(_put, gateway.database, item)
    except SQLAlchemyError as error:
        raise LimitError("The gateway's database does not answer now; send the feedback again.", retry_after_s=2.0, status=503, code="overloaded") from error
    await send_json(request, shown(kept))


def read(body: dict[str, Any]) -> Word:
    """The body, checked. RequestError 400 that says what to change."""
    unknown = sorted(set(body) - _FIELDS)
    if unknown:
        raise RequestError(
            f"Unknown parameter: '{unknown[0][:100]}'. Feedback has request_id and score or correction.", param=unknown[0][:100], code="unknown_parameter"
        )
    request_id = complaint.text(body, "request_id")
    score, correction = body.get("score"), body.get("correction")
    if score is None and correction is None:
        raise RequestError(
            "Say what the answer was worth: 'score' from 0 to 1, or 'correction' with what it should have been.",
            param="score",
            code="missing_required_parameter",
        )
    if score is not None:
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise complaint.wrong_type("score", "a number", score)
        if not 0.0 <= score <= 1.0:
            raise RequestError(f"Invalid value for 'score': {score!r} must be from 0 (useless) to 1 (right).", param="score", code="invalid_value")
    return Word(request_id, None if score is None else float(score), None if correction is None else _text(correction))


def shown(item: Feedback) -> dict[str, Any]:
    """What is answered, and listed by the admin API."""
    return {
        "id": item.id,
        "object": "feedback",
        "request_id": item.request_id,
        "route": item.route,
        "backend": item.backend,
        "adapter_version": item.adapter_version,
        "score": item.score,
        "corrected": item.corrected,
        "created_at": int(item.time),
    }


def _text(correction: object) -> str:
    """A text as it is; a message, or its content, as the text or the JSON of what it says."""
    if isinstance(correction, dict):
        content = correction.get("content")
        if not isinstance(content, str) and not correction.get("tool_calls"):
            raise RequestError("Invalid 'correction': a message needs 'content' (a string) or 'tool_calls'.", param="correction", code="invalid_value")
        text = content if isinstance(content, str) and not correction.get("tool_calls") else orjson.dumps(correction).decode()
    elif isinstance(correction, str):
        text = correction
    else:
        raise complaint.wrong_type("correction", "a string or a message", correction)
    size = len(text.encode("utf-8", "replace"))
    if size > MOST_CORRECTION_BYTES:
        raise RequestError(
            f"Invalid 'correction': {size} bytes are too many; send at most {MOST_CORRECTION_BYTES}.", param="correction", code="string_above_max_length"
        )
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


async def _found(gateway: Gateway, request_id: str, key_id: str | None) -> Feedback:
    """The request's row, waited for while it may be on its way. RequestError 404."""
    for _ in range(int(_WAIT_S / _POLL_S) if _is_young(request_id, gateway.clock()) else 1):
        found = await asyncio.to_thread(_about, gateway.database, request_id)
        if found is not None:
            if found.key_id != key_id:
                break
            return found
        await asyncio.sleep(_POLL_S)
    raise RequestError(
        f"No request {request_id[:100]!r} of this key is known: send the `x-request-id` header of an answer of this gateway.",
        status=404,
        code="request_not_found",
        param="request_id",
    )


def _is_young(request_id: str, now: float) -> bool:
    """Ids begin with the time they were made, in milliseconds: whether that is so short ago that the row may not be there yet."""
    stamp = request_id.removeprefix("req_")[:12]
    try:
        return abs(now - int(stamp, 16) / 1000.0) < 900.0
    except ValueError:
        return False


def _about(database: Engine, request_id: str) -> Feedback | None:
    with reading(database) as conn:
        return feedback.about(conn, request_id)


def _put(database: Engine, item: Feedback) -> Feedback:
    with writing(database) as conn:
        return feedback.put(conn, item)
