"""What is measured of one request: languages, words, content, formats, rates; numbers alone, whatever comes in."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.sampling import Sampler
from gateway.drift.sketch import CONTENT, FINISHES, FORMATS, LANGUAGES, RATES, incoming, outgoing
from gateway.transcript import Transcript

PERSON = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]}, "kind": {"enum": ["a", "b"]}, "free": True},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}


def body(text: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def said(text: str, finish: str | None = "stop", calls: object = None, **asked: Any) -> tuple[str, set[str], set[str]]:
    """The format's name, which rates came true, which could have."""
    transcript = Transcript()
    transcript.add(text, calls)
    kind, ended, happened, could = outgoing(body("x", **asked), transcript, finish)
    assert 0 <= ended < len(FINISHES)
    names = [{name for place, name in enumerate(RATES) if mask >> place & 1} for mask in (happened, could)]
    return FORMATS[kind], names[0], names[1]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my order? I want to have it", "en"),
        ("wo ist meine Bestellung, ich brauche sie nicht mehr", "de"),
        ("dónde está mi pedido, lo quiero ya con mis cosas", "es"),
        ("je voudrais savoir quand est votre livraison", "fr"),
        ("vorrei sapere come sono gli ordini", "it"),
        ("Привет, где мой заказ?", "cyrillic"),
        ("注文はまだ届いていません", "kana"),
        ("我的订单在哪里", "cjk"),
        ("주문이 어디에 있나요", "hangul"),
        ("أين طلبي", "arabic"),
        ("मेरा आदेश कहाँ है", "indic"),
        ("ՈՒր է իմ պատվերը", "other"),
        ("zzz qqq", "unclear"),
        ("123 !!", "none"),
        ("", "none"),
    ],
)
def test_languages(text: str, language: str) -> None:
    """By common words, else by script."""
    assert LANGUAGES[incoming(body(text), 1)[0]] == language


def test_content_is_seen() -> None:
    """Each mark alone, in the last user message or the request."""

    def marks(request: dict[str, Any]) -> set[str]:
        found = incoming(request, 1)[4]
        return {name for place, name in enumerate(CONTENT) if found >> place & 1}

    assert marks(body("hello there")) == set()
    assert marks(body('see {"a": 1}')) == {"json"}
    assert marks(body("```\nx\n```")) == {"code"}
    assert marks(body("order 123456")) == {"number"}
    assert marks(body("see https://example.com")) == {"link"}
    assert marks(body("hi", tools=[{"type": "function"}])) == {"tools"}
    assert marks(body("WHERE IS IT")) == {"shouting"}
    assert marks(body([{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}}, "odd"])) == {"media"}
    system = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "ok"}]}
    assert marks(system) == {"system"}
    assert incoming(system, 7)[1:3] == (3, 7)
    assert incoming({"messages": [{"role": "assistant", "content": "ok"}]}, 1)[3] == 0


def test_numbers_are_no_words() -> None:
    """What differs in numbers alone has the same words; other words have others; only so many are read."""
    words = [incoming(body(text), 1)[3] for text in ("my order 123456 please", "my order 999999 please", "a wholly different sentence")]
    assert words[0] == words[1] != words[2]
    assert incoming(body("word " * 10_000), 1)[3].bit_count() == 1


def test_formats_of_answers() -> None:
    """Text, nothing, tools, JSON; objects with the same keys are of one format whatever their values and order."""
    assert said("Hello")[0] == "text"
    assert said("  ")[0] == "empty"
    assert said("", "tool_calls", [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}])[0] == "tools"
    assert said("[1, 2]")[0] == "json value"
    assert said("{broken")[0] == "text"
    assert said('{"a":1,"b":2}')[0] == said('{"b":7,"a":null}')[0] != said('{"a":1,"c":2}')[0]
    assert said("{" + " " * 70_000)[0] == "text"


def test_rates_of_answers() -> None:
    """Invalid counts only where JSON was asked for; refusals only in text; the finish reason says cut and filtered."""
    assert said('{"a":1}')[1:] == (set(), {"not_json", "refused", "cut", "filtered"})
    assert said("hm", response_format={"type": "json_object"})[1:] == ({"invalid", "not_json"}, set(RATES))
    assert said("[1]", response_format={"type": "json_object"})[1] == {"invalid"}
    assert said("I'm sorry, but I can't help with that.")[1] == {"not_json", "refused"}
    assert said("Leider kann ich Ihnen dabei nicht helfen")[1] == {"not_json", "refused"}
    assert said("{}", "length")[1] == {"cut"}
    assert said("{}", "content_filter")[1] == {"filtered"}
    assert said("x" * 70_000, "length")[1:] == ({"cut"}, {"cut", "filtered"})
    assert said("", "tool_calls", [{"index": 0, "function": {"name": "f"}}], response_format={"type": "json_object"})[2] == {"refused", "cut", "filtered"}
    assert said("ok", None)[1] == {"not_json"}


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        ('{"name":"A"}', True),
        ('{"name":"A","age":3,"kind":"b","free":[]}', True),
        ('{"name":"A","age":null}', True),
        ('{"name":"A","age":3.0}', True),
        ('{"age":3}', False),
        ('{"name":7}', False),
        ('{"name":"A","age":3.5}', False),
        ('{"name":"A","age":true}', False),
        ('{"name":"A","kind":"c"}', False),
        ('{"name":"A","more":1}', False),
        ("[]", False),
    ],
)
def test_answers_against_a_schema(answer: str, fits: bool) -> None:
    """Required keys, no others, types and words at the top."""
    assert ("invalid" not in said(answer, response_format=PERSON)[1]) == fits


def test_odd_schemas_hide_nothing() -> None:
    """A schema that is none asks for an object and nothing else."""
    for odd in (
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": 7}},
        {"type": "json_schema", "json_schema": {"schema": {"properties": []}}},
    ):
        assert said('{"x":1}', response_format=odd)[1] == set()
    assert said("text", response_format="json")[2] == {"not_json", "refused", "cut", "filtered"}


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=600), answer=st.text(max_size=300))
def test_anything_is_measured(text: str, answer: str) -> None:
    """Whatever stands in a mail or an answer, the row is small and of numbers, and JSON as the spool writes it."""
    transcript = Transcript()
    transcript.add(answer, None)
    row = (*incoming(body(text.encode("utf-8", "replace").decode()), 1), *outgoing(body("x"), transcript, "stop"))
    assert len(orjson.dumps(row)) < 120
    assert all(type(value) is int or type(value) is bool for value in row)


def test_so_many_of_each_second() -> None:
    """Each route has its own count, and each second begins anew."""
    sampler = Sampler()
    assert [sampler.takes("r", 2, 10.0 + number / 10) for number in range(4)] == [True, True, False, False]
    assert sampler.takes("other", 2, 10.5)
    assert sampler.takes("r", 2, 11.0)
