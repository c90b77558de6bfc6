"""One connection of a client that loads: it asks, takes the whole answer, and asks again until time is up. Figures go to a tally shared by all clients."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import httptools
from typing_extensions import override

from gateway.bench.messages import CHUNKS, DONE, STAMP

_OK = 200


@dataclass(frozen=True, slots=True)
class Job:
    """`request` is sent as it is, over and over, by `clients` connections for `seconds`; each client asks at least once, and not again within `every_s`.

    `stagger_s` spreads their starts; an answer that brings nothing for `stall_s` is broken, and `grace_s` is how long the last ones may take. `keep`: whether
    single latencies and delays are wanted (a soak would fill memory with them).
    """

    host: str
    port: int
    request: str
    clients: int
    seconds: float
    stream: bool = False
    stagger_s: float = 0.0
    stall_s: float = 10.0
    grace_s: float = 15.0
    keep: bool = True
    every_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What a job brought. Latencies are of whole answers, delays of single events since the upstream sent them; `done` counts whole answers."""

    done: int
    failed: dict[str, int]
    elapsed_s: float
    latency_us: list[int]
    delay_us: list[int]


@dataclass(slots=True)
class Tally:
    """Counted while a job runs. `ends` is in `perf_counter` seconds; asked before it, an answer is still taken after it."""

    ends: float
    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    latency_us: array[int] = field(default_factory=lambda: array("Q"))
    delay_us: array[int] = field(default_factory=lambda: array("q"))

    def figures(self, elapsed_s: float) -> Figures:
        """As plain values."""
        return Figures(self.done, dict(self.failed), elapsed_s, self.latency_us.tolist(), self.delay_us.tolist())


class Events:
    """A stream as it comes, in pieces cut anywhere: counts its stamped events and how late each is."""

    __slots__ = ("_rest", "chunks", "ended")

    def __init__(self) -> None:
        self._rest = b""
        self.chunks = 0
        self.ended = False

    def add(self, data: bytes, now_us: int) -> list[int]:
        """Microseconds that each event completed by `data` has been under way."""
        data = self._rest + data
        cut = data.rfind(b"\n\n") + 2
        if cut == 1:
            self._rest = data
            return []
        self._rest = data[cut:]
        late = [now_us - int(stamp) for stamp in STAMP.findall(data, 0, cut)]
        self.chunks += len(late)
        self.ended = self.ended or data.find(DONE, 0, cut) >= 0
        return late

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.ended and self.chunks == CHUNKS


class Caller(asyncio.Protocol):
    """Made by an event loop. `over` is resolved when the connection is gone, or time is up and the last answer taken."""

    def __init__(self, job: Job, tally: Tally, over: asyncio.Future[None]) -> None:
        self._job, self._tally, self._over = job, tally, over
        self._request = job.request.encode()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._loop = asyncio.get_running_loop()
        self._events = Events()
        self._began = 0.0
        self._asking = self._touched = False
        self._watch: asyncio.TimerHandle | None = None
        self._next: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._watch = self._loop.call_later(self._job.stall_s, self._check)
        self._ask()

    @override
    def data_received(self, data: bytes) -> None:
        self._touched = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("malformed")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._asking:
            self._fail("cut")
        self._end()

    def on_body(self, body: bytes) -> None:
        """Called by httptools: a part of the answer."""
        if self._job.stream:
            late = self._events.add(body, time.monotonic_ns() // 1000)
            if self._job.keep:
                self._tally.delay_us.extend(late)

    def on_message_complete(self) -> None:
        """Called by httptools: the answer is here."""
        now = time.perf_counter()
        status = self._parser.get_status_code()
        if status != _OK:
            self._fail(f"status {status}")
        elif self._job.stream and not self._events.whole:
            self._fail("short")
        else:
            self._asking = False
            self._tally.done += 1
            if self._job.keep:
                self._tally.latency_us.append(int((now - self._began) * 1e6))
            if not self._parser.should_keep_alive():
                self._end()
            elif (wait_s := self._began + self._job.every_s - now) > 0.0:
                self._next = self._loop.call_later(wait_s, self._again)
            else:
                self._again()

    def _again(self) -> None:
        self._touched = True  # what was waited until now is no stall
        if time.perf_counter() < self._tally.ends:
            self._ask()
        else:
            self._end()

    def _ask(self) -> None:
        if self._job.stream:
            self._events = Events()
        self._asking = True
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def _check(self) -> None:
        if self._asking and not self._touched:
            self._fail("stalled")
            return
        self._touched = False
        self._watch = self._loop.call_later(self._job.stall_s, self._check)

    def _fail(self, how: str) -> None:
        """This answer is no good, and the connection may not be either."""
        if self._asking:
            self._asking = False
            self._tally.failed[how] += 1
            self._transport.abort()

    def _end(self) -> None:
        for timer in (self._watch, self._next):
            if timer is not None:
                timer.cancel()
        if not self._over.done():
            self._over.set_result(None)
