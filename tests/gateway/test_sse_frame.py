"""Events that need not be parsed: that leaving it out makes no difference, and which events may be left out."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import sse
from gateway.sse import Meter
from gateway.sse_frame import frame_of
from gateway.transcript import Rename
from tests.gateway.test_sse import DONE, ROLE, STOP, USAGE, chunk, facts


def kept(event: bytes, _: dict[str, Any]) -> bytes:
    return event


def frame(event: bytes) -> Any:
    return frame_of(event, orjson.loads(event[6:]), kept)


TEXTS = st.text(alphabet=st.sampled_from('ab "\\\n\u00e4\u2028{}:,'), max_size=6)
EVENTS = st.one_of(
    TEXTS.map(lambda text: chunk({"content": text})),
    TEXTS.map(lambda text: chunk({"content": text}, usage=None, model="old")),
    TEXTS.map(lambda text: chunk({"content": text}, service_tier=text)),
    TEXTS.map(lambda text: chunk({"role": "assistant", "content": text}, index=1)),
    TEXTS.map(lambda text: chunk({"content": text, "reasoning_content": text})),
    st.sampled_from([ROLE, STOP, USAGE, DONE, b": ping\n\n", chunk({"content": "a"}).replace(b"\n", b"\r\n"), chunk({"content": "a"}).replace(b"a", b"\x01")]),
)


@settings(max_examples=400, deadline=None)
@given(events=st.lists(EVENTS, max_size=14), cuts=st.lists(st.integers(0, 2500), max_size=6), hide=st.booleans())
def test_what_is_not_parsed_counts_the_same(events: list[bytes], cuts: list[int], hide: bool) -> None:
    """Whatever comes, in whatever pieces: the same bytes come out and the same facts are known as when every event is parsed."""
    data = b"".join(events)
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    results = []
    for looks in (0, 4):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sse, "_LOOKS", looks)
            meter = Meter(hide_usage=hide, keep_text=True, rename=Rename("old", "new"))
            out = b"".join(meter.feed(data[begin:end]) for begin, end in itertools.pairwise(edges)) + meter.end()
            results.append((out, facts(meter), meter.service_tier))
    assert results[0] == results[1]


def test_most_events_of_a_stream_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first ones; hidden usage and another name are taken care of all the same."""
    parsed = []
    loads = orjson.loads
    monkeypatch.setattr(sse.orjson, "loads", lambda data: parsed.append(data) or loads(data))
    meter = Meter(hide_usage=True, keep_text=True, rename=Rename("old", "new"))
    out = b"".join(meter.feed(chunk({"content": f"word {number} "}, usage=None, model="old")) for number in range(50))
    assert out == b"".join(chunk({"content": f"word {number} "}, model="new") for number in range(50))
    assert len(parsed) < 10
    assert meter.events == 50


@pytest.mark.parametrize(
    "event",
    [
        chunk({"content": 'a"b'}),
        chunk({"content": ""}),
        chunk({"content": "a"}, "stop"),
        chunk({"content": "a"}, index=1),
        chunk({"content": "a", "tool_calls": []}),
        chunk({"content": "a"}, usage={"prompt_tokens": 1}),
        chunk({}),
        b'data: {"choices":[]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\\u0061"}}],"meta":{"content":"a"}}\n\n',
        b'data: {"meta":{"content":"a"},"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
        b'event: x\ndata: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content" :"a"}}]}\n\n',
    ],
)
def test_events_without_a_frame(event: bytes) -> None:
    """Where anything else could change with the text, or the text stands somewhere else as well, there is none."""
    assert frame_of(event, orjson.loads(event[event.index(b"{") :]), kept) is None


def test_a_frame_that_passing_on_does_not_keep() -> None:
    """What is passed on must differ in nothing but the text either."""
    event = chunk({"content": "a"})
    assert frame_of(event, orjson.loads(event[6:]), lambda _event, _chunk: b'"content":"a"') is None
    assert frame_of(event, orjson.loads(event[6:]), lambda _event, _chunk: b"") is None


def test_only_plain_text_fits() -> None:
    """Quotes, backslashes, control and other characters, a shorter event and another one do not."""
    found = frame(chunk({"content": "Hello"}))
    assert found.text(chunk({"content": " my {world} "})) == b" my {world} "
    for other in (b'{"a":1}', b"\\n", b"\n", b"\xc3\xa4", b"\x7f"):
        assert found.text(found.before + other + found.after) is None
    assert found.text(found.before) is None
    assert found.text(found.after) is None
    assert found.text(chunk({"content": "Hello"}, extra=1)) is None
