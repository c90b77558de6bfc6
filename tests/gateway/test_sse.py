"""The stream meter: what it sees, what it lets through, and that the way bytes were split never matters."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sse import DONE, MAX_EVENT_BYTES, Meter, error_event
from gateway.transcript import Rename
from gateway.usage import usage_of
from router.types import Usage


def chunk(delta: object = None, finish: str | None = None, *, index: int = 0, **extra: object) -> bytes:
    body = {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta or {}, "finish_reason": finish}], **extra}
    return b"data: " + orjson.dumps(body) + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
STOP = chunk({}, "stop")
USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}\n\n'


def run(data: bytes, cuts: list[int] | None = None, **options: bool) -> tuple[bytes, Meter]:
    meter = Meter(**options)
    out = b""
    begin = 0
    for cut in [*sorted(set(cuts or [])), len(data)]:
        out += meter.feed(data[begin:cut])
        begin = cut
    return out + meter.end(), meter


def text(meter: Meter) -> str:
    return meter.transcript.text if meter.transcript else ""


def facts(meter: Meter) -> tuple[object, ...]:
    return meter.started, meter.done, meter.error, meter.usage, meter.finish_reason, meter.output_bytes, text(meter), meter.complete, meter.events


def test_a_whole_stream_passes_unaltered() -> None:
    """Bytes of a pass-through stream are not altered."""
    data = b": hello\n\n" + ROLE + HELLO + STOP + USAGE + DONE
    out, meter = run(data, keep_text=True)
    assert out == data
    assert facts(meter) == (True, True, None, Usage(input=9, cached=4, output=2), "stop", 5, "Hello", True, 6)


def test_usage_is_hidden_again() -> None:
    """The usage-only chunk and `"usage":null` are there because we asked; a client that did not ask sees neither, and every other byte."""
    nulled = HELLO.replace(b"}\n\n", b',"usage":null}\n\n')
    spaced = HELLO.replace(b"}\n\n", b', "usage" : null}\n\n')
    out, meter = run(ROLE + nulled + spaced + STOP + USAGE + DONE, hide_usage=True)
    assert out == ROLE + HELLO + HELLO + STOP + DONE
    assert meter.usage == Usage(input=9, cached=4, output=2)


def test_text_that_looks_like_usage_is_left_alone() -> None:
    """The pattern we remove cannot be found inside what the model said."""
    tricky = chunk({"content": ',"usage":null'}, usage=None)
    out, _ = run(tricky + STOP + DONE, hide_usage=True)
    assert orjson.loads(out[6 : out.index(b"\n\n")])["choices"][0]["delta"]["content"] == ',"usage":null'


def test_usage_in_a_chunk_with_choices_is_taken_and_kept() -> None:
    """Some providers report usage with the last choice: it counts, and the chunk is not dropped."""
    last = chunk({}, "length", usage={"prompt_tokens": 3, "completion_tokens": 1})
    out, meter = run(HELLO + last + DONE, hide_usage=True)
    assert out == HELLO + last + DONE
    assert meter.usage == Usage(input=3, output=1)
    assert meter.finish_reason == "length"


def test_the_role_chunk_is_not_the_first_token() -> None:
    """The opening chunk says nothing yet: the first token is the first content, tool call, refusal or unknown field."""
    meter = Meter()
    meter.feed(b": ping\n\n" + ROLE + b'data: {"choices":[],"prompt_filter_results":[]}\n\n')
    assert not meter.started
    for delta in ({"content": "x"}, {"tool_calls": [{"index": 0}]}, {"refusal": "no"}, {"reasoning_content": "hm"}, {"thought": "new"}):
        meter = Meter()
        meter.feed(chunk(delta))
        assert meter.started, delta


def test_a_missing_done_is_supplied() -> None:
    """After a finish_reason the answer is whole, whether or not `[DONE]` came."""
    out, meter = run(ROLE + HELLO + STOP)
    assert out == ROLE + HELLO + STOP + DONE
    assert meter.complete


def test_a_tail_cut_after_the_finish_reason_is_no_loss() -> None:
    """A half `[DONE]` or a half usage chunk after the finish_reason does not break the answer."""
    for tail in (b"data: [DO", USAGE[:40], b"da", b"data: [DONE]"):
        out, meter = run(HELLO + STOP + tail)
        assert out == HELLO + STOP + DONE, tail
        assert meter.complete


def test_a_last_event_without_its_blank_line_counts() -> None:
    """A stream that ends right after its last chunk is complete."""
    out, meter = run(HELLO + STOP[:-1])
    assert out == HELLO + STOP + DONE
    assert meter.finish_reason == "stop"


def test_a_cut_stream_is_not_complete() -> None:
    """Without a finish_reason nothing is supplied; with two choices both must finish."""
    out, meter = run(ROLE + HELLO)
    assert out == ROLE + HELLO
    assert not meter.complete
    out, meter = run(chunk({"content": "a"}) + chunk({"content": "b"}, index=1) + STOP)
    assert not meter.complete
    assert DONE not in out


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"data: {nope\n\n", "not JSON"),
        (b"data: [1]\n\n", "not a JSON object"),
        (b'data: {"error":{"message":"server had an error"}}\n\n', "server had an error"),
        (b'event: error\ndata: {"error":"boom"}\n\n', "boom"),
        (b"data: \xff\xfe\n\n", "not JSON"),
    ],
)
def test_errors_inside_a_200_are_seen(bad: bytes, said: str) -> None:
    """A malformed chunk or an error event stops the relay; what came before it was relayed, what came after is not."""
    out, meter = run(HELLO + bad + HELLO + DONE)
    assert out == HELLO
    assert said in str(meter.error)
    assert not meter.complete


def test_an_endless_event_is_an_error() -> None:
    """A provider cannot fill our memory with one event."""
    meter = Meter()
    for _ in range(MAX_EVENT_BYTES // (1 << 20) + 1):
        meter.feed(b"x" * (1 << 20))
    assert "event of more than" in str(meter.error)
    assert meter.feed(b"\n\n") == meter.end() == b""


def test_legacy_completions_and_other_line_ends() -> None:
    """`/v1/completions` chunks and CRLF or CR line ends are read as well."""
    body = b'data: {"choices":[{"index":0,"text":"hi","finish_reason":null}]}'
    for end in (b"\r\n", b"\r", b"\n"):
        out, meter = run(
            body + end * 2 + b'data:{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}' + end * 2 + b"data: [DONE]" + end * 2, keep_text=True
        )
        assert text(meter) == "hi", end
        assert meter.done
        assert out.count(b"data") == 3


def test_data_over_several_lines_is_joined() -> None:
    """An event may carry its data in several `data:` lines."""
    _, meter = run(b'event: x\ndata: {"choices":[{"index":0,\ndata: "delta":{"content":"ab"}}]}\n\n' + STOP, keep_text=True)
    assert text(meter) == "ab"


def test_output_is_sized_for_estimates() -> None:
    """Tool call arguments count like text."""
    _, meter = run(chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "1234"}}]}) + STOP)
    assert meter.output_bytes == 5


def test_tool_calls_are_put_together() -> None:
    """A capture holds whole tool calls, whatever pieces they came in."""
    first = chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}]})
    more = chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}, {"index": 1, "id": "call_2", "function": {"name": "go", "arguments": "{}"}}]})
    _, meter = run(first + more + chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}, "?"]}) + STOP, keep_text=True)
    assert meter.transcript is not None
    assert meter.transcript.tool_calls == [
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
        {"id": "call_2", "type": "function", "function": {"name": "go", "arguments": "{}"}},
    ]


def test_answers_carry_the_name_that_was_asked_for() -> None:
    """Only the `model` field is renamed, never the same words in the text."""
    said = chunk({"content": 'a "model":"base-x" b'}, model="base-x")
    out, _ = run(said + STOP + DONE, rename=Rename("base-x", 'ft:"q"'))
    first = orjson.loads(out[6 : out.index(b"\n\n")])
    assert first["model"] == 'ft:"q"'
    assert first["choices"][0]["delta"]["content"] == 'a "model":"base-x" b'


def test_the_service_tier_is_seen() -> None:
    """The tier of the answer decides its price."""
    _, meter = run(chunk({"content": "x"}, service_tier="flex") + STOP)
    assert meter.service_tier == "flex"


def test_the_error_event_is_openai_shaped() -> None:
    """A broken stream ends with one parseable error event."""
    body = orjson.loads(error_event("it broke")[6:])
    assert body["error"] == {"message": "it broke", "type": "server_error", "param": None, "code": "stream_interrupted"}


PIECES = st.sampled_from(
    [ROLE, HELLO, STOP, USAGE, DONE, b": ping\n\n", HELLO.replace(b"\n", b"\r\n"), b"event: x\r", b"\n", b"\r", b"data: {bad\n\n", chunk({}, None, usage=None)]
)


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(PIECES | st.binary(max_size=12), max_size=8), cuts=st.lists(st.integers(0, 900), max_size=12), hide=st.booleans())
def test_any_split_gives_the_same_result(pieces: list[bytes], cuts: list[int], hide: bool) -> None:
    """Any split of any bytes gives the same output and the same facts as the whole."""
    data = b"".join(pieces)
    inside = [cut for cut in cuts if cut < len(data)]
    whole, split = run(data, hide_usage=hide, keep_text=True), run(data, inside, hide_usage=hide, keep_text=True)
    assert whole[0] == split[0]
    assert facts(whole[1]) == facts(split[1])


@settings(max_examples=50, deadline=None)
@given(pieces=st.lists(PIECES, max_size=6))
def test_byte_by_byte_gives_the_same_result(pieces: list[bytes]) -> None:
    """One byte at a time is the worst split there is."""
    data = b"".join(pieces)
    assert run(data, list(range(len(data))))[0] == run(data)[0]


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 3}, Usage(10, 0, 3, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": None}, Usage(10, 0, 3, 0)),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5, 0, 0, 0)),
        (
            {"input_tokens": 10, "output_tokens": 8, "input_tokens_details": {"cached_tokens": 99}, "output_tokens_details": {"reasoning_tokens": 6}},
            Usage(10, 10, 8, 6),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 0, "prompt_cache_hit_tokens": 7}, Usage(10, 7, 0, 0)),
        ({"prompt_tokens": True, "completion_tokens": -1}, None),
        ({"prompt_tokens": "10"}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage_shapes(reported: object, usage: Usage | None) -> None:
    """Every shape providers use is read; nonsense is not a zero."""
    assert usage_of(reported) == usage
