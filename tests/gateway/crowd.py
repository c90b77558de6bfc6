"""Many clients at once against a real `breakeven serve` with a nearly spent budget: what its provider would bill, counted by the provider itself."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.conftest import TIMEOUTS, price, provider
from tests.gateway.live_gateway import config_of
from tests.gateway.upstream_server import UpstreamServer, Wire, completion, usage

ENTERED, MOST_MADE = 9, 100
# Dollars per million tokens are thousands of nano-dollars per token.
PER_INPUT, PER_OUTPUT = 10, 2_000


@dataclass
class Provider:
    """Answers after a moment with a random number of tokens, and adds up what it would bill in nano-dollars."""

    seed: int = 1
    billed: int = 0
    calls: int = 0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    async def __call__(self, wire: Wire) -> None:
        made = self.rng.randint(1, wire.seen.body.get("max_tokens", MOST_MADE))
        self.calls += 1
        self.billed += ENTERED * PER_INPUT + made * PER_OUTPUT
        await asyncio.sleep(self.rng.random() * 0.05)
        await wire.json(completion(usage=usage(ENTERED, made)))


def configure(directory: Path, upstream: UpstreamServer, workers: int, budget: str, **more: Any) -> Path:
    """Route `r` with a budget of so many dollars a day, route `free` without."""
    route = {"candidates": [{"provider": "one", "model": "m"}], "timeouts": TIMEOUTS}
    body = {
        "server": {"default_provider": "one", "workers": workers},
        "providers": {"one": provider(upstream)},
        "prices": [price("one", "m", "0.01", "2")],
        "routes": {"r": {**route, "budget": {"usd_per_day": budget}}, "free": route},
        **more,
    }
    config_of(directory, body)
    return directory / "breakeven.yaml"


@contextmanager
def serving(config: Path, seconds: float = 90) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`breakeven serve`, ready, and its URL; killed at the end if it still runs."""
    command = [sys.executable, "-c", "import breakeven; breakeven.main()", "serve", "-c", str(config)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BREAKEVEN")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ)
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening on" in line, line
        yield line.split()[-1], process
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def workers_of(process: subprocess.Popen[str], count: int) -> list[int]:
    """The process ids of the first `count` children of the arbiter, which are its workers."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()][:count]


def crowd(url: str, clients: int, ask: dict[str, Any], seconds: float = 60.0, secret: str = "-") -> Counter[str]:
    """Each client asks again and again until it is told that the quota is gone: how often which answer was given. What passes is waited out."""

    async def one(client: httpx.AsyncClient, seen: Counter[str], end: float) -> None:
        while time.monotonic() < end:
            try:
                answer = await client.post("/v1/chat/completions", json=ask)
            except httpx.TransportError:
                seen["connection"] += 1
                await asyncio.sleep(0.05)
                continue
            said = "ok" if answer.status_code == 200 else answer.json()["error"]["code"]
            seen[said] += 1
            if said == "insufficient_quota":
                return
            if said != "ok":
                await asyncio.sleep(0.2)

    async def all_of_them() -> Counter[str]:
        seen: Counter[str] = Counter()
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits, headers={"authorization": f"Bearer {secret}"}) as client:
            end = time.monotonic() + seconds
            await asyncio.gather(*(one(client, seen, end) for _ in range(clients)))
        return seen

    return asyncio.run(all_of_them())


def budget(url: str, **which: str) -> dict[str, Any]:
    """A budget as the gateway shows it."""
    wanted = {"scope": "route", "id": "r", **which}
    (found,) = [each for each in httpx.get(f"{url}/admin/budgets", timeout=30).json()["data"] if all(each[name] == value for name, value in wanted.items())]
    return dict(found)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something to happen."""
    end = time.monotonic() + seconds
    while not _holds(true):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def _holds(true: Callable[[], bool]) -> bool:
    with suppress(httpx.TransportError):
        return true()
    return False
