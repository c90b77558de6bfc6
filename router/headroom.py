"""How much of a provider's rate limit is left for us, by what its last answer said. Not here: reading its headers (gateway.ratelimits).

A provider counts what it has received; what was sent after the call that brought the numbers is taken off them, until a later call brings newer ones.
"""

from __future__ import annotations

from typing import NamedTuple

from router.types import Features, Live


class Headroom(NamedTuple):
    """What one answer said: requests and tokens left (None: not said), each until its instant; from then on nothing is known."""

    requests: int | None = None
    requests_until: float = 0.0
    tokens: int | None = None
    tokens_until: float = 0.0


def left(said: Headroom, requests_since: int, tokens_since: int, now: float) -> tuple[int | None, int | None]:
    """Requests and tokens left at `now`, never below 0; `since` is what was sent after the call that brought `said`. None: not known (any more)."""
    requests = said.requests if now < said.requests_until else None
    tokens = said.tokens if now < said.tokens_until else None
    return (
        None if requests is None else max(0, requests - requests_since),
        None if tokens is None else max(0, tokens - tokens_since),
    )


def expected_tokens(features: Features, live: Live) -> int:
    """Tokens that a request is expected to count as: its prompt, and answers as long as they usually are here and at most as long as it allows."""
    made = live.output_tokens or 0.0
    if features.max_tokens is not None:
        made = min(made, float(features.max_tokens)) if live.output_tokens is not None else float(features.max_tokens)
    return round(features.prompt_bytes / live.bytes_per_token + made * features.n)


def is_short(features: Features, live: Live) -> bool:
    """Whether the provider would refuse this request for its rate, as far as is known."""
    requests, tokens = live.requests_left, live.tokens_left
    return (requests is not None and requests <= 0) or (tokens is not None and tokens < expected_tokens(features, live))
