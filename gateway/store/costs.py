"""What it cost: sums over the ledger by route, backend, key, tag, adapter and time. Reads only.

Here: the cost report (design 4.3) and the shape of its rows. Not here: what is summed (measures.py), where the sums come from (coverage.py),
percentiles (latencies.py), the GPU bill (gpu.py).

Money is never guessed. A sum covers the rows whose amount is known and is null when it is known of none; next to it stand `unpriced_requests`
(hosted cost unknown) and `unallocated_requests` (share of the GPU bill unknown, or not yet). `cost_state` is the weakest of the rows.
saved = all_hosted − hosted − local_amortised, over the rows where all three are known (`comparable_requests`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, bindparam, select

from gateway.store import gpu, measures
from gateway.store.coverage import cover
from gateway.store.groups import NAMES, Groups, checked, order
from gateway.store.measures import Amounts
from gateway.store.period import Period
from gateway.store.rollup_tables import MONEY, rollup_keys, rollup_tags, rollups
from gateway.store.tables import TOKEN_COLUMNS, exchanges
from router.money import half_even, usd

GROUPS = NAMES
_ALONE = checked(())
_FAR = 1e18  # seconds beyond any clock


def report(conn: Connection, group_by: Sequence[str], period: Period) -> dict[str, Any]:
    """The cost report as it goes out: a list object whose rows carry the group's keys, with the idle GPU cost and the unpriced requests on top.

    By `tag` a request counts under each of its tags (`name=value`) and under null when it has none, so those rows do not sum to the total; of a name with
    very many values some share `name=(other)` (tag_values.py). `month`, `week` and `day` are dates, the finer steps an instant.
    Raises RequestError for a group that does not exist.
    """
    groups = checked(group_by)
    found = sums(conn, groups, period)
    if "tag" in groups.names or not groups.names:
        whole = sums(conn, _ALONE, period).get((), measures.nothing())
    else:
        whole = measures.nothing()
        for amounts in found.values():
            whole = measures.added(whole, amounts)
    if not groups.names:
        found = {(): whole}
    bill = gpu.bill(conn, period)
    total = _row(whole)
    return {
        "object": "list",
        "data": [groups.shown(key) | _row(found[key]) for key in sorted(found, key=order)],
        "has_more": False,
        "next_cursor": None,
        "group_by": list(groups.names),
        "total": total,
        "gpu_bill_nanousd": bill.bill_nanousd,
        "gpu_bill_usd": usd(bill.bill_nanousd),
        "foreign_nanousd": bill.foreign_nanousd,
        "foreign_usd": usd(bill.foreign_nanousd),
        "idle_nanousd": bill.idle_nanousd,
        "idle_usd": usd(bill.idle_nanousd),
        "idle_state": "unknown" if bill.unpriced_minutes else "known",
        "open_gpu_minutes": bill.open_minutes,
        "unpriced_requests": total["unpriced_requests"],
        "interrupted_requests": total["interrupted_requests"],
        "sandbox": total["sandbox"],
    }


def sums(conn: Connection, groups: Groups, period: Period) -> dict[tuple[Any, ...], Amounts]:
    """The measures (in the order of measures.NAMES) of each group that has rows in the period."""
    found: dict[tuple[Any, ...], Amounts] = {}
    parts = cover(conn, period, groups.coarsest)
    key, wide = groups.key(), len(groups.columns) + (groups.minutes is not None)
    rolled, plain = _of_rollups(groups), _of_rows(conn, groups)
    queries: list[tuple[Any, dict[str, float]]] = [
        (rolled, {"step": step, "first": first, "end": end}) for step, spans in parts.units.items() for first, end in spans
    ]
    queries += [(plain, {"first": _or(part.since, -_FAR), "end": _or(part.until, _FAR)}) for part in parts.rows]
    for query, values in queries:
        for row in conn.execute(query, values):
            group, amounts = key(row[:wide]), measures.whole(row[wide:], conn.dialect.name)
            if amounts[0]:
                found[group] = measures.added(found[group], amounts) if group in found else amounts
    return found


def _of_rollups(groups: Groups) -> Any:
    """The sums of roll-ups of `step` minutes from `first` to before `end`. Made once for many ranges: it takes longer than running it."""
    table = rollup_tags if "tag" in groups.columns else rollup_keys if "key_id" in groups.columns else rollups
    t = table.c
    query = select(*_keys(groups, {name: t[name] for name in groups.columns}, t.start), *measures.of_rollups(table))
    return _grouped(query.where(t.step == bindparam("step"), t.start >= bindparam("first"), t.start < bindparam("end")), groups)


def _of_rows(conn: Connection, groups: Groups) -> Any:
    """The sums of rows from the second `first` to before `end`."""
    source: FromClause = exchanges
    columns: dict[str, ColumnElement[Any]] = dict(exchanges.c.items())
    if "tag" in groups.columns:
        source, _, columns["tag"] = measures.tagged(conn.dialect.name)
    query = select(*_keys(groups, columns, exchanges.c.minute), *measures.of_rows()).select_from(source)
    return _grouped(query.where(exchanges.c.time >= bindparam("first"), exchanges.c.time < bindparam("end")), groups)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _keys(groups: Groups, columns: Mapping[str, ColumnElement[Any]], minute: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    keys: list[ColumnElement[Any]] = [columns[name].label(f"group_{name}") for name in groups.columns]
    return keys if groups.minutes is None else [*keys, (minute // groups.minutes).label("group_step")]


def _grouped(query: Any, groups: Groups) -> Any:
    names = [f"group_{name}" for name in groups.columns] + ([] if groups.minutes is None else ["group_step"])
    return query.group_by(*measures.by_name(names)) if names else query


def _row(amounts: Amounts) -> dict[str, Any]:
    """A row of the report. A sum of nothing is 0, a sum of unknowns is unknown."""
    m: dict[str, Any] = dict(zip(measures.NAMES, amounts, strict=True))
    requests = m["requests"]
    empty = None if requests else 0
    shaped: dict[str, Any] = {"requests": requests, "ok_requests": m["ok"], "local_requests": m["local"]}
    # Whose fault it was is told apart: what clients did wrong or gave up is not an error of the service.
    shaped |= {
        "error_requests": m["upstream_error"] + m["timeout"] + m["refused"] + m["interrupted"],
        "refused_requests": m["refused"],
        "client_error_requests": m["client_error"],
        "client_gone_requests": m["client_gone"],
        "fallback_requests": m["fallbacks"],
    }
    shaped |= {name: empty if m[name] is None else m[name] for name in TOKEN_COLUMNS}
    for name in MONEY:
        amount = empty if m[f"{name}_nanousd"] is None else m[f"{name}_nanousd"]
        shaped |= {f"{name}_nanousd": amount, f"{name}_usd": usd(amount)}
    unpriced = requests - m["hosted_rows"]
    per_1k = _per_1k(m)
    return shaped | {
        "cost_per_1k_requests_nanousd": per_1k,
        "cost_per_1k_requests_usd": usd(per_1k),
        "cost_state": _state(m, unpriced),
        "unpriced_requests": unpriced,
        "unallocated_requests": requests - m["local_amortised_rows"],
        "comparable_requests": m["saved_rows"],
        "interrupted_requests": m["interrupted"],
        "sandbox": bool(m["sandbox"]),
    }


def _per_1k(m: Mapping[str, Any]) -> int | None:
    """Hosted cost and GPU share of a thousand requests, over those where each is known; null where one is known of none."""
    hosted, local = m["hosted_rows"], m["local_amortised_rows"]
    if not hosted or not local:
        return None
    return half_even(1000 * (m["hosted_nanousd"] * local + m["local_amortised_nanousd"] * hosted), hosted * local)


def _state(m: Mapping[str, Any], unpriced: int) -> str:
    if unpriced:
        return "unknown"
    if m["estimated"]:
        return "estimated"
    return "measured" if m["measured"] else "known"
