"""What is summed over ledger rows, as SQL over `exchanges` and as columns of the roll-ups: the one list that both readers and writers of sums go by.

Money is never guessed: each kind is summed over the rows whose amount is known, beside the number of those rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Integer, String, Table, and_, case, cast, func, literal_column, null, or_, true

from gateway.store.rollup_tables import COUNTS, MONEY
from gateway.store.tables import TOKEN_COLUMNS, exchanges
from router.types import Outcome

NAMES: tuple[str, ...] = (*COUNTS, *TOKEN_COLUMNS, *(part for name in MONEY for part in (f"{name}_nanousd", f"{name}_rows")))
Amounts = list[int | None]


@cache
def of_rows() -> tuple[ColumnElement[Any], ...]:
    """Every measure over `exchanges`, labelled, in the order of NAMES. Made once: building these expressions takes as long as a small query."""
    e = exchanges.c
    counted = {outcome.value: e.outcome == outcome.value for outcome in Outcome} | {
        "fallbacks": and_(e.outcome == Outcome.OK.value, e.failed_attempts > 0),
        "local": e.kind == "local",
        "sandbox": e.sandbox,
        "estimated": e.cost_state == "estimated",
        "measured": e.cost_state == "measured",
    }
    counts = [func.count().label("requests"), *(_count(counted[name]).label(name) for name in COUNTS[1:])]
    tokens = [func.sum(e[name]).label(name) for name in TOKEN_COLUMNS]
    money = [part for name, value in _money().items() for part in (func.sum(value).label(f"{name}_nanousd"), func.count(value).label(f"{name}_rows"))]
    return (*counts, *tokens, *money)


@cache
def of_rollups(table: Table) -> tuple[ColumnElement[Any], ...]:
    """Every measure summed over a table of roll-ups, labelled, in the order of NAMES."""
    return tuple(func.sum(table.c[name]).label(name) for name in NAMES)


def nothing() -> Amounts:
    """The measures of no rows at all."""
    tokens: Amounts = [None] * len(TOKEN_COLUMNS)
    return [0] * len(COUNTS) + tokens + [None, 0] * len(MONEY)


def added(one: Iterable[Any], other: Iterable[Any]) -> Amounts:
    """The measures of two disjoint sets of rows together: an unknown amount adds nothing."""
    return [b if a is None else a if b is None else a + b for a, b in zip(one, other, strict=True)]


def whole(values: Sequence[Any], dialect: str) -> Amounts:
    """As integers: Postgres sums big integers as decimals."""
    return list(values) if dialect == "sqlite" else [None if value is None else int(value) for value in values]


class Tagged(NamedTuple):
    """Exchanges with one row for each tag (one without a tag where there is none): the tag's name and value, null without one, and both as `name=value`."""

    source: FromClause
    name: ColumnElement[Any]
    label: ColumnElement[Any]


def tagged(dialect: str) -> Tagged:
    """Exchanges by tag."""
    if dialect == "sqlite":
        tags: Any = func.json_each(exchanges.c.tags).table_valued("key", "value")
    else:
        tags = func.json_each_text(exchanges.c.tags).table_valued("key", "value").render_derived().lateral()
    name = cast(tags.c.key, String)
    label = case((tags.c.key.is_(None), None), else_=name + "=" + cast(tags.c.value, String))
    return Tagged(exchanges.outerjoin(tags, true()), name, label)


def by_name(names: Sequence[str]) -> list[ColumnElement[Any]]:
    """Labels to group by. By name: Postgres would not see that two bound parameters of the same expression are the same."""
    return [literal_column(name) for name in names]


def _money() -> dict[str, Any]:
    e = exchanges.c
    # What is neither local nor cut off has no local cost, whatever the row says of it.
    maybe_local = or_(e.kind == "local", e.outcome == Outcome.INTERRUPTED.value)
    comparable = and_(e.all_hosted_nanousd.is_not(None), e.cost_nanousd.is_not(None), e.amortised_nanousd.is_not(None))
    return {
        "hosted": e.cost_nanousd,
        "local_amortised": e.amortised_nanousd,
        "local_opportunity": case((e.opportunity_nanousd.is_not(None), e.opportunity_nanousd), (maybe_local, null()), else_=0),
        "all_hosted": e.all_hosted_nanousd,
        "saved": case((comparable, e.all_hosted_nanousd - e.cost_nanousd - e.amortised_nanousd)),
    }


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(cast(case((condition, 1), else_=0), Integer)), 0)
