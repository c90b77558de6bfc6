"""What one data-plane process holds: the `Gateway`, built by `gateway.app.create_app` and found at `app.state.gateway`. No behaviour lives here.

What the admin API and the dashboard may use of it:

`gateway.config`            the configuration in force (frozen; replaced whole by `await gateway.reload()`)
`gateway.database`          SQLAlchemy engine; call it through `asyncio.to_thread`
`gateway.fleet`             what can be called and how it is doing:
    `.view`                     the current `FleetView`: `.routes: Mapping[str, RoutePlan]` (`RoutePlan.name/.snapshot/.sandbox/.first_hosted`),
                                `.replicas: Mapping[engine, tuple[Replica, ...]]`, `.keys: Mapping[sha256, Key]`, `.open_access: bool`, `.version: int`
    `.explain(model, body)`     the `Decision` that this chat body would get now, without calling anyone; RequestError 404 for an unknown model
    `.plan(view, model, pin)`   the `RoutePlan` of a `model` value; `.snapshot_of(decision.snapshot_digest)` is what a decision was made from
    `.live(plan)`               `Mapping[backend, Live]`: what this process knows of each candidate of a plan right now
    `.in_flight()`              requests this process has running
    `await .refresh(force=True)`  look at the database now instead of within 200 ms
`gateway.prices`            the PriceBook
`gateway.spool`             write-ahead records of exchanges
`gateway.books`             exchanges that are over, settled in the next turn of the loop
`gateway.metrics`           `.render() -> bytes`
`gateway.limits`            per-key limits and per-route budgets: `.spent_today(route, now) -> int` nano-dollars, `.account(budget)`
`gateway.started`           epoch seconds
`gateway.alarm`             deadlines of exchanges that are far away
`await gateway.reload()`    re-read the file: ConfigError when it is not valid (nothing changes), else applied here at once and in every other process
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.alarm import Alarm
from gateway.drift.sampling import Sampler
from gateway.responses.memory import Memory

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from gateway.admission import Admission
    from gateway.config.models import Config
    from gateway.fleet import Fleet
    from gateway.limits import Limits
    from gateway.metrics import Metrics
    from gateway.prices import PriceBook
    from gateway.settle import Books
    from gateway.store.spool import Spool
    from gateway.upstream import Upstreams


@dataclass(slots=True)
class Gateway:
    """Everything a request may need, in one place. `config`, `fleet.view` and `prices` are replaced whole; a request keeps what it started with."""

    config: Config
    database: Engine
    fleet: Fleet
    prices: PriceBook
    spool: Spool
    books: Books
    metrics: Metrics
    upstream: Upstreams
    limits: Limits
    admission: Admission
    clock: Callable[[], float]
    started: float
    reload: Callable[[], Awaitable[Config]]
    responses: Memory = field(default_factory=Memory)
    sampler: Sampler = field(default_factory=Sampler)
    alarm: Alarm = field(default_factory=Alarm)
