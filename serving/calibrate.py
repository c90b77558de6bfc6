"""Measuring what one vLLM server can do: tokens per second of prompts and of answers at several batch sizes.

A batch is one request with that many prompts, so that nothing is sent or parsed while it runs. Prompts are random token ids, new in every round: the prefix
cache never helps. Answers have exactly the wanted length (`ignore_eos`, temperature 0).

    prefill tokens/s = prompt tokens of a round of one-token answers / its time
    decode tokens/s  = generated tokens after the first / (time of a round of long answers - time of the same with one token), on short prompts

Here: the measuring. Not here: what the numbers mean (router/utilisation.py), keeping them (gateway/store/curves.py).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from router.errors import StateError, UpstreamError
from router.utilisation import Point
from serving.client import Client
from serving.counters import Counters, read

BATCHES = (1, 2, 4, 8, 16, 32)
PROMPT_TOKENS = 512
# Prompts of the rounds that measure decoding: short, yet of their own.
SHORT = 8
# Longer answers show nothing more.
MOST_TOKENS = 512
# One round of a slow server and a large batch.
ROUND_TIMEOUT_S = 600.0
# The part of a batch size's seconds that goes into prompts; the rest goes into answers.
_PROMPTS_SHARE = 1 / 3
_TRIAL = 16
_WATCH_S = 1.0
_SETTLE_S = 0.05
_SETTLE_TRIES = 10
# Every letter, digit and mark: whatever the tokenizer makes of it are ordinary tokens of the model.
_TEXT = "".join(map(chr, range(32, 127))) + " the quick brown fox jumps over a lazy dog; 0123456789 orders, invoices and refunds were answered within the hour"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: batch sizes, about how many seconds for each, the prompts' length in tokens, the longest answer, and a seed that was never used."""

    batches: tuple[int, ...] = BATCHES
    seconds: float = 10.0
    prompt_tokens: int = PROMPT_TOKENS
    most_tokens: int = MOST_TOKENS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """How far it is, in batch sizes (`done` of `total`), for a progress line."""

    phase: str
    done: int
    total: int
    eta_s: float | None = None
    loss: float | None = None
    tokens_per_s: float | None = None


@dataclass(slots=True)
class Bench:
    """One server under measurement: where, as which model, from which token ids, by which clock (seconds, any origin)."""

    client: Client
    model: str
    vocabulary: Sequence[int]
    clock: Callable[[], float]
    rng: random.Random
    sent: list[int] = field(default_factory=lambda: [0, 0])


async def prepared(client: Client, model: str, seed: int, clock: Callable[[], float]) -> Bench:
    """A bench for `model`. Raises UpstreamError when the server does not answer or has no tokenizer."""
    ids = sorted(set(await client.ids(model, _TEXT)))
    if len(ids) < 2:
        raise UpstreamError(f"{client.url} makes fewer than two tokens of a text; prompts cannot be told apart")
    return Bench(client, model, ids, clock, random.Random(seed))  # noqa: S311  prompts, not secrets


async def busy(client: Client, watch_s: float = _WATCH_S) -> str | None:
    """Why the engine is not ours alone: it has requests, its counters move, or it has none. None: nobody uses it."""
    looks: list[Counters] = []
    for pause in (0.0, watch_s):
        await asyncio.sleep(pause)
        counters = read(await client.metrics())
        if counters is None:
            return "its /metrics has none of vLLM's counters, so nobody can say whether it is busy"
        if counters.busy:
            return f"it has {counters.running} running and {counters.waiting} waiting requests"
        looks.append(counters)
    grown = looks[1].prompt + looks[1].generated - looks[0].prompt - looks[0].generated
    return f"it did {grown} tokens of work within {watch_s:g} s" if grown else None


async def calibrate(bench: Bench, plan: Plan, keep: Callable[[Point], None], progress: Callable[[Moment], None]) -> None:
    """Measure each batch size and hand it to `keep`: whatever ends this early, what was kept is good. Raises UpstreamError when the server fails."""
    began, total = bench.clock(), len(plan.batches)
    for done, batch in enumerate(plan.batches):
        spent = bench.clock() - began
        progress(Moment(f"batch {batch}", done, total, eta_s=spent / done * (total - done) if done else plan.seconds * total))
        keep(await _point(bench, plan, batch))
    progress(Moment("measured", total, total))


async def _point(bench: Bench, plan: Plan, batch: int) -> Point:
    before = await _counted(bench)
    sent = tuple(bench.sent)
    prefill = await _prefill(bench, plan, batch)
    decode = await _decode(bench, plan, batch)
    return Point(batch, prefill, decode, disturbed=await _disturbed(bench, before, sent))


async def _prefill(bench: Bench, plan: Plan, batch: int) -> float:
    """Prompt tokens per second."""
    await _round(bench, batch, plan.prompt_tokens, 1)  # the first batch of a shape is slow
    tokens, spent = 0, 0.0
    while spent < plan.seconds * _PROMPTS_SHARE:
        seconds, prompt, _ = await _round(bench, batch, plan.prompt_tokens, 1)
        tokens, spent = tokens + prompt, spent + seconds
    return tokens / spent


async def _decode(bench: Bench, plan: Plan, batch: int) -> float:
    """Generated tokens per second."""
    budget = plan.seconds * (1 - _PROMPTS_SHARE)
    trial, _, _ = await _round(bench, batch, SHORT, min(_TRIAL, plan.most_tokens))
    length = max(min(int(_TRIAL * budget / 2 / max(trial, 1e-6)), plan.most_tokens), min(_TRIAL, plan.most_tokens))
    tokens, spent, used = 0, 0.0, 0.0
    while used < budget:
        first, _, _ = await _round(bench, batch, SHORT, 1)
        whole, _, made = await _round(bench, batch, SHORT, length)
        used += first + whole
        # A server so quick that both take the same shows no difference; its long round is then all there is to go by.
        tokens, spent = tokens + made - batch, spent + (whole - first if whole > first else whole)
    return tokens / spent


async def _round(bench: Bench, batch: int, prompt_tokens: int, tokens: int) -> tuple[float, int, int]:
    """(seconds, prompt tokens, generated tokens) of one batch of new prompts."""
    prompts = [bench.rng.choices(bench.vocabulary, k=prompt_tokens) for _ in range(batch)]
    began = bench.clock()
    prompt, made = await bench.client.generate(bench.model, prompts, tokens, ROUND_TIMEOUT_S)
    seconds = bench.clock() - began
    if made != batch * tokens:
        raise StateError(f"{bench.client.url} generated {made} tokens where {batch * tokens} were asked for; it does not honour `ignore_eos`")
    bench.sent[0] += prompt
    bench.sent[1] += made
    return max(seconds, 1e-9), prompt, made


async def _counted(bench: Bench) -> Counters | None:
    return read(await bench.client.metrics())


async def _disturbed(bench: Bench, before: Counters | None, sent: tuple[int, ...]) -> bool:
    """Whether the counters grew by anything but what was sent. They are written just after an answer is."""
    wanted = (bench.sent[0] - sent[0], bench.sent[1] - sent[1])
    for _ in range(_SETTLE_TRIES):
        after = await _counted(bench)
        if before is None or after is None:
            return False
        grown = (after.prompt - before.prompt, after.generated - before.generated)
        if grown == wanted:
            return False
        if any(have > want for have, want in zip(grown, wanted, strict=True)):
            return True
        await asyncio.sleep(_SETTLE_S)
    return True
