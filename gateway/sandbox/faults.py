"""Which faults the sandbox can have and when the next request gets one. How each looks on the wire is in refusals.py and stream.py.

Asked for by the request header `x-sandbox-fault: NAME` (`NAME;ms=500;after=2;retry_after_s=1`), or armed by POST /sandbox/faults for the next `count` requests
and/or for `for_s` seconds, for one model or all, for a share of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from router.errors import RequestError


class FaultName(StrEnum):
    """Every fault, by what the caller sees."""

    RATE_LIMIT = "rate_limit"
    RATE_LIMIT_RETRY_AFTER = "rate_limit_retry_after"
    QUOTA = "quota"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    HTML_502 = "html_502"
    RESET = "reset"
    SILENCE = "silence"
    SLOW_FIRST_TOKEN = "slow_first_token"  # noqa: S105 - not a password
    CUT = "cut"
    STALL = "stall"
    MALFORMED_CHUNK = "malformed_chunk"
    MISSING_DONE = "missing_done"
    NO_USAGE = "no_usage"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    CONTENT_FILTER_FINISH = "content_filter_finish"
    PREFILL_REJECT = "prefill_reject"
    BAD_KEY = "bad_key"
    FLAPPING = "flapping"


DESCRIPTIONS: Mapping[FaultName, str] = {
    FaultName.RATE_LIMIT: "429 rate_limit_exceeded without Retry-After",
    FaultName.RATE_LIMIT_RETRY_AFTER: "429 rate_limit_exceeded with Retry-After: retry_after_s (1)",
    FaultName.QUOTA: "429 insufficient_quota",
    FaultName.SERVER_ERROR: "500 server_error",
    FaultName.UNAVAILABLE: "503 overloaded",
    FaultName.HTML_502: "502 with an HTML page of a proxy, not JSON",
    FaultName.RESET: "the TCP connection is reset (RST) before any answer",
    FaultName.SILENCE: "the request is taken and never answered; the connection closes after ms (120000)",
    FaultName.SLOW_FIRST_TOKEN: "nothing, not even headers, for ms (20000), then the whole answer",
    FaultName.CUT: "the connection closes after `after` (3) tokens",
    FaultName.STALL: "nothing more after `after` (3) tokens; the connection closes after ms (120000)",
    FaultName.MALFORMED_CHUNK: "a chunk of broken JSON after `after` (3) tokens, then the connection closes; not streamed: a broken JSON body",
    FaultName.MISSING_DONE: "the stream ends after its finish_reason (and usage) without [DONE]",
    FaultName.NO_USAGE: "the answer is whole and says nothing about usage",
    FaultName.CONTEXT_LENGTH: "400 context_length_exceeded",
    FaultName.CONTENT_FILTER: "400 content_filter, in Azure OpenAI's shape",
    FaultName.CONTENT_FILTER_FINISH: "an answer cut after `after` (3) tokens with finish_reason content_filter",
    FaultName.PREFILL_REJECT: "400: this model takes no assistant message at the end",
    FaultName.BAD_KEY: "401 invalid_api_key",
    FaultName.FLAPPING: "every other request is a 503, the first one included",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one request. `ms` and `retry_after_s` None: the fault's own default."""

    name: FaultName
    ms: float | None = None
    after: int = 3
    retry_after_s: float = 1.0

    def seconds(self, default_ms: float) -> float:
        """How long it lasts."""
        return (default_ms if self.ms is None else self.ms) / 1000


@dataclass(frozen=True, slots=True)
class Armed:
    """A fault that waits for requests: `left` more of them (None: no limit), until `until` (None: for ever), of `model` (None: any), of a `share` of them."""

    fault: Fault
    left: int | None = 1
    until: float | None = None
    model: str | None = None
    share: float = 1.0
    seen: int = 0

    def meets(self, model: str, now: float) -> bool:
        """Whether it is still there and meant for this model."""
        return self.left != 0 and (self.until is None or now < self.until) and self.model in {None, model}

    def hits(self) -> bool:
        """Whether request number `seen` (from 0) is hit: spread evenly, so that a share of 0.25 is exactly every fourth."""
        return int((self.seen + 1) * self.share) > int(self.seen * self.share)


class FaultBook:
    """The armed faults. The first that meets a request is used."""

    def __init__(self) -> None:
        self._armed: list[Armed] = []

    def arm(self, armed: Armed) -> None:
        """Add one."""
        self._armed.append(armed)

    def clear(self) -> None:
        """Forget all."""
        self._armed.clear()

    def armed(self, now: float) -> list[Armed]:
        """Those that are still waiting."""
        self._armed = [item for item in self._armed if item.left != 0 and (item.until is None or now < item.until)]
        return list(self._armed)

    def take(self, header: str | None, model: str, now: float) -> Fault | None:
        """The fault of this request, the header's before any armed one. Raises RequestError for a header that names none."""
        if header is not None:
            return _settle(parse(header), 0)
        for index, item in enumerate(self._armed):
            if not item.meets(model, now):
                continue
            hit = item.hits()
            left = item.left - 1 if hit and item.left is not None else item.left
            self._armed[index] = replace(item, seen=item.seen + 1, left=left)
            return _settle(item.fault, item.seen) if hit else None
        return None


def _settle(fault: Fault, seen: int) -> Fault | None:
    """What a flapping provider does this time; any other fault is itself."""
    if fault.name is not FaultName.FLAPPING:
        return fault
    return replace(fault, name=FaultName.UNAVAILABLE) if seen % 2 == 0 else None


def parse(text: str) -> Fault:
    """Read `NAME;ms=500;after=2;retry_after_s=1`. Raises RequestError."""
    name, *rest = (part.strip() for part in text.split(";"))
    fault = named(name)
    for part in rest:
        key, _, value = part.partition("=")
        try:
            fault = _with(fault, key, value)
        except ValueError as error:
            raise RequestError(f"`{part}` is not ms=, after= or retry_after_s= with a number", param="x-sandbox-fault") from error
    return fault


def _with(fault: Fault, key: str, value: str) -> Fault:
    match key:
        case "ms":
            return replace(fault, ms=float(value))
        case "after":
            return replace(fault, after=int(value))
        case "retry_after_s":
            return replace(fault, retry_after_s=float(value))
        case _:
            raise ValueError(key)


def named(name: str) -> Fault:
    """The fault of this name with its defaults. Raises RequestError that lists the names."""
    try:
        return Fault(FaultName(name))
    except ValueError as error:
        raise RequestError(f"no fault is named `{name}`; there are: {', '.join(FaultName)}", param="fault") from error
