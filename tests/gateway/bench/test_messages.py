"""The bytes of the benchmark."""

from __future__ import annotations

import json

import httptools
import pytest

from gateway.bench import messages


class Parsed:
    """What httptools makes of a whole response."""

    def __init__(self, data: bytes) -> None:
        self.body = b""
        self.ended = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended = True


@pytest.mark.parametrize(("stream", "pace_s"), [("", None), ("instant", 0.0), ("paced", messages.PACE_S)])
def test_a_request_says_how_it_wants_its_answer(stream: str, pace_s: float | None) -> None:
    """The upstream reads from the body what the client meant, also after a gateway has written it anew."""
    head, _, body = messages.request(("127.0.0.1", 9), "m", "secret", stream).partition(b"\r\n\r\n")
    assert b"authorization: Bearer secret" in head
    assert f"content-length: {len(body)}".encode() in head
    assert messages.pace_of(body) == pace_s
    assert messages.pace_of(json.dumps(json.loads(body), indent=1).encode()) == pace_s


def test_no_stream_is_none_when_said_so() -> None:
    """`"stream": false` is a plain answer."""
    assert messages.pace_of(b'{"stream": false}') is None


def test_the_answer_is_a_chat_completion() -> None:
    """A whole response with usage, as the ledger wants it."""
    parsed = Parsed(messages.answer())
    assert parsed.ended
    assert json.loads(parsed.body)["usage"]["total_tokens"] == 59


def test_a_stream_is_one_response_with_stamps() -> None:
    """Head, stamped events, end: valid HTTP, valid JSON events, the stamps found again."""
    stamps = list(range(5, 5 + messages.CHUNKS))
    parsed = Parsed(messages.stream_head() + b"".join(map(messages.stamped, stamps)) + messages.stream_end())
    assert parsed.ended
    assert [int(found) for found in messages.STAMP.findall(parsed.body)] == stamps
    events = parsed.body.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    assert all(json.loads(event.removeprefix(b"data: "))["object"] == "chat.completion.chunk" for event in events[:-2])
    assert messages.STAMP.findall(json.dumps(json.loads(events[1].removeprefix(b"data: "))).encode()) == [b"5"]
