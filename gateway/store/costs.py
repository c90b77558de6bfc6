"""What it cost: sums over the ledger by route, backend, key, tag and time. Reads only.

Here: the cost report (design 4.3) and the shape of its rows. Not here: percentiles (latencies.py), the GPU bill (gpu.py).

Money is never guessed. A sum covers the rows whose amount is known and is null when it is known of none; next to it stand `unpriced_requests`
(hosted cost unknown) and `unallocated_requests` (share of the GPU bill unknown, or not yet). `cost_state` is the weakest of the rows.
saved = all_hosted − hosted − local_amortised, over the rows where all three are known (`comparable_requests`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Integer, RowMapping, String, and_, case, cast, func, literal_column, null, or_, select, true

from gateway.store import gpu
from gateway.store.period import Period
from gateway.store.tables import exchanges
from router.errors import RequestError
from router.money import usd
from router.types import Outcome

GROUPS = ("route", "backend", "key", "tag", "day", "hour", "quarter_hour", "minute")
_MONEY = ("hosted", "local_amortised", "local_opportunity", "all_hosted", "saved")
_MINUTES = {"day": 1440, "hour": 60, "quarter_hour": 15, "minute": 1}


def report(conn: Connection, group_by: Sequence[str], period: Period) -> dict[str, Any]:
    """The cost report as it goes out: a list object whose rows carry the group's keys, with the idle GPU cost and the unpriced requests on top.

    By `tag` a request counts under each of its tags (`name=value`) and under null when it has none, so those rows do not sum to the total. `day` is
    a date, the finer steps an instant. Raises RequestError for a group that does not exist.
    """
    groups = _checked(group_by)
    rows = conn.execute(_query(conn, groups, period)).mappings().all()
    whole = conn.execute(_query(conn, (), period)).mappings().one()
    bill = gpu.bill(conn, period)
    total = _row(whole, ())
    return {
        "object": "list",
        "data": [_row(row, groups) for row in rows],
        "has_more": False,
        "next_cursor": None,
        "group_by": list(groups),
        "total": total,
        "gpu_bill_nanousd": bill.bill_nanousd,
        "gpu_bill_usd": usd(bill.bill_nanousd),
        "idle_nanousd": bill.idle_nanousd,
        "idle_usd": usd(bill.idle_nanousd),
        "idle_state": "unknown" if bill.unpriced_minutes else "known",
        "open_gpu_minutes": bill.open_minutes,
        "unpriced_requests": total["unpriced_requests"],
        "interrupted_requests": total["interrupted_requests"],
        "sandbox": total["sandbox"],
    }


def _checked(group_by: Sequence[str]) -> tuple[str, ...]:
    groups = tuple(dict.fromkeys(group_by))
    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise RequestError(f"`group_by` has {', '.join(unknown)}; it takes {', '.join(GROUPS)}, separated by commas", param="group_by")
    if len(_MINUTES.keys() & set(groups)) > 1:
        raise RequestError(f"`group_by` takes one of {', '.join(_MINUTES)}", param="group_by")
    return groups


def _query(conn: Connection, groups: Sequence[str], period: Period) -> Any:
    source: FromClause = exchanges
    tag: ColumnElement[Any] = null()
    if "tag" in groups:
        source, tag = _tagged(conn)
    columns: dict[str, ColumnElement[Any]] = {"route": exchanges.c.route, "backend": exchanges.c.backend, "key": exchanges.c.key_id, "tag": tag}
    columns |= {name: exchanges.c.minute // minutes for name, minutes in _MINUTES.items()}
    keys = [columns[name].label(f"group_{name}") for name in groups]
    query = select(*keys, *_measures()).select_from(source).where(*period.times(exchanges.c.time))
    if keys:
        # By name: Postgres would not see that two bound parameters of the same expression are the same.
        names: list[ColumnElement[Any]] = [literal_column(f"group_{name}") for name in groups]
        query = query.group_by(*names).order_by(*names)
    return query


def _tagged(conn: Connection) -> tuple[FromClause, ColumnElement[Any]]:
    """Exchanges with one row for each tag, and the tag as `name=value`."""
    if conn.dialect.name == "sqlite":
        tags: Any = func.json_each(exchanges.c.tags).table_valued("key", "value")
    else:
        tags = func.json_each_text(exchanges.c.tags).table_valued("key", "value").render_derived().lateral()
    label = case((tags.c.key.is_(None), None), else_=cast(tags.c.key, String) + "=" + cast(tags.c.value, String))
    return exchanges.outerjoin(tags, true()), label


def _measures() -> list[ColumnElement[Any]]:
    e = exchanges.c
    # What is neither local nor cut off has no local cost, whatever the row says of it.
    maybe_local = or_(e.kind == "local", e.outcome == Outcome.INTERRUPTED.value)
    opportunity = case((e.opportunity_nanousd.is_not(None), e.opportunity_nanousd), (maybe_local, null()), else_=0)
    comparable = and_(e.all_hosted_nanousd.is_not(None), e.cost_nanousd.is_not(None), e.amortised_nanousd.is_not(None))
    saved = case((comparable, e.all_hosted_nanousd - e.cost_nanousd - e.amortised_nanousd))
    money = zip(_MONEY, (e.cost_nanousd, e.amortised_nanousd, opportunity, e.all_hosted_nanousd, saved), strict=True)
    sums = [part for name, value in money for part in (func.sum(value).label(name), func.count(value).label(f"{name}_rows"))]
    tokens = [func.sum(column).label(column.name) for column in (e.input_tokens, e.cached_tokens, e.output_tokens, e.reasoning_tokens)]
    return [
        func.count().label("requests"),
        _count(e.outcome == Outcome.INTERRUPTED.value).label("interrupted"),
        _count(e.outcome == Outcome.OK.value).label("ok"),
        _count(e.kind == "local").label("local"),
        _count(e.cost_state == "estimated").label("estimated"),
        _count(e.cost_state == "measured").label("measured"),
        _count(e.sandbox).label("sandbox"),
        *tokens,
        *sums,
    ]


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(cast(case((condition, 1), else_=0), Integer)), 0)


def _row(row: RowMapping, groups: Sequence[str]) -> dict[str, Any]:
    requests = row["requests"]
    shaped: dict[str, Any] = {name: _key(name, row[f"group_{name}"]) for name in groups}
    shaped |= {"requests": requests, "ok_requests": int(row["ok"]), "local_requests": int(row["local"])}
    for name in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"):
        shaped[name] = _sum(row[name], requests)
    for name in _MONEY:
        amount = _sum(row[name], requests)
        shaped |= {f"{name}_nanousd": amount, f"{name}_usd": usd(amount)}
    unpriced = requests - row["hosted_rows"]
    shaped |= {
        "cost_state": _state(row, unpriced),
        "unpriced_requests": unpriced,
        "unallocated_requests": requests - row["local_amortised_rows"],
        "comparable_requests": row["saved_rows"],
        "interrupted_requests": int(row["interrupted"]),
        "sandbox": bool(row["sandbox"]),
    }
    return shaped


def _sum(value: Any, requests: int) -> int | None:
    """A sum of nothing is 0, a sum of unknowns is unknown. (Postgres sums big integers as decimals.)"""
    if value is None:
        return None if requests else 0
    return int(value)


def _state(row: RowMapping, unpriced: int) -> str:
    if unpriced:
        return "unknown"
    if row["estimated"]:
        return "estimated"
    return "measured" if row["measured"] else "known"


def _key(name: str, value: Any) -> Any:
    if name not in _MINUTES:
        return value
    moment = datetime.fromtimestamp(value * _MINUTES[name] * 60, UTC)
    return moment.date().isoformat() if name == "day" else moment.isoformat().replace("+00:00", "Z")
