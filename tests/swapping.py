"""Swapping adapters under load, and who answered: a constant stream of requests through a gateway while versions come and go.

Versions take turns among three adapters whose answers to each prompt differ, so an answer shows which weights made it, whatever it says of itself. Shared by
the short form (tests/serving/test_swaps.py) and the proof (tests/proof/test_swaps.py).
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from sqlalchemy import Engine, select

from gateway.store.tables import exchanges
from serving.database import reading

ADAPTER = "swap"
COLOURS = ("red", "green", "blue")
PROMPTS = ("The order", "My parcel has", "Refund of", "Dear team,")
TOKENS = 6
CLIENTS = 6


def question(prompt: str) -> dict[str, Any]:
    """A short greedy completion."""
    return {"prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "seed": 1}


def colour(version: int) -> str:
    """Whose weights a version has: neighbours, and their neighbours, differ."""
    return COLOURS[version % len(COLOURS)]


def variant(adapters: Path, version: int) -> str:
    """A directory with the weights of that version's colour and a digest of its own: its path."""
    target = adapters / f"{ADAPTER}-{version}"
    shutil.copytree(adapters / colour(version), target)
    (target / "README.md").write_text(f"version {version}")
    return str(target)


def truth(url: str, models: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """What each colour answers to each prompt, asked of the engine itself. `models` are the names it knows them by. No two colours may answer the same."""
    found = {}
    for name, model in models.items():
        for prompt in PROMPTS:
            answer = httpx.post(f"{url}/v1/completions", json={"model": model, **question(prompt)}, timeout=60)
            answer.raise_for_status()
            found[name, prompt] = str(answer.json()["choices"][0]["text"])
    for prompt in PROMPTS:
        assert len({found[name, prompt] for name in models}) == len(models), f"{prompt!r} does not tell the adapters apart"
    return found


@dataclass(slots=True)
class Seen:
    """One answer as the client had it; instants are of the monotonic clock, in seconds."""

    began: float
    ended: float
    id: str
    status: int
    model: str
    prompt: str
    text: str


@dataclass(slots=True)
class Load:
    """Requests from `CLIENTS` clients, each sending the next as soon as it has an answer, until `stop`. `over`: at once."""

    url: str
    route: str
    seen: list[Seen] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stop: bool = False
    over: bool = False

    async def run(self, most: int) -> None:
        """Until `stop` is set and `most` requests were sent."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
            await asyncio.gather(*(self._client(http, n, most) for n in range(CLIENTS)))

    async def _client(self, http: aiohttp.ClientSession, number: int, most: int) -> None:
        turn = number
        while not self.over and not (self.stop and len(self.seen) + len(self.lost) >= most):
            prompt = PROMPTS[turn % len(PROMPTS)]
            turn += 1
            began = time.monotonic()
            try:
                async with http.post(f"{self.url}/v1/completions", json={"model": self.route, **question(prompt)}) as answer:
                    body = await answer.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self.lost.append(repr(error))
                continue
            text = str(body["choices"][0]["text"]) if answer.status == 200 else str(body)
            self.seen.append(Seen(began, time.monotonic(), answer.headers.get("x-request-id", ""), answer.status, str(body.get("model")), prompt, text))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it. `failed` and `wrong` hold sentences; milliseconds."""

    requests: int
    failed: list[str]
    wrong: list[str]
    versions: int
    p50_ms: float
    p99_ms: float
    p99_loading_ms: float
    loading: int


def judge(load: Load, answers: Mapping[tuple[str, str], str], rows: Mapping[str, int | None], loads: list[tuple[float, float]]) -> Verdict:
    """Every answer against its ledger row (`rows`: request id -> adapter version), its own `model` and the weights that made it.

    `loads` are the spans of time in which an adapter was loaded and verified.
    """
    failed = [*load.lost, *(f"{one.status} {one.text[:200]}" for one in load.seen if one.status != 200)]
    wrong, during, outside = list[str](), list[float](), list[float]()
    good = [one for one in load.seen if one.status == 200]
    for one in good:
        version = rows.get(one.id)
        if version is None or one.model != f"local/{ADAPTER}@{version}" or one.text != answers[colour(version), one.prompt]:
            whose = [name for (name, prompt), text in answers.items() if (prompt, text) == (one.prompt, one.text)]
            wrong.append(f"{one.id}: row {version}, answer {one.model}, text of {whose}")
        loading = any(one.began < end and one.ended > start for start, end in loads)
        (during if loading else outside).append(1000 * (one.ended - one.began))
    versions = len({one.model for one in good})
    quiet, loaded = sorted(outside) or [0.0], sorted(during) or [0.0]
    return Verdict(len(load.seen) + len(load.lost), failed, wrong, versions, _share(quiet, 0.5), _share(quiet, 0.99), _share(loaded, 0.99), len(during))


def booked(database: Engine, ids: list[str], wait_s: float = 60.0, pull: Callable[[], object] | None = None) -> dict[str, int | None]:
    """The adapter version of each request's settled row, once all are there; `pull` brings rows in where no controller does."""
    deadline = time.monotonic() + wait_s
    wanted = set(ids)
    while True:
        if pull is not None:
            pull()
        with reading(database) as conn:
            found = {row.id: row.adapter_version for row in conn.execute(select(exchanges.c.id, exchanges.c.adapter_version)) if row.id in wanted}
        if len(found) == len(wanted) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


@dataclass(slots=True)
class Operator:
    """Whoever swaps: `add` takes a directory and gives its version, `ask(verb, version)` carries out a verb and gives the adapter's document."""

    adapters: Path
    add: Callable[[str], int]
    ask: Callable[[str, int | None], Mapping[str, Any]]
    loads: list[tuple[float, float]] = field(default_factory=list)
    swaps: int = 0
    rollbacks: int = 0
    newest: int = 0

    def swap(self) -> None:
        """A new version goes in and live; the one before the previous leaves."""
        began = time.monotonic()
        number = self.add(variant(self.adapters, self.newest + 1))
        assert number == self.newest + 1
        self.newest = number
        found = self.ask("promote", number)
        self.loads.append((began, time.monotonic()))
        assert found["live"] == number, found
        self.swaps += 1
        keep = {found["live"], found["previous"]}
        for old in found["versions"]:
            if old["state"] == "loaded" and old["version"] not in keep:
                self.ask("retire", old["version"])

    def back(self) -> None:
        """One call takes the live version back."""
        before = self.ask("load", self.newest)
        found = self.ask("rollback", None)
        assert found["live"] == before["previous"] != before["live"], (before, found)
        self.rollbacks += 1

    def work(self, load: Load, swaps: int, rollbacks: int, requests: int, seconds: float = math.inf) -> None:
        """So many swaps, spread over the requests, with the rollbacks spread over the swaps; what is done after `seconds` is all. Blocking."""
        end = time.monotonic() + seconds
        try:
            while self.swaps < swaps and time.monotonic() < end:
                due = requests * self.swaps // (swaps + 1)
                while len(load.seen) < due and time.monotonic() < end:
                    time.sleep(0.02)
                self.swap()
                if self.rollbacks < rollbacks * self.swaps // swaps:
                    self.back()
            load.stop = True
            while len(load.seen) + len(load.lost) < requests and time.monotonic() < end:
                time.sleep(0.1)
        finally:
            load.stop = load.over = True


def _share(values: list[float], share: float) -> float:
    """A quantile of sorted values."""
    return values[min(len(values) - 1, int(share * len(values)))]
