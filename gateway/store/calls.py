"""The calls to an engine that ran in or near a minute, with their tokens. Reads only; the rows are exchanges.py's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.store.tables import attempts
from router.foreign import LAG_S, Call, Tokens

# No request is taken to run longer: an admit that is still open after this cannot hold up the books, and attempts are looked for this far back.
LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Ran:
    """One call. Tokens that had to be computed; a call of unknown usage has none, but the time it took is not idle. `estimated`: nobody counted them."""

    exchange_id: str
    backend: str
    started: float
    ended: float
    ttft_ms: float | None
    prefill: int
    decode: int
    known: bool = True
    estimated: bool = False

    @property
    def call(self) -> Call:
        """As router/foreign.py wants it: what it may account for. An estimate may be half of the truth."""
        first = None if self.ttft_ms is None else self.started + self.ttft_ms / 1000
        most = 2 if self.estimated else 1
        return Call(self.started, self.ended, first, Tokens(self.prefill * most, self.decode * most))

    def within(self, window: tuple[float, float]) -> tuple[int, int]:
        """Its (prefill, decode) tokens in a window, spread evenly over its time; over windows that lie side by side they sum to all of them exactly."""
        return self._cut(self.prefill, window), self._cut(self.decode, window)

    def _cut(self, tokens: int, window: tuple[float, float]) -> int:
        return self._until(tokens, window[1]) - self._until(tokens, window[0])

    def _until(self, tokens: int, instant: float) -> int:
        if instant >= self.ended:
            return tokens
        return 0 if instant <= self.started else math.floor(tokens * ((instant - self.started) / (self.ended - self.started)))


def near(conn: Connection, engine: str, window: tuple[float, float], lag_s: float = LAG_S) -> list[Ran]:
    """The calls that touch a window (epoch seconds) widened by `lag_s` on both sides, in a fixed order."""
    a = attempts.c
    query = select(a.exchange_id, a.backend, a.started, a.ended, a.ttft_ms, a.input_tokens, a.cached_tokens, a.output_tokens, a.usage_state).where(
        a.kind == "local", a.owner == engine, a.started < window[1] + lag_s, a.started >= window[0] - LONGEST_S, a.ended > window[0] - lag_s
    )
    return [
        Ran(
            exchange_id=r.exchange_id,
            backend=r.backend,
            started=r.started,
            ended=r.ended,
            ttft_ms=r.ttft_ms,
            prefill=max((r.input_tokens or 0) - (r.cached_tokens or 0), 0),
            decode=r.output_tokens or 0,
            known=r.usage_state != "unknown",
            estimated=r.usage_state == "estimated",
        )
        for r in conn.execute(query.order_by(a.exchange_id, a.position))
    ]


def minutes_of(started: float, ended: float) -> range:
    """The minutes a call ran in; one that ends on the stroke of a minute did not run in the next."""
    first = math.floor(started / 60)
    return range(first, max(first, math.ceil(ended / 60) - 1) + 1)
