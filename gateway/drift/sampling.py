"""Which requests a worker measures for drift, and the measuring of one that is over. The hot path's side of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.drift import sketch
from gateway.store.drift import Sample
from router.types import Exchange, Outcome

if TYPE_CHECKING:
    from gateway.run import Run

_UNKNOWN = (None,) * 8


class Sampler:
    """At most so many requests of a route in each second, whatever they are: the first ones. One per process."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: dict[str, tuple[int, int]] = {}

    def takes(self, route: str, most: int, now: float) -> bool:
        """Whether one more request of `route` is measured, at epoch seconds `now`."""
        second = int(now)
        at, taken = self._taken.get(route, (second, 0))
        if at != second:
            taken = 0
        if taken >= most:
            return False
        self._taken[route] = (second, taken + 1)
        return True


def measured(run: Run, exchange: Exchange) -> Sample | None:
    """What is kept of a request of a route that is over; None where that is not worth it: nobody answered, or the client went away."""
    call = run.last
    if run.outcome is not Outcome.OK or call is None or exchange.route is None:
        return None
    body, candidate = run.ask.conversation, call.backend.candidate
    came = sketch.incoming(body, exchange.prompt_bytes)
    went: tuple[float | None, ...] = _UNKNOWN
    adapter = candidate.adapter if candidate.version is not None else None
    if adapter and call.transcript is not None:
        tokens = exchange.usage.output if call.usage_state == "provider" else None
        cost = exchange.cost_nanousd if candidate.kind == "hosted" else exchange.opportunity_nanousd
        ttft_ms = call.ttft_ms if run.ask.stream else None
        went = (*sketch.outgoing(body, call.transcript, call.finish_reason), tokens, ttft_ms, call.total_ms, cost)
    return Sample(exchange.id, exchange.time, exchange.route, adapter or "", candidate.version or 0 if adapter else 0, (*came, *went))
