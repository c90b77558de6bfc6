"""How a sandbox provider behaves: what it answers, how fast, how often wrongly. Values only; the server is in app.py."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.sandbox.references import Reference

MODELS = ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small", "omni-moderation-latest")


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """One sandbox provider. The default answers at once, without errors, limits or a key.

    error_rate    share of conversations with a reference answer that get a well-formed wrong one (always the same ones for a seed)
    ttft_ms       median time to the first token, milliseconds; token_ms each token after it
    jitter        sigma of the log-normal spread of both
    api_key       the one accepted Bearer key; None accepts anything
    requests_per_minute, tokens_per_minute   enforced with 429 where set; the headers show large numbers where not
    log_size      how many requests GET /sandbox/log remembers (its totals count all)
    """

    models: tuple[str, ...] = MODELS
    references: tuple[Reference, ...] = ()
    error_rate: float = 0.0
    ttft_ms: float = 0.0
    token_ms: float = 0.0
    jitter: float = 0.0
    seed: int = 0
    api_key: str | None = None
    context_tokens: int = 128_000
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    log_size: int = 100_000
