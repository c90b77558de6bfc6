"""Batches: what was asked for, how far each is, where its answers are. The only writer of `batches`.

The state machine is the table NEXT; `move` follows it in one conditional UPDATE, so that a cancel and the runner cannot both win. Instants are epoch
seconds. Not here: the lines and their answers (gateway/batches), the files (files.py).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from gateway.store.tables import batches
from router.errors import RequestError, StateError

PREFIX = "batch_bk-"
WINDOW_S = 86_400.0
# State -> what it may become. `finalizing` of a batch whose time ran out becomes `expired`.
NEXT: dict[str, frozenset[str]] = {
    "validating": frozenset({"in_progress", "failed", "cancelling"}),
    "in_progress": frozenset({"finalizing", "cancelling"}),
    "finalizing": frozenset({"completed", "expired"}),
    "cancelling": frozenset({"cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
}
UNFINISHED = tuple(state for state, following in NEXT.items() if following)


def may_follow(state: str, later: str) -> bool:
    """Whether a batch in `state` can be in `later` now or after any number of steps."""
    return later == state or any(may_follow(step, later) for step in NEXT[state])


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch, named as in OpenAI's object. `errors` are `{code, message, param, line}`; `key_id` None: made while the gateway had no keys."""

    id: str
    key_id: str | None
    endpoint: str
    input_file_id: str
    created_at: float
    expires_at: float
    output_seconds: int
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    status: str = "validating"
    errors: list[dict[str, Any]] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None


def new_id() -> str:
    """An id for a new batch."""
    return PREFIX + secrets.token_hex(12)


def is_ours(batch_id: str) -> bool:
    """Whether an id is one this program makes; others are a provider's."""
    return batch_id.startswith(PREFIX)


def add(conn: Connection, batch: Batch) -> None:
    """Make a batch."""
    conn.execute(insert(batches).values(**{name: getattr(batch, name) for name in Batch.__slots__}))


def get(conn: Connection, batch_id: str) -> Batch | None:
    """A batch, whoever's."""
    row = conn.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
    return None if row is None else _batch(row)


def owned(conn: Connection, batch_id: str, key_id: str | None) -> Batch:
    """A batch of that key. RequestError 404 in OpenAI's words: another key's batch does not exist."""
    found = get(conn, batch_id)
    if found is None or found.key_id != key_id:
        raise no_such_batch(batch_id)
    return found


def page(conn: Connection, key_id: str | None, limit: int, after: str | None = None) -> tuple[list[Batch], bool]:
    """A page of a key's batches, newest first, and whether there are more. An `after` that is not there gives an empty page."""
    mine = batches.c.key_id.is_not_distinct_from(key_id)
    chosen = select(batches).where(mine)
    if after is not None:
        mark = conn.execute(select(batches.c.created_at).where(mine, batches.c.id == after)).scalar()
        if mark is None:
            return [], False
        chosen = chosen.where(or_(batches.c.created_at < mark, and_(batches.c.created_at == mark, batches.c.id < after)))
    rows = conn.execute(chosen.order_by(batches.c.created_at.desc(), batches.c.id.desc()).limit(limit + 1)).all()
    return [_batch(row) for row in rows[:limit]], len(rows) > limit


def unfinished(conn: Connection) -> list[Batch]:
    """Every batch there is still something to do for, oldest first."""
    chosen = select(batches).where(batches.c.status.in_(UNFINISHED)).order_by(batches.c.created_at, batches.c.id)
    return [_batch(row) for row in conn.execute(chosen)]


def count_unfinished(conn: Connection, key_id: str | None) -> int:
    """How many batches of a key are not at their end."""
    chosen = select(func.count()).where(batches.c.key_id.is_not_distinct_from(key_id), batches.c.status.in_(UNFINISHED))
    return int(conn.execute(chosen).scalar_one())


def move(conn: Connection, batch_id: str, to: str, now: float, **values: Any) -> bool:
    """Make a batch `to`, with `values` (column=value) and the instant `to`_at. False: it is in no state that leads there."""
    leading = [state for state, following in NEXT.items() if to in following]
    if not leading:
        raise StateError(f"nothing leads to {to!r}")
    changed = {"status": to, f"{to}_at": now, **values}
    return conn.execute(update(batches).where(batches.c.id == batch_id, batches.c.status.in_(leading)).values(**changed)).rowcount > 0


def count(conn: Connection, batch_id: str, completed: int, failed: int) -> None:
    """How many lines are done so far."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(completed=completed, failed=failed))


def no_such_batch(batch_id: str) -> RequestError:
    """OpenAI's answer for an id that names no batch of the caller."""
    return RequestError(f"No batch found with id '{batch_id[:200]}'.", status=404, param="batch_id")


def _batch(row: Row[Any]) -> Batch:
    return Batch(**{name: getattr(row, name) for name in Batch.__slots__})
