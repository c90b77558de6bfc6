"""Money in and money out: random traffic with faults through the real program while parts of it are killed, and the two sides of the bill compared row by row.

The provider is the sandbox in this process, whose log is the provider's side; the ledger is the other. Each request carries a number of its own in its
message and as a tag, so that every call on one side is found on the other.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx

from gateway.sandbox import Running
from gateway.sandbox.faults import Armed, Fault, FaultName
from gateway.sandbox.log import Entry
from gateway.store import exchanges
from gateway.store.exchanges import Filter
from gateway.store.ingest import Ingester
from router.types import Attempt, Exchange, Outcome
from serving.database import connect, reading
from tests.gateway.batches.test_kill import Program
from tests.gateway.live_gateway import config_of

# Dollars per million tokens: input, cached input, output. Odd ones, so that rounding matters.
PRICES: Mapping[str, tuple[str, str, str]] = {"gpt-4o-mini": ("0.150007", "0.0750003", "0.600001"), "gpt-4o": ("2.500013", "1.25", "10.000017")}
WORKERS = ("worker", "program")
_FAULTS = (
    *(FaultName.RATE_LIMIT, FaultName.SERVER_ERROR, FaultName.UNAVAILABLE, FaultName.HTML_502, FaultName.RESET, FaultName.CUT, FaultName.MALFORMED_CHUNK),
    *(FaultName.MISSING_DONE, FaultName.NO_USAGE, FaultName.CONTEXT_LENGTH, FaultName.CONTENT_FILTER_FINISH),
)


def configuration(directory: Path, base_url: str) -> Path:
    """A configuration with two hosted candidates; its directory."""
    prices = [
        {"provider": "openai", "model": model, "input_usd_per_m": one, "cached_input_usd_per_m": two, "output_usd_per_m": three}
        for model, (one, two, three) in PRICES.items()
    ]
    body = {
        "providers": {"openai": {"base_url": base_url, "api_key": "sk-sandbox", "sandbox": True}},
        "prices": prices,
        "routes": {"mixed": {"candidates": [{"provider": "openai", "model": model} for model in PRICES]}},
    }
    config_of(directory, body)
    return directory


@dataclass(slots=True)
class Traffic:
    """Clients that ask until they are stopped. `answered` and `failed`: ids of exchanges the clients were told of; `left`: how many streams they left."""

    url: str
    seed: int
    answered: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    left: int = 0
    sent: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def client(self, number: int, sandbox: Running) -> None:
        """One client's life."""
        chance = random.Random(f"{self.seed}/{number}")
        with httpx.Client(timeout=30, trust_env=False) as http:
            while not self.stop.is_set():
                # One at a time: requests that reach nobody must not pile faults up.
                if chance.random() < 0.3 and not sandbox.app.faults.armed(time.time()):
                    sandbox.app.faults.arm(Armed(Fault(chance.choice(_FAULTS), after=2)))
                try:
                    self._ask(http, chance)
                except httpx.HTTPError:
                    time.sleep(0.05)  # killed, or not up again

    def _ask(self, http: httpx.Client, chance: random.Random) -> None:
        self.sent += 1
        number, stream = f"{chance.getrandbits(64):016x}", chance.random() < 0.6
        body = {"model": "mixed", "messages": [{"role": "user", "content": f"{'word ' * chance.randrange(60)}{number}"}], "stream": stream}
        leaves = stream and chance.random() < 0.15
        with http.stream("POST", f"{self.url}/v1/chat/completions", json=body, headers={"x-breakeven-tags": f"number={number}"}) as answer:
            identity = answer.headers["x-request-id"]
            self.failed.add(identity)
            if leaves:
                self.left += 1
                next(answer.iter_raw(), None)
                return
            whole = answer.read()
        if answer.status_code == 200 and (not stream or whole.endswith(b"data: [DONE]\n\n")):
            self.failed.discard(identity)
            self.answered.add(identity)


class Killer:
    """The program, and kill -9 of its parts. `killed`: which, in order."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.killed = directory, list[str]()
        self.program = Program(directory)

    def kill(self, part: str) -> None:
        """Kill the worker, the controller, or all of it; what does not come back by itself is started again."""
        self.killed.append(part)
        if part == "program":
            self.program.kill()
            self.program = Program(self.directory)
            return
        for pid in Path(f"/proc/{self.program.process.pid}/task/{self.program.process.pid}/children").read_text().split():
            if (b"controller" in _said(int(pid))) == (part == "controller"):
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
                    return

    def end(self) -> None:
        """Stop it as an operator does, or at least kill it."""
        if self.program.process.poll() is None:
            self.program.stop()


def _said(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/comm").read_bytes()
    return b""


def run(
    directory: Path, sandbox: Running, parts: Sequence[str], seed: int, clients: int = 4, between_s: tuple[float, float] = (0.3, 1.2)
) -> tuple[Traffic, Killer]:
    """Traffic, with each of `parts` killed in turn at a random moment; all of it over when this returns."""
    chance = random.Random(seed)
    killer = Killer(configuration(directory, sandbox.base_url))
    traffic = Traffic(killer.program.url, seed)
    threads = [threading.Thread(target=traffic.client, args=(number, sandbox), daemon=True) for number in range(clients)]
    try:
        for thread in threads:
            thread.start()
        for part in parts:
            enough = len(traffic.answered) + 5
            _wait(lambda enough=enough: len(traffic.answered) >= enough)  # type: ignore[misc]
            time.sleep(chance.uniform(*between_s))
            killer.kill(part)
            traffic.url = killer.program.url
        enough = len(traffic.answered) + 5
        _wait(lambda: len(traffic.answered) >= enough)
    finally:
        traffic.stop.set()
        for thread in threads:
            thread.join(60)
        killer.end()
    return traffic, killer


def _wait(true: Any) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "the traffic does not go on"
        time.sleep(0.02)


def ledger(directory: Path) -> list[Exchange]:
    """Every row there is, once the spool is empty."""
    engine = connect(f"sqlite:///{directory / 'breakeven.db'}")
    ingester = Ingester(engine, directory / "data" / "spool")
    ingester.run_once()
    ingester.recover()
    assert (ingester.open, ingester.corrupt) == (0, 0)
    ingester.close()
    found: list[Exchange] = []
    cursor = None
    while True:
        with reading(engine) as conn:
            page = exchanges.page(conn, Filter(), cursor, 1000)
        found += [entry.exchange for entry in page.entries]
        cursor = page.next_cursor
        if cursor is None:
            engine.dispose()
            return found


def bill(entry: Entry) -> int:
    """What the provider charges for one call, in nano-dollars, rounded once, a half to even."""
    one, two, three = (Fraction(price) * 1000 for price in PRICES[str(entry.model)])
    return round((entry.prompt_tokens - entry.cached_tokens) * one + entry.cached_tokens * two + entry.completion_tokens * three)


@dataclass(slots=True)
class Books:
    """Both sides. Nano-dollars of the calls whose usage the provider told the ledger, and how many rows are not like that."""

    ledger_nanousd: int = 0
    provider_nanousd: int = 0
    matched: int = 0
    estimated: int = 0
    interrupted: int = 0


def compare(rows: Sequence[Exchange], log: Sequence[Entry], traffic: Traffic, killer: Killer, clients: int = 4) -> Books:
    """Find every call on the other side; AssertionError where they differ."""
    seen: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(log, key=lambda each: each.time):
        if entry.body is not None:
            seen[entry.body["messages"][-1]["content"].split()[-1]].append(entry)
    books = Books()
    assert len({row.id for row in rows}) == len(rows)
    missing = (traffic.answered | traffic.failed) - {row.id for row in rows}
    assert not missing, f"{len(missing)} exchanges that clients know of have no row"
    for row in rows:
        if row.outcome is Outcome.INTERRUPTED:
            books.interrupted += 1
            assert row.cost_nanousd is None
            continue
        calls = [call for call in row.attempts if call.error != "upstream_unreachable" or call.status is not None]
        entries = seen.pop(row.tags["number"], [])
        assert len(entries) >= len(calls), row
        for call, entry in zip(calls, _one_each(calls, entries), strict=True):
            _compare(call, entry, books)
        costs = [call.cost_nanousd for call in row.attempts]
        assert row.cost_nanousd == (None if None in costs else sum(cost or 0 for cost in costs)), row
    _explained(books, seen, log, traffic, killer, clients)
    return books


def _one_each(calls: Sequence[Attempt], entries: Sequence[Entry]) -> list[Entry]:
    """The provider's entry of each call. A kept connection that is reset before any answer is as good as closed: the call goes out again on another one,
    and the provider has an entry for both."""
    left, found = list(entries), []
    for _ in calls:
        while len(left) > 1 and left[0].fault == FaultName.RESET and left[1].model == left[0].model:
            assert not left[0].completion_tokens
            left.pop(0)
        found.append(left.pop(0))
    return found


def _compare(call: Attempt, entry: Entry, books: Books) -> None:
    assert call.backend == f"openai/{entry.model}"
    if call.usage_state == "estimated":
        books.estimated += 1
        assert entry.fault is not None or entry.outcome in {"cancelled", "broken"} or call.error is not None, (call, entry)
    elif call.usage_state == "provider" and (call.usage.input or call.usage.output):
        told, billed = (call.usage.input, call.usage.cached, call.usage.output), (entry.prompt_tokens, entry.cached_tokens, entry.completion_tokens)
        assert told == billed, (told, billed, entry.fault, entry.outcome, entry.stream, call.error, call.status)
        books.matched += 1
        books.ledger_nanousd += call.cost_nanousd or 0
        books.provider_nanousd += bill(entry)
        assert call.cost_nanousd == bill(entry), (call, entry)
    elif call.usage_state == "provider":
        # nothing was sent that costs anything
        assert call.cost_nanousd == 0, (call, entry)


def _explained(books: Books, unmatched: Mapping[str, list[Entry]], log: Sequence[Entry], traffic: Traffic, killer: Killer, clients: int) -> None:
    """What stands apart is no more than the kills, the faults and the clients that left explain."""
    deaths = sum(part in WORKERS for part in killer.killed)
    assert books.interrupted <= deaths * clients, (books, killer.killed)
    assert len(unmatched) <= books.interrupted, (len(unmatched), books)
    cut = sum(entry.fault is not None or entry.outcome in {"cancelled", "broken"} for entry in log)
    assert books.estimated <= cut + traffic.left, books
    assert books.ledger_nanousd == books.provider_nanousd
