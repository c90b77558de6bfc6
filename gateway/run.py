"""One admitted request under way: everything about it that is not yet a ledger row. State only; exchange.py moves it, settle.py closes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from gateway.call import Call
from gateway.context import Gateway
from gateway.limits import Hold
from gateway.store.keys import Key
from gateway.view import FleetView, RoutePlan
from gateway.wire import Ask
from gateway.wishes import Wishes
from router.types import Decision, Features, Outcome


@dataclass(slots=True)
class Run:
    """`time` is epoch seconds, `started`, `ended` and the `_s` fields are `perf_counter` seconds. `view` and `plan` are what was in force when it began.
    `captured`: the conversation is kept; `watched`: it is measured for drift; `compared`: the other side
    is asked too once it is over; for each the text of the answer is put together (`keep_text`)."""

    gateway: Gateway
    id: str
    time: float
    started: float
    endpoint: str
    key: Key | None
    view: FleetView
    plan: RoutePlan
    ask: Ask
    wishes: Wishes
    features: Features
    hold: Hold
    captured: bool = False
    watched: bool = False
    compared: bool = False
    decision: Decision | None = None
    calls: list[Call] = field(default_factory=list)
    outcome: Outcome = Outcome.INTERRUPTED
    status: int = 0
    waited_s: float = 0.0
    ended: float = 0.0
    upstream_s: float = 0.0
    ttft_ms: float | None = None
    overhead_ms: float | None = None
    head_sent: bool = False
    hedged: bool = False
    trace: str | None = None

    @property
    def last(self) -> Call | None:
        """The call whose answer the client gets, or the last that failed."""
        return self.calls[-1] if self.calls else None

    @property
    def keep_text(self) -> bool:
        """Whether the text of the answer is wanted once it is over."""
        return self.captured or self.watched or self.compared

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the request came in."""
        return (perf_counter() - self.started) * 1000.0
