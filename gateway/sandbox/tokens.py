"""The sandbox's tokenizer and token accounting. No vocabulary, hence no download.

The rule: a token is a run of at most four letters or digits with the one space before it, or any other single character. Cutting a text into tokens and
joining them gives the text back. Counts are in the range of real tokenizers for English, and exact by definition here.
A conversation costs three tokens per message, its role and content, and three more for the reply to begin (OpenAI's published rule for chat models).
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

_TOKEN = re.compile(r" ?[^\W_]{1,4}|.", re.DOTALL)
CACHE_BLOCK = 128
CACHE_FLOOR = 1024


def pieces(text: str) -> list[str]:
    """The tokens of a text, in order; joined they are the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return len(pieces(text))


def content_text(content: object) -> str:
    """The text of a message's content: a string, or the text of its parts (an image part stands for 85 tokens, OpenAI's low-detail price)."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(part.get("text", "")) if part.get("type") == "text" else "#" * 85 for part in content if isinstance(part, dict))


def prompt_tokens(body: Mapping[str, Any]) -> list[str]:
    """The tokens of a chat request: its tools, then its messages with their overhead."""
    found: list[str] = []
    if body.get("tools"):
        found += pieces(orjson.dumps(body["tools"]).decode())
    for message in body["messages"]:
        found += ["<|start|>", "<|sep|>", "<|end|>", *pieces(str(message.get("role", ""))), *pieces(content_text(message.get("content")))]
        if message.get("tool_calls"):
            found += pieces(orjson.dumps(message["tool_calls"]).decode())
    return [*found, "<|start|>", "assistant", "<|sep|>"]


class PrefixCache:
    """OpenAI's prompt caching: prompts of 1,024 tokens or more get their longest seen prefix in steps of 128 tokens at the cached price."""

    def __init__(self, blocks: int = 20_000) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._blocks = blocks

    def cached(self, tokens: Sequence[str]) -> int:
        """How many of these prompt tokens are cached; the prompt is remembered for the next time."""
        if len(tokens) < CACHE_FLOOR:
            return 0
        hit, chain = 0, hashlib.sha256()
        for end in range(CACHE_BLOCK, len(tokens) + 1, CACHE_BLOCK):
            chain.update("\0".join(tokens[end - CACHE_BLOCK : end]).encode())
            key = chain.digest()
            if key in self._seen and hit == end - CACHE_BLOCK:
                hit = end
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > self._blocks:
            self._seen.popitem(last=False)
        return hit if hit >= CACHE_FLOOR else 0
