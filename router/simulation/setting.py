"""The values of a run: what is set, what a policy is told, how each request ended; and what a policy is. Not here: the event loop (world.py)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from router.money import cost
from router.simulation.engine import EngineShape
from router.simulation.hosted import Fault, HostedShape
from router.simulation.trace import Ask, Trace
from router.types import Price, Slo, Usage

if TYPE_CHECKING:
    from router.simulation.world import World

LOCAL, HOSTED = "local/adapter@1", "openai/hosted"


class Setting(NamedTuple):
    """Everything about a run but its policy. `local_faults` have the kind `error` (the replica is dead) or `slow`.

    `scrape_s`: how often engine metrics are read, `scrape_lag_s` how old they are by then; `blind` a window in which they read zero. `reprices`: what the
    provider charges from an instant on. `budget_nanousd`: the provider is paid no more than this in the run (None: no bound). `gateways`: requests are dealt
    to so many processes that know nothing of each other.
    """

    name: str
    trace: Trace
    price: Price
    slo: Slo
    engine: EngineShape = EngineShape()
    hosted: HostedShape = HostedShape()
    hosted_faults: tuple[Fault, ...] = ()
    local_faults: tuple[Fault, ...] = ()
    miss_price_factor: float = 2.0
    first_token_s: float = 30.0
    scrape_s: float = 5.0
    scrape_lag_s: float = 0.5
    blind: tuple[float, float] = (0.0, 0.0)
    gpu_hour_usd: float = 2.5
    replicas: int = 1
    reprices: tuple[tuple[float, Price], ...] = ()
    budget_nanousd: int | None = None
    gateways: int = 1

    def price_at(self, now: float) -> Price:
        """What the provider charges at an instant."""
        found = self.price
        for since, price in self.reprices:
            if now >= since:
                found = price
        return found

    def list_cost(self, ask: Ask, cached: int = 0, at: float | None = None) -> int:
        """What the hosted model charges for this request, nano-dollars; `at` an instant, else when it arrives."""
        found = cost(Usage(input=ask.input, cached=cached, output=ask.output), self.price_at(ask.at if at is None else at))
        return 0 if found is None else found  # text alone, whose price is given: never None

    def worth(self, ask: Ask) -> int:
        """What a miss of this request costs, nano-dollars."""
        return round(self.miss_price_factor * self.list_cost(ask))


class Told(NamedTuple):
    """What a policy learns of a call that ended. `status` 0: timed out. Seconds from the call's start; `replica` of the engine."""

    number: int
    ask: Ask
    backend: str
    status: int
    ttft_s: float
    total_s: float
    cached: int
    retry_after_s: float
    now: float
    replica: int = 0


class Scrape(NamedTuple):
    """An engine's metrics as last read."""

    at: float = -inf
    running: int = 0
    waiting: int = 0
    kv_share: float = 0.0


class Policy(Protocol):
    """What is compared. `order` gives the backends to try, best first, `replica` one of those of the engine that are up; the others are its memory."""

    name: str

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]: ...

    def replica(self, number: int, ask: Ask, world: World, now: float) -> int: ...

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None: ...

    def first_token(self, number: int) -> None: ...

    def ended(self, told: Told) -> None: ...


class Outcome(NamedTuple):
    """How one request ended. `backend` None: no answer. Seconds from its arrival."""

    number: int
    at: float
    backend: str | None
    calls: int
    ttft_s: float
    total_s: float
    cost_nanousd: int
    missed: bool
    worth_nanousd: int
