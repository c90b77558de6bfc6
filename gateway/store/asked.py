"""What the ledger says was asked of one provider, by day and model: the side of a reconciliation that is ours. Reads only.

Counted are calls that a provider counts: failed attempts that did work too, refusals not. An attempt belongs to the UTC day in which it was started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, and_, case, cast, func, literal_column, or_, select

from gateway.store.tables import TOKEN_COLUMNS, attempts, exchanges
from router.naming import without_program
from router.types import Outcome

DAY = 86_400
# No exchange lasts longer; attempts are found by the time of their exchange, which has an index.
_LONGEST_S = 2 * DAY


@dataclass(frozen=True, slots=True)
class Spent:
    """One model in one day. `tokens` by column, over attempts whose usage is known; `estimated` attempts are in the sums, by our estimate; `unpriced` are
    not in `nanousd`, `unmeasured` (usage unknown) in no sum."""

    requests: int
    tokens: dict[str, int]
    nanousd: int
    estimated: int
    unpriced: int
    unmeasured: int


def spent(conn: Connection, provider: str, spans: Iterable[tuple[float, float]]) -> dict[tuple[int, str], Spent]:
    """By (day, model): what was started in these spans, epoch seconds from (included) to (not included). A day is counted in whole days since the epoch."""
    found: dict[tuple[int, str], Spent] = {}
    for since, until in spans:
        for row in conn.execute(_query(provider, since, until)):
            key = (int(row.group_day), without_program(row.group_backend).removeprefix(f"{provider}/"))
            found[key] = _added(found.get(key), row)
    return found


def interrupted(conn: Connection, spans: Iterable[tuple[float, float]]) -> dict[int, int]:
    """How many exchanges of each day were cut off by the death of a process: what they asked of whom is not known."""
    e, found = exchanges.c, Counter[int]()
    for since, until in spans:
        query = select((e.minute // 1440).label("group_day"), func.count()).where(e.outcome == Outcome.INTERRUPTED.value, e.time >= since, e.time < until)
        found.update({int(day): count for day, count in conn.execute(query.group_by(literal_column("group_day")))})
    return dict(found)


def _query(provider: str, since: float, until: float) -> Any:
    a, e = attempts.c, exchanges.c
    admitted = e.minute // 1440
    # An attempt may begin after the midnight that its exchange came in before.
    day = admitted + cast(case((a.started >= (admitted + 1) * DAY, 1), else_=0), Integer)
    counted = or_(a.usage_state != "provider", *(getattr(a, name) > 0 for name in TOKEN_COLUMNS))
    columns: list[ColumnElement[Any]] = [
        day.label("group_day"),
        a.backend.label("group_backend"),
        func.count().label("requests"),
        func.sum(a.cost_nanousd).label("nanousd"),
        *(func.sum(getattr(a, name)).label(name) for name in TOKEN_COLUMNS),
        _count(a.usage_state == "estimated").label("estimated"),
        _count(and_(a.cost_nanousd.is_(None), a.usage_state != "unknown")).label("unpriced"),
        _count(a.usage_state == "unknown").label("unmeasured"),
    ]
    names: list[ColumnElement[Any]] = [literal_column(name) for name in ("group_day", "group_backend")]
    return (
        select(*columns)
        .select_from(attempts.join(exchanges, e.id == a.exchange_id))
        .where(e.time >= since - _LONGEST_S, e.time < until, a.started >= since, a.started < until)
        .where(a.kind == "hosted", a.owner == provider, counted)
        .group_by(*names)
        .order_by(*names)
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(cast(case((condition, 1), else_=0), Integer)), 0)


def _added(before: Spent | None, row: Any) -> Spent:
    none = before or Spent(0, dict.fromkeys(TOKEN_COLUMNS, 0), 0, 0, 0, 0)
    return Spent(
        none.requests + row.requests,
        {name: none.tokens[name] + int(getattr(row, name) or 0) for name in TOKEN_COLUMNS},
        none.nanousd + int(row.nanousd or 0),
        none.estimated + int(row.estimated),
        none.unpriced + int(row.unpriced),
        none.unmeasured + int(row.unmeasured),
    )
