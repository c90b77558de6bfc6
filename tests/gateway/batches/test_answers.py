"""Lines of the files a batch makes."""

from __future__ import annotations

import json

import pytest

from gateway.batches.answers import CANCELLED, EXPIRED, Answer, answered, one_line, request_id, unanswered


def test_an_answer() -> None:
    """OpenAI's envelope, on one line, the body's bytes as they came."""
    text = answered("batch_1", 7, 'a"b', Answer(200, "req_1", b'{"n": 1.10, "big": 123456789012345678901234567890}'))
    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    assert b'"body":{"n": 1.10, "big": 123456789012345678901234567890}' in text
    entry = json.loads(text)
    assert entry == {
        "id": request_id("batch_1", 7),
        "custom_id": 'a"b',
        "response": {"status_code": 200, "request_id": "req_1", "body": {"n": 1.1, "big": 123456789012345678901234567890}},
        "error": None,
    }


@pytest.mark.parametrize("code", [EXPIRED, CANCELLED])
def test_no_answer(code: str) -> None:
    """No response, and why."""
    entry = json.loads(unanswered("batch_1", 7, "a", code))
    assert (entry["response"], entry["error"]["code"]) == (None, code)
    assert entry["error"]["message"]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        (b'{\r\n "a": "x\\ny"\n}\n', b'{   "a": "x\\ny" } '),
        (b"<html>\n\xff", '"<html>\\n\ufffd"'.encode()),
        (b"", b'""'),
    ],
)
def test_bodies(body: bytes, line: bytes) -> None:
    """JSON over several lines becomes one line; what is no JSON becomes a string."""
    assert one_line(body) == line


def test_ids() -> None:
    """The same for the same line, another for another."""
    assert request_id("b", 1) == request_id("b", 1)
    assert len({request_id(batch, number) for batch in "ab" for number in range(100)}) == 200
