"""The lines of a batch's output and error files, in OpenAI's shape. Pure bytes: an answer's body stands there as it was received."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import orjson

# Why a line was not sent, or not answered, in OpenAI's codes.
EXPIRED = "batch_expired"
CANCELLED = "batch_cancelled"
_SAID = {
    EXPIRED: "This request could not be executed before the completion window expired.",
    CANCELLED: "This request was not executed because the batch was cancelled.",
}


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    request_id: str
    body: bytes


def answered(batch_id: str, number: int, custom_id: str, answer: Answer) -> bytes:
    """The line of a request that was answered, with whatever status. Ends with a line feed and holds no other."""
    head = orjson.dumps({"id": request_id(batch_id, number), "custom_id": custom_id})[:-1]
    response = orjson.dumps({"status_code": answer.status, "request_id": answer.request_id})[:-1]
    return b'%b,"response":%b,"body":%b},"error":null}\n' % (head, response, one_line(answer.body))


def unanswered(batch_id: str, number: int, custom_id: str, code: str) -> bytes:
    """The line of a request that was never sent."""
    return (
        orjson.dumps(
            {"id": request_id(batch_id, number), "custom_id": custom_id, "response": None, "error": {"code": code, "message": _SAID[code]}},
        )
        + b"\n"
    )


def request_id(batch_id: str, number: int) -> str:
    """The id of a line: the same whenever it is made again."""
    return f"batch_req_{blake2b(f'{batch_id}/{number}'.encode(), digest_size=12).hexdigest()}"


def one_line(body: bytes) -> bytes:
    """A JSON body on one line, else unaltered: a line feed between its tokens is only white space. What is no JSON becomes a JSON string."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return orjson.dumps(body.decode("utf-8", "replace"))
    return body.translate(_BLANK) if b"\n" in body or b"\r" in body else body


_BLANK = bytes.maketrans(b"\r\n", b"  ")
