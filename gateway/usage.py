"""Tokens as providers report them, turned into our `Usage`. Pure; prices and costs are elsewhere (router.money)."""

from __future__ import annotations

from collections.abc import Mapping

from router.types import Usage


def usage_of(reported: object) -> Usage | None:
    """The `usage` object of an answer in OpenAI's chat, completions, embeddings or responses shape; None when it is missing or makes no sense.

    `cached` never exceeds `input` and `reasoning` never exceeds `output`, whatever the provider says.
    """
    if not isinstance(reported, Mapping):
        return None
    entered = _count(reported, "prompt_tokens", "input_tokens")
    made = _count(reported, "completion_tokens", "output_tokens")
    if entered is None and made is None:
        return None
    cached = _detail(reported, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    if cached is None:
        cached = _count(reported, "prompt_cache_hit_tokens")
    reasoning = _detail(reported, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    entered, made = entered or 0, made or 0
    return Usage(input=entered, cached=min(cached or 0, entered), output=made, reasoning=min(reasoning or 0, made))


def _detail(reported: Mapping[str, object], names: tuple[str, str], key: str) -> int | None:
    for name in names:
        details = reported.get(name)
        if isinstance(details, Mapping):
            return _count(details, key)
    return None


def _count(values: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
