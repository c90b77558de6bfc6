"""What clients said of answers they got: a score, or what the answer should have been. The only writer of `feedback`.

Here: one row per request, the last word counts; reading, sums for the evidence, forgetting. Not here: who may say what (gateway/quality/feedback.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from gateway.store.quality_tables import feedback
from gateway.store.tables import exchanges

# A correction without a score says that the answer was not right.
_WRONG = 0.0


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said of the answer to `request_id`, at `time` (epoch seconds). `correction` is redacted text; None: there is none, or it has expired."""

    id: str
    request_id: str
    route: str | None
    backend: str | None
    adapter_version: int | None
    score: float | None
    correction: str | None
    key_id: str | None
    time: float
    corrected: bool = False


def about(conn: Connection, request_id: str) -> Feedback | None:
    """Feedback as it would begin for a request of the ledger: whose it was, who answered; None: there is no such request."""
    e = exchanges.c
    row = conn.execute(select(e.route, e.backend, e.adapter_version, e.key_id).where(e.id == request_id)).one_or_none()
    return None if row is None else Feedback("", request_id, row.route, row.backend, row.adapter_version, None, None, row.key_id, 0.0)


def put(conn: Connection, item: Feedback) -> Feedback:
    """Keep it in place of what was said of this request before; it keeps the id that it had."""
    c = feedback.c
    before = conn.execute(select(c.id).where(c.request_id == item.request_id)).scalar()
    values = {name: getattr(item, name) for name in ("route", "backend", "adapter_version", "score", "correction", "key_id", "time")}
    values["corrected"] = int(item.corrected)
    if before is not None:
        conn.execute(update(feedback).where(c.request_id == item.request_id).values(**values))
        return Feedback(before, item.request_id, corrected=item.corrected, **{k: v for k, v in values.items() if k != "corrected"})
    conn.execute(insert(feedback).values(id=item.id, request_id=item.request_id, **values))
    return item


def page(conn: Connection, route: str | None, before: tuple[float, str] | None, limit: int) -> list[Feedback]:
    """Newest first; `before` is the time and id of the last of the page before."""
    c = feedback.c
    query = select(feedback).order_by(c.time.desc(), c.id.desc()).limit(limit)
    if route is not None:
        query = query.where(c.route == route)
    if before is not None:
        time, last = before
        query = query.where((c.time < time) | ((c.time == time) & (c.id < last)))
    return [_of(row) for row in conn.execute(query)]


def sums(conn: Connection, route: str, since: float) -> dict[str, tuple[int, float]]:
    """How many verdicts and their sum (each 0..1) by backend, of a route from `since` on. A correction without a score counts 0."""
    c = feedback.c
    query = (
        select(c.backend, func.count(), func.sum(func.coalesce(c.score, _WRONG)))
        .where(c.route == route, c.time >= since, c.backend.is_not(None))
        .group_by(c.backend)
    )
    return {backend: (int(n), float(total)) for backend, n, total in conn.execute(query)}


def forget_corrections(conn: Connection, route: str | None, before: float, limit: int) -> int:
    """Blot out the texts of at most `limit` corrections older than `before`; that there was one stays known."""
    c = feedback.c
    old = select(c.id).where(c.route.is_not_distinct_from(route), c.time < before, c.correction.is_not(None)).limit(limit)
    return conn.execute(update(feedback).where(c.id.in_(old)).values(correction=None)).rowcount


def routes(conn: Connection) -> list[str | None]:
    """Every route that has corrections."""
    return list(conn.execute(select(feedback.c.route).where(feedback.c.correction.is_not(None)).distinct()).scalars())


def delete_before(conn: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` rows older than `before`; how many were deleted."""
    old = select(feedback.c.id).where(feedback.c.time < before).limit(limit)
    return conn.execute(delete(feedback).where(feedback.c.id.in_(old))).rowcount


def _of(row: Any) -> Feedback:
    return Feedback(row.id, row.request_id, row.route, row.backend, row.adapter_version, row.score, row.correction, row.key_id, row.time, bool(row.corrected))
