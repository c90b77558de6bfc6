"""Tokens as providers report them, turned into our `Usage`. Pure; prices and costs are elsewhere (router.money)."""

from __future__ import annotations

from typing import Any

from router.types import Usage

_NOTHING: dict[str, Any] = {}


def usage_of(reported: object) -> Usage | None:
    """The `usage` object of an answer in OpenAI's chat, completions, embeddings or responses shape; None when it is missing or makes no sense.

    What providers of that shape add is read too: tokens written to a cache as OpenAI and OpenRouter (`cache_write_tokens`) and gateways to Anthropic
    (`cache_creation_input_tokens`) report them, tokens read from it as DeepSeek (`prompt_cache_hit_tokens`) and Anthropic report them. No part ever exceeds
    its whole, whatever the provider says.
    """
    if not isinstance(reported, dict):
        return None
    entered, made = _count(reported, "prompt_tokens", "input_tokens"), _count(reported, "completion_tokens", "output_tokens")
    if entered is None and made is None:
        return None
    entered, made = entered or 0, made or 0
    taken = _details(reported, "prompt_tokens_details", "input_tokens_details")
    given = _details(reported, "completion_tokens_details", "output_tokens_details")
    cached, written = taken.get("cached_tokens"), taken.get("cache_write_tokens")
    if type(cached) is not int or type(written) is not int:  # OpenAI says both, if only that they are 0
        cached, written, entered = _of_others(reported, taken, entered)
    cached = min(max(cached, 0), entered)
    reasoning = 0
    heard, spoken = _audio(taken, entered), 0
    if given:
        reasoning = min(_count(given, "reasoning_tokens") or 0, made)
        spoken = _audio(given, made - reasoning)
    return Usage(entered, cached, made, reasoning, min(max(written, 0), entered - cached) if written else 0, heard, spoken)


def _of_others(reported: dict[str, Any], taken: dict[str, Any], entered: int) -> tuple[int, int, int]:
    """Tokens read from the cache, tokens written to it, and the whole input, where a provider has its own names or leaves some out."""
    cached, written = _count(taken, "cached_tokens"), _count(taken, "cache_write_tokens", "cache_creation_tokens")
    if cached is None:
        cached = _count(reported, "prompt_cache_hit_tokens", "cache_read_input_tokens")
    if written is None:
        written = _count(reported, "cache_creation_input_tokens")
        # Anthropic counts its cache beside the input, gateways to it inside; where it does not fit inside, it stands beside.
        if written and (cached or 0) + written > entered:
            entered += (cached or 0) + written
    return cached or 0, written or 0, entered


def _audio(details: dict[str, Any], most: int) -> int:
    count = details.get("audio_tokens")
    return min(count, most) if type(count) is int and count > 0 else 0


def _details(reported: dict[str, Any], name: str, other: str) -> dict[str, Any]:
    for key in (name, other):
        details = reported.get(key)
        if type(details) is dict:
            return details
    return _NOTHING


def _count(values: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = values.get(name)
        if type(value) is int and value >= 0:  # True is no count
            return value
    return None
