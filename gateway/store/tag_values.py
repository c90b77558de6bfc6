"""Which values of tags have sums of their own: at most so many of a name and so many names a day. The only writer of `rollup_tag_values`.

Clients choose tags, so a tag that is different for every request would make the sums by tag as long as the ledger. The values that were made sums of first on
a day keep theirs (of those that come together, those with the most requests); the others of their name share `name=(other)`, and beyond so many names all
share `(other)`. Nothing is lost: only which value it was is not told apart. Tags with budgets always have sums of their own.

Rows that no roll-up covers yet are shown by the values they have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, cast, func, or_, select

from gateway.store import bulk
from gateway.store.measures import Tagged
from gateway.store.rollup_tables import rollup_tag_values, rollup_tags
from gateway.store.spans import Span
from gateway.store.tables import exchanges

OTHER = "(other)"
# Of a name, on a UTC day.
VALUES = 1000
NAMES = 50
_DAY = 1440


def admit(conn: Connection, step: int, span: Span, keep: Collection[str] = ()) -> bool:
    """Give the values in `rollup_tags` (units of `step` minutes in `span`) a place of their own while there is one. False: some have none, and those units
    are to be made again by `bounded`."""
    r, v = rollup_tags.c, rollup_tag_values.c
    day = (r.start // _DAY).label("day")
    query = select(day, r.tag, func.sum(r.requests).label("requests")).where(r.step == step, r.start >= span[0], r.start < span[1], r.tag.is_not(None))
    found = sorted(((row.day, row.tag, int(row.requests)) for row in conn.execute(query.group_by(day, r.tag))), key=lambda row: (row[0], -row[2], row[1]))
    known: dict[int, set[str]] = {}
    for number, tag in conn.execute(select(v.day, v.tag).where(v.day >= span[0] // _DAY, v.day <= (span[1] - 1) // _DAY)):
        known.setdefault(number, set()).add(tag)
    fresh: list[tuple[int, str]] = []
    whole = True
    counts: dict[int, Counter[str]] = {}
    for number, tag, _ in found:
        kept = known.setdefault(number, set())
        if tag in kept:
            continue
        count = counts.setdefault(number, Counter(one.partition("=")[0] for one in kept if not one.endswith(f"={OTHER}")))
        name = tag.partition("=")[0]
        if tag in keep or (count[name] < VALUES and (name in count or len(count) < NAMES)):
            more = {tag, f"{name}={OTHER}"} - kept
            count[name] += 1
            kept |= more
            fresh += [(number, one) for one in sorted(more)]
        else:
            whole = False
    bulk.insert_new(conn, rollup_tag_values, fresh)
    return whole


def bounded(tagged: Tagged) -> ColumnElement[Any]:
    """What a tag is counted under: itself, `name=(other)`, or `(other)`."""
    own, others, v = tagged.label, tagged.name + f"={OTHER}", rollup_tag_values.c
    day = exchanges.c.minute // _DAY
    has_own, has_others = (select(v.tag).where(v.day == day, v.tag == tag).exists() for tag in (own, others))
    return case((or_(own.is_(None), has_own), own), (has_others, others), else_=cast(OTHER, rollup_tags.c.tag.type))
