"""The sandbox's tokenizer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.tokens import PrefixCache, content_text, count, pieces, prompt_tokens


@given(st.text())
def test_tokens_joined_give_the_text_back(text: str) -> None:
    """Nothing is lost or added, line ends and other scripts included."""
    assert "".join(pieces(text)) == text


def test_a_token_is_up_to_four_letters_with_its_space() -> None:
    """The rule as the docstring states it."""
    assert pieces("Hello wide world!\n") == ["Hell", "o", " wide", " worl", "d", "!", "\n"]


def test_a_conversation_costs_its_messages_and_their_overhead() -> None:
    """Three tokens per message, its role, its content, and three for the reply; tools and tool calls count too."""
    body = {"messages": [{"role": "user", "content": "ab cd"}]}
    assert len(prompt_tokens(body)) == 3 + 1 + 2 + 3
    with_tools = body | {"tools": [{"type": "function"}], "messages": [{"role": "user", "content": "ab cd", "tool_calls": [{"id": "x"}]}]}
    assert len(prompt_tokens(with_tools)) == 9 + count('[{"type":"function"}]') + count('[{"id":"x"}]')


def test_an_image_counts_as_85_tokens_and_odd_content_as_none() -> None:
    """Parts of a message are text or images; null content (a tool call's message) has no tokens."""
    assert count(content_text([{"type": "text", "text": "ab"}, {"type": "image_url"}, "stray"])) == 86
    assert content_text(None) == ""


def test_a_long_prompt_seen_before_is_cached_in_blocks_of_128() -> None:
    """From 1,024 tokens on, the longest common prefix in whole blocks is cached; shorter prompts never are."""
    cache = PrefixCache()
    long = [str(n) for n in range(1200)]
    assert cache.cached(long) == 0
    assert cache.cached(long) == 1152
    assert cache.cached([*long[:1100], "new"]) == 1024
    assert cache.cached(["first", *long]) == 0
    assert cache.cached(long[:1000]) == 0


def test_the_cache_forgets_the_oldest() -> None:
    """Its size is bounded."""
    cache = PrefixCache(blocks=9)
    old = ["a"] * 1152
    cache.cached(old)
    cache.cached(["b"] * 1152)
    assert cache.cached(old) == 0
