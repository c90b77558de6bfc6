"""Request bodies: what is refused and in which words, what routing may know, what is sent on."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.wire import Endpoint, features, parse, upstream_body
from router.errors import RequestError

CHAT = {"model": "r", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("raw", "endpoint", "param", "code", "said"),
    [
        (b"", "chat", None, None, "could not parse the JSON body"),
        (b"{", "chat", None, None, "could not parse the JSON body"),
        (b'{"model":"\xff"}', "chat", None, None, "could not parse the JSON body"),
        (b'{"model":"\\ud800","messages":[{}]}', "chat", None, None, "could not parse the JSON body"),
        (b"[" * 5000, "chat", None, None, "could not parse the JSON body"),
        (b"[]", "chat", None, "invalid_type", "expected a JSON object, but got an array"),
        (b"null", "chat", None, "invalid_type", "but got null"),
        (b"{}", "chat", "model", "missing_required_parameter", "must provide a model"),
        (b'{"model":3}', "chat", "model", "invalid_type", "'model': expected a string, but got an integer"),
        (b'{"model":true}', "chat", "model", "invalid_type", "but got a boolean"),
        (b'{"model":1.5}', "chat", "model", "invalid_type", "but got a decimal"),
        (b'{"model":"r"}', "chat", "messages", "missing_required_parameter", "Missing required parameter: 'messages'"),
        (b'{"model":"r","messages":"hi"}', "chat", "messages", "invalid_type", "but got a string"),
        (b'{"model":"r","messages":[]}', "chat", "messages", "empty_array", "empty array"),
        (b'{"model":"r","messages":[{},3]}', "chat", "messages[1]", "invalid_type", "'messages[1]': expected an object"),
        (b'{"model":"r","messages":[{}],"stream":"yes"}', "chat", "stream", "invalid_type", "expected a boolean"),
        (b'{"model":"r","messages":[{}],"stream_options":1}', "chat", "stream_options", "invalid_type", "expected an object"),
        (b'{"model":"r"}', "completions", "prompt", "missing_required_parameter", "'prompt'"),
        (b'{"model":"r","prompt":{}}', "completions", "prompt", "invalid_type", "a string or an array"),
        (b'{"model":"r","input":7}', "embeddings", "input", "invalid_type", "a string or an array"),
    ],
)
def test_what_cannot_be_routed(raw: bytes, endpoint: Endpoint, param: str | None, code: str | None, said: str) -> None:
    """Each refusal names the parameter and says what was expected."""
    with pytest.raises(RequestError) as caught:
        parse(raw, endpoint)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.code == (code or "invalid_request_error")
    assert said in caught.value.message


def test_everything_else_is_sent_as_it_came() -> None:
    """Unknown fields, nulls, order of keys: only `model` changes."""
    body = {"x": None, **CHAT, "future": [{"a": 1.0}], "n": 10000}
    assert orjson.loads(upstream_body(parse(orjson.dumps(body), "chat"), "m")) == {**body, "model": "m"}


def test_usage_is_asked_for_in_streams_only() -> None:
    """`include_usage` is added to whatever the client's stream_options are, and the client's own wish is remembered."""
    ask = parse(orjson.dumps({**CHAT, "stream": True, "stream_options": {"include_obfuscation": False}}), "chat")
    assert ask.hides_usage
    assert orjson.loads(upstream_body(ask, "m"))["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    own = parse(orjson.dumps({**CHAT, "stream": True, "stream_options": {"include_usage": True}}), "chat")
    assert not own.hides_usage
    assert b"stream_options" not in upstream_body(parse(orjson.dumps(CHAT), "chat"), "m")
    assert not parse(orjson.dumps({"model": "e", "input": "x", "stream": True}), "embeddings").stream


def test_sizes() -> None:
    """Prompt bytes are bytes of text; pictures count as what they are billed as, tools as their JSON, token ids as tokens."""
    parts = [{"type": "text", "text": "äb"}, {"type": "image_url", "image_url": {"url": "data:" + "x" * 100_000}}]
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    body = {
        "model": "r",
        "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": None, "tool_calls": calls}],
        "tools": [{"type": "function"}],
    }
    assert features(parse(orjson.dumps(body), "chat")).prompt_bytes == 3 + 3000 + len(orjson.dumps(calls)) + len(orjson.dumps(body["tools"]))
    assert features(parse(orjson.dumps({"model": "r", "prompt": ["abc", "é"]}), "completions")).prompt_bytes == 5
    assert features(parse(orjson.dumps({"model": "r", "input": [[1, 2], [3]]}), "embeddings")).prompt_bytes == 12


def test_wishes_of_the_body() -> None:
    """max tokens, n, stream and capabilities; nonsense is ignored, the backend says what is wrong with it."""
    got = features(parse(orjson.dumps({**CHAT, "max_completion_tokens": 7, "max_tokens": 9, "n": 2, "tools": [{"type": "function"}]}), "chat"), 1500.0)
    assert (got.max_tokens, got.n, got.stream, got.slo_total_ms) == (7, 2, False, 1500.0)
    assert "tools" in got.needs
    odd = features(parse(orjson.dumps({**CHAT, "max_tokens": "9", "n": True}), "chat"))
    assert (odd.max_tokens, odd.n) == (None, 1)
    assert "embeddings" in features(parse(b'{"model":"r","input":"x"}', "embeddings")).needs


def test_a_conversation_keeps_its_number() -> None:
    """The hash is of the beginning: more turns do not change it, another first message does."""
    first = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    more = [*first, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    number = [features(parse(orjson.dumps({"model": "r", "messages": each}), "chat")).conversation for each in (first, more, more[1:])]
    assert number[0] == number[1] != number[2]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=st.dictionaries(
        st.sampled_from(["model", "messages", "stream", "stream_options", "n", "tools", "prompt", "input", "max_tokens", "x"]), JSON, max_size=8
    )
)
def test_no_body_breaks_it(body: dict[str, object]) -> None:
    """Any JSON object is either refused in words or fully understood, on every endpoint."""
    raw = orjson.dumps(body)
    for endpoint in ("chat", "completions", "embeddings", "responses"):
        try:
            ask = parse(raw, endpoint)  # type: ignore[arg-type]
        except RequestError:
            continue
        assert features(ask).prompt_bytes >= 0
        assert orjson.loads(upstream_body(ask, "m"))["model"] == "m"
