"""Tokens as providers report them, turned into our `Usage`. Pure; prices and costs are elsewhere (router.money)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.types import Usage

_NOTHING: Mapping[str, object] = {}


def usage_of(reported: object) -> Usage | None:
    """The `usage` object of an answer in OpenAI's chat, completions, embeddings or responses shape; None when it is missing or makes no sense.

    What providers of that shape add is read too: tokens written to a cache as OpenAI and OpenRouter (`cache_write_tokens`) and gateways to Anthropic
    (`cache_creation_input_tokens`) report them, tokens read from it as DeepSeek (`prompt_cache_hit_tokens`) and Anthropic report them. No part ever exceeds
    its whole, whatever the provider says.
    """
    if not isinstance(reported, Mapping):
        return None
    entered = _count(reported, "prompt_tokens", "input_tokens")
    made = _count(reported, "completion_tokens", "output_tokens")
    if entered is None and made is None:
        return None
    entered, made = entered or 0, made or 0
    taken = _details(reported, "prompt_tokens_details", "input_tokens_details")
    given = _details(reported, "completion_tokens_details", "output_tokens_details")
    cached = _count(taken, "cached_tokens")
    if cached is None:
        cached = _count(reported, "prompt_cache_hit_tokens", "cache_read_input_tokens")
    written = _count(taken, "cache_write_tokens", "cache_creation_tokens")
    if written is None:
        written = _count(reported, "cache_creation_input_tokens")
        # Anthropic counts its cache beside the input, gateways to it inside; where it does not fit inside, it stands beside.
        if written and (cached or 0) + written > entered:
            entered += (cached or 0) + written
    cached = min(cached or 0, entered)
    reasoning = min(_count(given, "reasoning_tokens") or 0, made)
    return Usage(
        entered,
        cached,
        made,
        reasoning,
        min(written or 0, entered - cached),
        min(_count(taken, "audio_tokens") or 0, entered),
        min(_count(given, "audio_tokens") or 0, made - reasoning),
    )


def _details(reported: Mapping[str, Any], *names: str) -> Mapping[str, object]:
    for name in names:
        details = reported.get(name)
        if isinstance(details, Mapping):
            return details
    return _NOTHING


def _count(values: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
