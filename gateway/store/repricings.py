"""Re-pricing in the database: the audit trail, the rows that may have another cost now, and the correction of those that do.

Here: reading and writing. What a row costs now is decided by gateway.repricing. The only writer of `repricings`, and of the costs of rows that are settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, exists, func, or_, select, tuple_, update

from gateway.store import bulk, rollups
from gateway.store.period import Period
from gateway.store.tables import TOKEN_COLUMNS, attempts, exchanges, repricings
from router.money import usd
from router.types import CostState, Usage, UsageState


@dataclass(frozen=True, slots=True)
class Repricing:
    """One re-pricing, as far as it got: who, why, which rows, with which prices, and sums over the rows it looked at. Instants are epoch seconds.

    `changed` rows have another cost or all-hosted cost now; `left_alone` could not be judged and kept theirs. `unknown_*`: rows without a cost.
    """

    id: str
    started_at: float
    updated_at: float
    by: str
    prices: str
    finished_at: float | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    provider: str | None = None
    model: str | None = None
    cursor_time: float | None = None
    cursor_id: str | None = None
    rows: int = 0
    changed: int = 0
    left_alone: int = 0
    attempts_changed: int = 0
    before_nanousd: int = 0
    after_nanousd: int = 0
    unknown_before: int = 0
    unknown_after: int = 0
    all_hosted_changed: int = 0
    all_hosted_before_nanousd: int = 0
    all_hosted_after_nanousd: int = 0

    @property
    def period(self) -> Period:
        """Whose rows it is about."""
        return Period(self.since, self.until)


@dataclass(frozen=True, slots=True)
class Call:
    """A hosted or local attempt as far as its cost goes. `usage` None: unknown. `complete`: its row says everything a price depends on."""

    position: int
    backend: str
    kind: str
    status: int | None
    error: str | None
    usage: Usage | None
    usage_state: UsageState
    cost_nanousd: int | None
    cost_state: CostState
    service_tier: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A settled exchange as far as its cost goes."""

    id: str
    time: float
    route: str | None
    backend: str | None
    usage: Usage | None
    cost_nanousd: int | None
    cost_state: CostState
    all_hosted_nanousd: int | None
    decision_id: str | None
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Correction:
    """What a row costs now: the exchange, and by position its attempts that changed."""

    id: str
    time: float
    cost_nanousd: int | None
    cost_state: CostState
    all_hosted_nanousd: int | None
    attempts: Mapping[int, tuple[int | None, CostState]]


def document(item: Repricing) -> dict[str, Any]:
    """As it goes out, beside what the table has: money in dollars too, the difference, no cursor."""
    shown = {key: value for key, value in asdict(item).items() if not key.startswith("cursor")}
    shown = {key.removesuffix("_at") if key.endswith("_at") else key: value for key, value in shown.items()}
    shown["difference_nanousd"] = item.after_nanousd - item.before_nanousd
    return shown | {key.replace("_nanousd", "_usd"): usd(value) for key, value in shown.items() if key.endswith("_nanousd")}


def save(conn: Connection, item: Repricing) -> None:
    """Store a new one, or how far a known one is."""
    values = asdict(item)
    if conn.execute(update(repricings).where(repricings.c.id == item.id).values(values)).rowcount == 0:
        conn.execute(repricings.insert().values(values))


def get(conn: Connection, identity: str) -> Repricing | None:
    """One of them."""
    row = conn.execute(select(repricings).where(repricings.c.id == identity)).one_or_none()
    return None if row is None else _repricing(row)


def listed(conn: Connection, limit: int) -> list[Repricing]:
    """The newest ones, newest first."""
    return [_repricing(row) for row in conn.execute(select(repricings).order_by(repricings.c.started_at.desc(), repricings.c.id.desc()).limit(limit))]


def count(conn: Connection, item: Repricing) -> int:
    """How many rows it has to look at, from its cursor on."""
    return conn.execute(select(func.count()).select_from(exchanges).where(*_wanted(item))).scalar() or 0


def lines(conn: Connection, item: Repricing, limit: int) -> list[Line]:
    """The next rows after its cursor, oldest first: exchanges with a hosted attempt it is about, and local ones, which have an all-hosted cost."""
    e = exchanges.c
    query = select(exchanges).where(*_wanted(item)).order_by(e.time, e.id).limit(limit)
    rows = conn.execute(query).all()
    calls: dict[str, list[Call]] = {}
    for some in bulk.chunks([row.id for row in rows]):
        found = select(attempts).where(attempts.c.exchange_id.in_(some)).order_by(attempts.c.exchange_id, attempts.c.position)
        for row in conn.execute(found):
            calls.setdefault(row.exchange_id, []).append(_call(row))
    return [
        Line(
            *(row.id, row.time, row.route, row.backend, _usage(row), row.cost_nanousd, row.cost_state, row.all_hosted_nanousd, row.decision_id),
            tuple(calls.get(row.id, ())),
        )
        for row in rows
    ]


def correct(conn: Connection, found: Sequence[Correction]) -> None:
    """Give these rows their new costs, in the transaction that saves how far the re-pricing is; sums that were made of them are made again."""
    if not found:
        return
    names = ("cost_nanousd", "cost_state", "all_hosted_nanousd")
    statement = update(exchanges).where(exchanges.c.id == bindparam("row")).values({name: bindparam(f"new_{name}") for name in names})
    conn.execute(statement, [{"row": c.id, **{f"new_{name}": getattr(c, name) for name in names}} for c in found])
    a = attempts.c
    calls = [{"row": c.id, "place": position, "amount": amount, "said": state} for c in found for position, (amount, state) in c.attempts.items()]
    if calls:
        one = and_(a.exchange_id == bindparam("row"), a.position == bindparam("place"))
        conn.execute(update(attempts).where(one).values(cost_nanousd=bindparam("amount"), cost_state=bindparam("said")), calls)
    rollups.touch(conn, {int(c.time // 60) for c in found})


def _wanted(item: Repricing) -> list[ColumnElement[bool]]:
    e, a = exchanges.c, attempts.c
    hosted = and_(a.exchange_id == e.id, a.kind == "hosted")
    if item.provider is not None:
        hosted = and_(hosted, a.owner == item.provider)
    if item.model is not None:
        hosted = and_(hosted, a.backend == a.owner + "/" + item.model)
    # A local answer has no hosted cost, but what it would have cost depends on prices.
    wanted = [*item.period.times(e.time), or_(exists().where(hosted), and_(e.kind == "local", e.decision_id.is_not(None)))]
    if item.cursor_time is not None:
        wanted.append(tuple_(e.time, e.id) > tuple_(item.cursor_time, item.cursor_id))
    return wanted


def _repricing(row: Row[Any]) -> Repricing:
    return Repricing(**{field.name: getattr(row, field.name) for field in fields(Repricing)})


def _usage(row: Row[Any]) -> Usage | None:
    return None if row.usage_state == "unknown" else Usage(*[getattr(row, name) or 0 for name in TOKEN_COLUMNS])


def _call(row: Row[Any]) -> Call:
    return Call(
        *(row.position, row.backend, row.kind, row.status, row.error, _usage(row), row.usage_state),
        *(row.cost_nanousd, row.cost_state, row.service_tier),
        # Rows of before did not record cache writes, audio and service tiers.
        complete=row.usage_state == "unknown" or row.cache_write_tokens is not None,
    )
