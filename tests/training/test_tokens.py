"""training/tokens.py: what is learnt, token by token."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from router.errors import DataError
from tests.training import tiny
from training import chat, tokens
from training.chat import Example
from training.tokens import TemplateError

pytestmark = pytest.mark.torch
STOP = frozenset({2})
TOOLS = tiny.MARKED.replace(
    "message['content'] + '<|im_end|>' -}}{%- endgeneration",
    "message['content'] + (message.tool_calls | tojson if message.tool_calls else '') + '<|im_end|>' -}}{%- endgeneration",
)


def example(*turns: tuple[str, str], weights: dict[int, int] | None = None, line: int = 1) -> Example:
    """A conversation of (role, content)."""
    rows: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in turns]
    for index, weight in (weights or {}).items():
        rows[index]["weight"] = weight
    made = chat.parse(json.dumps({"messages": rows}), line)
    assert isinstance(made, Example)
    return made


def learnt(tokenizer: Any, one: Example) -> list[str]:
    """The learnt runs as text."""
    return [text for text, counts in tokens.preview(tokenizer, [one], STOP)[0].pieces if counts]


TALK = example(("system", "be brief"), ("user", "hé?"), ("assistant", "oui"), ("user", "more"), ("assistant", "non 😀"))


@pytest.mark.parametrize("template", [tiny.MARKED, tiny.PLAIN], ids=["marked", "plain"])
def test_exactly_the_answers_and_their_end_are_learnt(template: str) -> None:
    """With and without generation marks: each assistant text with its end token, nothing else."""
    words = tiny.tokenizer(template)
    assert learnt(words, TALK) == ["oui<|im_end|>", "non 😀<|im_end|>"]
    one = tokens.encode(words, TALK, STOP)
    assert list(one.input_ids) == words.apply_chat_template([dict(m) for m in TALK.messages], return_dict=False)
    assert [label for label in one.labels if label != -100] == [i for i, counts in zip(one.input_ids, one.mask, strict=True) if counts]


def test_weight_0_is_context_and_not_learnt() -> None:
    """An answer of weight 0 is read but not learnt."""
    for template in (tiny.MARKED, tiny.PLAIN):
        muted = example(("user", "a"), ("assistant", "bad"), ("user", "b"), ("assistant", "good"), weights={1: 0})
        assert learnt(tiny.tokenizer(template), muted) == ["good<|im_end|>"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.text(min_size=1, max_size=20).filter(lambda t: t.strip())), min_size=1, max_size=3))
def test_marks_and_appending_agree_on_any_text(turns: list[tuple[str, str]]) -> None:
    """Both ways to a mask give the same ids and the same mask, whatever is written, control characters and lone marks of the template included."""
    made = chat.parse(json.dumps({"messages": [m for q, a in turns for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})]}), 1)
    assert isinstance(made, Example)
    marked, plain = (tokens.encode(tiny.tokenizer(template), made, STOP) for template in (tiny.MARKED, tiny.PLAIN))
    assert marked == plain
    assert 0 < sum(marked.mask) < len(marked.mask)


def test_tool_calls_are_rendered_as_the_server_does() -> None:
    """Arguments reach the template as an object, not as text within text."""
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"order": 5}'}}
    body = {
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [call]}],
        "tools": [{"type": "function", "function": {"name": "look"}}],
    }
    made = chat.parse(json.dumps(body), 1)
    assert isinstance(made, Example)
    [text] = learnt(tiny.tokenizer(TOOLS), made)
    assert '"arguments": {"order": 5}' in text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('no system please') }}", "no system please"),
        ("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}{{ messages | length }}", "another context"),
        (tiny.MARKED.replace("<|im_end|>' -}}{%- endgeneration -%}", "' -}}{%- endgeneration -%}<|im_end|>"), "never learn to stop"),
        (tiny.MARKED.replace("'<|im_start|>' + message['role']", "(messages|length|string) + message['role']"), "another context"),
        ("{%- generation -%}" + tiny.PLAIN + "{%- endgeneration -%}", "marks 1 generated parts for 2"),
        (
            tiny.MARKED.replace("{%- generation -%}{{- message['content']", "{{- ' ' }}{%- generation -%}{{- message['content']"),
            "does not begin where the server's prompt ends",
        ),
        ("{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}", "every token would be learnt"),
        ("{% for m in messages %}{% if m.role != 'assistant' %}{{ m.content }}{% endif %}{% endfor %}{# endgeneration #}", "marks 0 generated parts"),
        ("{% for m in messages %}{% if m.role != 'assistant' %}{{ m.content }}{% endif %}{% endfor %}", "would be learnt: the loss mask is empty"),
    ],
)
def test_templates_that_would_teach_the_wrong_thing_are_refused(template: str | None, said: str) -> None:
    """A template without a usable mask is refused with what is wrong with it."""
    with pytest.raises(TemplateError, match=said):
        tokens.encode(tiny.tokenizer(template), example(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), STOP)


def test_an_answer_that_merges_into_its_header_is_refused() -> None:
    """Where the last header character and the first of the answer are one token, the server would never see that token."""
    words = tiny.tokenizer(tiny.PLAIN, merges=[("Ċ", "Ċ")])
    assert learnt(words, example(("user", "a"), ("assistant", "b"))) == ["b<|im_end|>"]
    with pytest.raises(TemplateError, match="merge into the last token"):
        tokens.encode(words, example(("user", "a"), ("assistant", "\nb")), STOP)


def test_all_unusable_examples_are_named() -> None:
    """Too long and untrainable examples come together, each with its line; nothing is cut."""
    words = tiny.tokenizer()
    rows = [
        example(("user", "q" * 100), ("assistant", "a"), line=3),
        example(("user", "q"), ("assistant", "a"), line=4),
        example(("user", "q" * 90), ("assistant", "a"), line=9),
    ]
    with pytest.raises(DataError, match="2 of 3") as caught:
        tokens.encode_all(words, rows, 64, STOP, "f.jsonl")
    assert [(p.file, p.line) for p in caught.value.problems] == [("f.jsonl", 3), ("f.jsonl", 9)]
    with pytest.raises(DataError, match="3 of 3"):
        tokens.encode_all(words, rows, 1000, frozenset())


def test_the_preview_shows_every_token_once() -> None:
    """The pieces together are the rendered conversation; counts are right; the coloured form says them."""
    words = tiny.tokenizer()
    [shown] = tokens.preview(words, [TALK], STOP)
    assert "".join(text for text, _ in shown.pieces) == words.apply_chat_template([dict(m) for m in TALK.messages], tokenize=False)
    assert shown.learnt == sum(tokens.encode(words, TALK, STOP).mask)
    assert shown.as_dict()["tokens"] == shown.tokens
    coloured = tokens.coloured(shown)
    assert f"{shown.learnt} of {shown.tokens} tokens" in coloured.plain
    assert {str(span.style) for span in coloured.spans} == {"dim", "black on green"}
