"""The demo's customers: sends tickets through the gateway with the official `openai` SDK and counts what came back.

A closed loop of a few clients with a little think time; every third request streams. Not here: what the tickets say (tickets.py), starting things (run.py).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from openai import AsyncOpenAI, OpenAIError

from deploy.demo.tickets import Ticket


@dataclass(slots=True)
class Tally:
    """What the customers saw. Latencies in milliseconds, one per answered request; `local` counts answers whose backend was not hosted."""

    sent: int = 0
    failed: int = 0
    local: int = 0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Requests that got a whole answer."""
        return self.sent - self.failed

    def percentile(self, q: float) -> float:
        """The q-quantile of the latencies, milliseconds; 0 where nothing was answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


async def _ask(client: AsyncOpenAI, ticket: Ticket, stream: bool) -> str:
    """One request; the `model` field of the answer, which names an engine when the answer was local."""
    messages = list(ticket.messages)
    if not stream:
        answer = await client.chat.completions.create(model="support-triage", messages=messages, temperature=0, max_tokens=64)  # type: ignore[arg-type]
        return answer.model
    model = ""
    chunks = await client.chat.completions.create(model="support-triage", messages=messages, temperature=0, max_tokens=64, stream=True)  # type: ignore[arg-type]
    async for chunk in chunks:
        model = chunk.model or model
    return model


async def _customer(client: AsyncOpenAI, queue: list[tuple[int, Ticket]], tally: Tally, think_s: Callable[[], float]) -> None:
    while queue:
        number, ticket = queue.pop()
        started = time.perf_counter()
        tally.sent += 1
        try:
            model = await _ask(client, ticket, stream=number % 3 == 0)
        except OpenAIError as error:
            tally.failed += 1
            tally.errors.append(f"{type(error).__name__}: {error}"[:200])
        else:
            tally.latencies.append((time.perf_counter() - started) * 1000)
            tally.local += model.startswith("local")
        await asyncio.sleep(think_s())


async def send(base_url: str, key: str, tickets: Sequence[Ticket], clients: int, tally: Tally) -> None:
    """Send every ticket once through `base_url` with `clients` concurrent customers, adding to `tally` as answers come."""
    rng = random.Random(len(tickets))
    queue = list(enumerate(tickets))[::-1]
    async with AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60) as client:
        await asyncio.gather(*(_customer(client, queue, tally, lambda: rng.uniform(0, 0.02)) for _ in range(clients)))
