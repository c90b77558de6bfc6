"""Answers of `/v1/responses` that were translated here, kept so that `previous_response_id` works: the only writer of `responses`.

Here: the value, insertion, one answer, the chain of answers a conversation is made of, deletion on request and by age. Not here: who may read it and what
it means (gateway/responses/). A deleted answer leaves its id behind without content, so that a record that comes late from the spool cannot bring it back.
A conversation is forgotten as a whole, once its last answer is too old: a follow-up never meets half of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import CTE, Connection, Row, delete, func, literal, select, update

from gateway.store import bulk
from gateway.store.tables import responses

# As long as OpenAI keeps them, counted from the conversation's last answer.
KEEP_DAYS = 30.0
# Answers kept for one key; its oldest conversations go first.
MOST_PER_KEY = 50_000
# A conversation of more turns cannot be continued.
MOST_TURNS = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """One answer. `root` is the id its conversation began with, `input` the items that were new in its request (each with an id), `response` the answer as the
    client got it. `key_id` None: the gateway was open. `deleted`: nothing of it is left but its id."""

    id: str
    time: float
    key_id: str | None
    root: str
    previous_id: str | None
    input: list[dict[str, Any]]
    response: dict[str, Any]
    deleted: bool = False


def insert(conn: Connection, items: Sequence[Stored]) -> None:
    """Keep answers; one that is there already stays."""
    bulk.insert_new(
        conn,
        responses,
        [(item.id, item.time, item.key_id, item.root, item.previous_id, _json(item.input), _json(item.response), item.deleted) for item in items],
    )


def get(conn: Connection, response_id: str) -> Stored | None:
    """One answer."""
    row = conn.execute(select(responses).where(responses.c.id == response_id)).one_or_none()
    return None if row is None else _stored(row)


def chain(conn: Connection, response_id: str, most: int = MOST_TURNS) -> list[Stored]:
    """An answer and those before it in its conversation, newest first, as far as they are here; at most `most`."""
    steps = _steps(response_id, most)
    return [_stored(row) for row in conn.execute(select(responses).join(steps, responses.c.id == steps.c.id).order_by(steps.c.depth))]


def size(conn: Connection, response_id: str, most: int = MOST_TURNS) -> int:
    """How many characters `chain` would read."""
    steps = _steps(response_id, most)
    texts = func.length(responses.c.input) + func.length(responses.c.response)
    found: int = conn.execute(select(func.coalesce(func.sum(texts), 0)).select_from(responses).join(steps, responses.c.id == steps.c.id)).scalar_one()
    return found


def _steps(response_id: str, most: int) -> CTE:
    newest = select(responses.c.id, responses.c.previous_id, literal(0).label("depth")).where(responses.c.id == response_id)
    steps = newest.cte("steps", recursive=True)
    earlier = select(responses.c.id, responses.c.previous_id, steps.c.depth + 1).join(steps, responses.c.id == steps.c.previous_id)
    return steps.union_all(earlier.where(steps.c.depth < most - 1))


def remove(conn: Connection, response_id: str, key_id: str | None) -> bool:
    """Delete the content of a key's answer; False when the key has no such answer."""
    mine = responses.c.id == response_id, responses.c.key_id.is_not_distinct_from(key_id), responses.c.deleted.is_(False)
    return conn.execute(update(responses).where(*mine).values(input="[]", response="{}", deleted=True)).rowcount == 1


def delete_before(conn: Connection, before: float, limit: int) -> int:
    """Delete the answers of at most `limit` conversations whose last answer is older than `before`; how many conversations."""
    old = select(responses.c.root).group_by(responses.c.root).having(func.max(responses.c.time) < before).limit(limit)
    roots = list(conn.execute(old).scalars())
    _forget(conn, roots)
    return len(roots)


def delete_beyond(conn: Connection, most: int = MOST_PER_KEY) -> int:
    """Delete the oldest conversations of keys that have more than `most` answers; how many conversations."""
    crowded = select(responses.c.key_id).group_by(responses.c.key_id).having(func.count() > most)
    forgotten = 0
    for key_id in conn.execute(crowded).scalars().all():
        newest = func.max(responses.c.time).label("newest")
        mine = select(responses.c.root, func.count().label("answers"), newest).where(responses.c.key_id.is_not_distinct_from(key_id))
        kept, roots = 0, []
        for row in conn.execute(mine.group_by(responses.c.root).order_by(newest.desc(), responses.c.root)):
            kept += row.answers
            if kept > most:
                roots.append(row.root)
        _forget(conn, roots)
        forgotten += len(roots)
    return forgotten


def _forget(conn: Connection, roots: Sequence[str]) -> None:
    for some in bulk.chunks(roots):
        conn.execute(delete(responses).where(responses.c.root.in_(some)))


def _stored(row: Row[Any]) -> Stored:
    return Stored(row.id, row.time, row.key_id, row.root, row.previous_id, orjson.loads(row.input), orjson.loads(row.response), bool(row.deleted))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
