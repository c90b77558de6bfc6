"""One vLLM replica in virtual time: first come first served, continuous batching with chunked prefill, a bound on sequences and on KV tokens.

A step takes the time of its tokens (decodes and the prefill chunk) plus reading the KV cache. Steps in which nothing changes are taken many at once, so the
cost is per event and not per token. At most `lora_slots` adapters are in a batch (vLLM's max_loras): a request whose adapter has no slot is passed over until
one is free; loading one stalls the step. A simplification, on purpose: a sequence waits until its whole answer fits the KV cache (vLLM preempts instead).
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import ceil, inf
from typing import NamedTuple

# Tokens in a step -> milliseconds, linear layers of a 7B model on one H100, measured by Vidur (MIT, microsoft/vidur), plus what else a step costs.
H100_7B = ((1, 5.6), (8, 5.6), (32, 5.9), (64, 5.9), (128, 6.4), (256, 9.3), (512, 12.1), (1024, 21.3), (2048, 41.0), (4096, 84.5))
_MOST_STEPS = 32  # taken at once at most, so that the growing KV cache is felt


class EngineShape(NamedTuple):
    """What a replica can do. `overhead_ms` is sampling and the engine's own work per step, `kv_us` the time to read one cached token in one step.

    `lora_slots` adapters fit at once (0: all of them, and loading costs nothing); `lora_load_ms` is what loading one takes.
    """

    step_ms: tuple[tuple[int, float], ...] = H100_7B
    overhead_ms: float = 1.5
    kv_us: float = 0.03
    most_seqs: int = 128
    most_batched: int = 2048
    kv_tokens: int = 400_000
    lora_slots: int = 0
    lora_load_ms: float = 0.0

    def step_s(self, tokens: int, kv: float) -> float:
        """Seconds of one step over `tokens` tokens with `kv` tokens in the cache."""
        return (_interpolated(self.step_ms, tokens) + self.overhead_ms) / 1000.0 + kv * self.kv_us / 1e6

    def slots(self) -> int:
        """How many sequences decode at (nearly) full speed: where a step takes half as long again as with one."""
        alone = self.step_s(1, 0.0)
        best = 1
        for tokens in range(1, self.most_seqs + 1):
            if self.step_s(tokens, tokens * 1200.0) <= 1.5 * alone:
                best = tokens
        return best

    def work_s(self, entered: int, made: int) -> float:
        """GPU-seconds of a request on a well used engine: its prefill in the largest chunk, its decodes in the fullest batch, its own cache read each step."""
        chunk, batch = self.most_batched, self.most_seqs
        decodes = max(made - 1, 0)
        return entered * self.step_s(chunk, 0.0) / chunk + decodes * self.step_s(batch, 0.0) / batch + self._read_s(entered, decodes)

    def least_work_s(self, entered: int, made: int, mixed: float) -> float:
        """GPU-seconds no schedule can be below, for any `mixed` in 0..1.

        A step lasts at least as long as an empty one, and at least as long as its tokens at the best rate; it has `most_seqs` decodes at most. Any mean of
        the two bounds is a bound, so each decode is charged `mixed` of its share of an empty step, and every token the rest at the best rate.
        """
        rate = min(self.step_s(tokens, 0.0) / tokens for tokens, _ in (*self.step_ms, (self.most_batched, 0.0)) if tokens <= self.most_batched)
        share = self.step_s(1, 0.0) / self.most_seqs
        decodes = max(made - 1, 0)
        return mixed * share * decodes + (1.0 - mixed) * rate * (entered + decodes) + self._read_s(entered, decodes)

    def _read_s(self, entered: int, decodes: int) -> float:
        """Seconds of reading a sequence's own cache in all of its decodes: its prompt, and one token more each time."""
        return decodes * (entered + max(decodes - 1, 0) / 2) * self.kv_us / 1e6


class Job(NamedTuple):
    """A request at a replica; `entered` are the prompt's tokens that the prefix cache does not hold."""

    key: int
    entered: int
    made: int
    context: int
    adapter: int = 0


class Event(NamedTuple):
    """At `at`, job `key` has its first token, or is done."""

    at: float
    key: int
    done: bool


class Replica:
    """`submit` jobs in order of time, `advance` to an instant for what happened until then; `next_at` is when something happens next (or may)."""

    def __init__(self, shape: EngineShape) -> None:
        self.shape = shape
        self.slow = 1.0
        self.busy_s = 0.0
        self._steps = 0
        self._at = 0.0
        self._empty()

    def _empty(self) -> None:
        self.waiting: deque[Job] = deque()
        self._prefilling: deque[list[int]] = deque()
        self._decoding: list[tuple[int, int]] = []
        self._jobs: dict[int, Job] = {}
        self._gone: set[int] = set()
        self._since: dict[int, int] = {}  # the step after which a sequence had its first token
        self._kv = 0
        self._reserved = 0
        self._loaded: dict[int, None] = {}  # adapters in their slots, least recently used first
        self._plan: tuple[float, int, dict[int, int]] | None = None

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self._jobs)

    @property
    def kv(self) -> int:
        """Tokens in the KV cache of the sequences that decode."""
        return self._kv

    @property
    def kv_share(self) -> float:
        """The share of the KV cache that is spoken for."""
        return self._reserved / self.shape.kv_tokens

    @property
    def next_at(self) -> float:
        """When the steps under way end; infinite when idle."""
        return inf if self._plan is None else self._at + self._plan[0] * self._plan[1]

    def submit(self, job: Job, now: float) -> None:
        """A request arrives. Call `advance(now)` before."""
        self.waiting.append(job)
        if self._plan is None:
            self._at = now
            self._begin()
            return
        duration, steps, chunk = self._plan
        if not chunk and steps > 1:
            self._plan = (duration, min(steps, max(1, ceil((now - self._at) / duration))), chunk)

    def cancel(self, key: int) -> None:
        """Its client left: it makes no more tokens from the next step on."""
        self.waiting = deque(job for job in self.waiting if job.key != key)
        if key in self._jobs:
            self._gone.add(key)

    def kill(self, now: float) -> list[int]:
        """It dies: the jobs that die with it."""
        lost = [*self._jobs, *(job.key for job in self.waiting)]
        self._empty()
        self.slow = 1.0
        self._at = now
        return lost

    def advance(self, until: float) -> list[Event]:
        """What happened up to `until`, in order."""
        events: list[Event] = []
        while self._plan is not None and self.next_at <= until:
            self._finish(events)
            self._begin()
        return events

    def _begin(self) -> None:
        """Let in who fits, and plan the next steps."""
        shape = self.shape
        for key in self._gone & self._jobs.keys():
            self._drop(key)
        self._gone.clear()
        stall = self._let_in()
        decodes = len(self._jobs) - len(self._prefilling)
        if self._prefilling:
            chunk: dict[int, int] = {}
            room = max(shape.most_batched - decodes, 1)
            for key, left in self._prefilling:
                if room <= 0:
                    break
                chunk[key] = min(left, room)
                room -= chunk[key]
            self._plan = (shape.step_s(decodes + sum(chunk.values()), self._kv) * self.slow + stall, 1, chunk)
        elif decodes:
            while self._decoding and self._decoding[0][1] not in self._jobs:
                heappop(self._decoding)
            steps = max(1, min(_MOST_STEPS, self._decoding[0][0] - self._steps))
            self._plan = (shape.step_s(decodes, self._kv + decodes * steps / 2) * self.slow, steps, {})
        else:
            self._plan = None

    def _let_in(self) -> float:
        """Let in who fits; seconds that loading their adapters takes."""
        shape, stall = self.shape, 0.0
        passed: list[Job] = []
        while self.waiting and len(self._jobs) < shape.most_seqs:
            job = self.waiting[0]
            if self._jobs and self._reserved + job.context + job.made > shape.kv_tokens:
                break
            self.waiting.popleft()
            load = self._load_s(job.adapter) if shape.lora_slots else 0.0
            if load is None:
                passed.append(job)
                continue
            stall += load
            self._jobs[job.key] = job
            self._reserved += job.context + job.made
            self._prefilling.append([job.key, max(job.entered, 1)])
        self.waiting.extendleft(reversed(passed))
        return stall

    def _load_s(self, adapter: int) -> float | None:
        """Seconds until this adapter is in a slot; None while all slots are in use by others."""
        if adapter in self._loaded:
            del self._loaded[adapter]
            self._loaded[adapter] = None
            return 0.0
        if len(self._loaded) >= self.shape.lora_slots:
            busy = {job.adapter for job in self._jobs.values()}
            out = next((other for other in self._loaded if other not in busy), None)
            if out is None:
                return None
            del self._loaded[out]
        self._loaded[adapter] = None
        return self.shape.lora_load_ms / 1000.0

    def _finish(self, events: list[Event]) -> None:
        assert self._plan is not None  # noqa: S101 - narrows the type
        duration, steps, chunk = self._plan
        self.busy_s += duration * steps
        self._at += duration * steps
        self._steps += steps
        self._kv += (len(self._jobs) - len(self._prefilling)) * steps
        for entry in list(self._prefilling):
            taken = chunk.get(entry[0], 0)
            entry[1] -= taken
            if not entry[1]:
                self._prefilling.remove(entry)
                job = self._jobs[entry[0]]
                self._kv += job.context
                self._since[job.key] = self._steps
                events.append(Event(self._at, job.key, done=False))
                heappush(self._decoding, (self._steps + max(job.made - 1, 0), job.key))
        while self._decoding and self._decoding[0][0] <= self._steps:
            _, key = heappop(self._decoding)
            if key in self._jobs:
                self._drop(key)
                events.append(Event(self._at, key, done=True))

    def _drop(self, key: int) -> None:
        job = self._jobs.pop(key)
        self._reserved -= job.context + job.made
        if key in self._since:
            self._kv -= job.context + self._steps - self._since.pop(key)
        for entry in list(self._prefilling):
            if entry[0] == key:
                self._prefilling.remove(entry)


def _interpolated(table: tuple[tuple[int, float], ...], x: int) -> float:
    before = table[0]
    for entry in table:
        if x <= entry[0]:
            if entry[0] == before[0]:
                return entry[1]
            return before[1] + (entry[1] - before[1]) * (x - before[0]) / (entry[0] - before[0])
        before = entry
    return table[-1][1] * x / table[-1][0]
