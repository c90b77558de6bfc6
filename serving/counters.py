"""What a vLLM server says it has done: its counters read from `/metrics`, and their growth between two looks cut into minutes. Pure.

Names differ between versions; those of vLLM 0.6 to 0.33 are known. Series of one server (data-parallel ranks, models) are added up.
Not here: fetching the text (client.py), writing minutes down (gateway/store/engine_work.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from router.allocate import spread

# Looks further apart than this say nothing about which minute the work fell in: counting begins anew.
LONGEST_GAP_S = 120.0
_PROMPT = "vllm:prompt_tokens_total"
_GENERATED = "vllm:generation_tokens_total"
# The first of these that is there: since 0.12 one counter of the prompts' own, before it the prefix cache's.
_CACHED = (
    ("vllm:prompt_tokens_cached_total",),
    ("vllm:prefix_cache_hits_total", "vllm:external_prefix_cache_hits_total"),
    ("vllm:gpu_prefix_cache_hits_total",),
)
_RUNNING, _WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
_CORRUPTED = "vllm:corrupted_requests_total"
_INFERENCE = "vllm:request_inference_time_seconds_sum"
_NAMES = frozenset({_PROMPT, _GENERATED, _CORRUPTED, _RUNNING, _WAITING, _INFERENCE}.union(*_CACHED))


@dataclass(frozen=True, slots=True)
class Counters:
    """One look. Tokens since the server began; `cached` are part of `prompt`. `running` and `waiting` are requests right now, `inference_s` the seconds that
    finished requests spent running, summed over requests (None: this version does not say).

    `corrupted` requests had logits that were not numbers: their answers are worthless, and so may be those of others that came after them into the same
    memory. 0 where the server does not look (VLLM_COMPUTE_NANS_IN_LOGITS).
    """

    prompt: int
    cached: int
    generated: int
    running: int
    waiting: int
    inference_s: float | None = None
    corrupted: int = 0

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return self.running + self.waiting > 0


@dataclass(frozen=True, slots=True)
class Grown:
    """What a replica did in (a part of) a minute: milliseconds watched and those seen busy, tokens, and the most requests that were seen at once."""

    engine: str
    replica: int
    minute: int
    milliseconds: int
    busy_ms: int
    prompt: int
    cached: int
    generated: int
    running: int
    waiting: int


def read(text: str) -> Counters | None:
    """The counters in a `/metrics` page in Prometheus' text format; None when it has none of vLLM's."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        name = line[: min(n for n in (line.find("{"), line.find(" "), len(line)) if n >= 0)]
        if name in _NAMES:
            value = line.rpartition("}")[2].split() if "{" in line else line.split()[1:]
            sums[name] = sums.get(name, 0.0) + _number(value[0] if value else "")
    if _PROMPT not in sums or _GENERATED not in sums:
        return None
    cached = next((sum(sums.get(name, 0.0) for name in names) for names in _CACHED if names[0] in sums), 0.0)
    running, waiting = sums.get(_RUNNING, 0.0), sums.get(_WAITING, 0.0)
    return Counters(
        round(sums[_PROMPT]), round(cached), round(sums[_GENERATED]), round(running), round(waiting), sums.get(_INFERENCE), round(sums.get(_CORRUPTED, 0.0))
    )


class Sampler:
    """The last look at each replica. Feed it looks in order; it returns what grew. Not for concurrent use."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], tuple[str, float, Counters]] = {}
        self._ill: dict[tuple[str, int], tuple[str, int]] = {}

    def corrupted(self, engine: str, replica: int, url: str, counters: Counters) -> int:
        """How many more requests of this server were corrupted than at the last look; at the first look at a server, all that it counts."""
        last = self._ill.get((engine, replica))
        self._ill[engine, replica] = (url, counters.corrupted)
        before = last[1] if last is not None and last[0] == url else 0
        return max(counters.corrupted - before, 0)

    def seen(self, engine: str, replica: int, url: str, now: float, counters: Counters) -> list[Grown]:
        """What the replica did since the last look, by minute. Nothing at the first look, and after a gap of more than LONGEST_GAP_S.

        A server that began anew (another `url`, or counters that fell) counts from zero. A clock that was set back puts the work into the minute it is now.
        """
        last = self._last.get((engine, replica))
        self._last[(engine, replica)] = (url, now, counters)
        if last is None or now - last[1] > LONGEST_GAP_S:
            return []
        before = Counters(0, 0, 0, 0, 0, 0.0) if last[0] != url or _fell(last[2], counters) else last[2]
        parts = _minutes(last[1], now)
        lengths = [length for _, length in parts]
        prompt, cached, generated = (spread(max(have - had, 0), lengths) for have, had in _pairs(counters, before))
        busy = _busy(before, counters, now - last[1])
        return [
            Grown(engine, replica, minute, length, round(length * busy), prompt[i], cached[i], generated[i], counters.running, counters.waiting)
            for i, (minute, length) in enumerate(parts)
        ]

    def forget(self, known: Iterable[tuple[str, int]]) -> None:
        """Drop replicas that are not `known` any more."""
        kept = set(known)
        self._last = {place: last for place, last in self._last.items() if place in kept}
        self._ill = {place: last for place, last in self._ill.items() if place in kept}


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0.0 <= value < 1e18 else 0.0


def _pairs(now: Counters, before: Counters) -> tuple[tuple[int, int], ...]:
    return (now.prompt, before.prompt), (now.cached, before.cached), (now.generated, before.generated)


def _fell(before: Counters, now: Counters) -> bool:
    return now.prompt < before.prompt or now.generated < before.generated


def _busy(before: Counters, now: Counters, seconds: float) -> float:
    """The share of the time between two looks that the server was busy: by what was running at both ends; where nothing was and yet tokens came, requests
    began and ended in between, and the time they ran is known."""
    if before.busy or now.busy:
        return (before.busy + now.busy) / 2
    if seconds <= 0.0 or now.inference_s is None or before.inference_s is None or (now.prompt, now.generated) == (before.prompt, before.generated):
        return 0.0
    return min(max(now.inference_s - before.inference_s, 0.0) / seconds, 1.0)


def _minutes(start: float, end: float) -> list[tuple[int, int]]:
    """(minute, milliseconds of it) from start to end; one of no length when the clock did not move on."""
    parts, at = [], start
    while at < end:
        minute = int(at // 60)
        until = min(end, 60.0 * (minute + 1))
        parts.append((minute, round((until - at) * 1000)))
        at = until
    return parts or [(int(end // 60), 0)]
