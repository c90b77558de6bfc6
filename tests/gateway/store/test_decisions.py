"""Decisions and what they were made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Engine

from gateway.store import decisions, shape
from gateway.store.records import DecisionText, SnapshotBody
from router.record import digest, to_dict
from router.types import Decision, Snapshot
from serving.database import reading, writing

Make = Callable[..., Any]


def packed(decision: Decision) -> DecisionText:
    """A decision as the ledger gets it."""
    text = orjson.dumps(shape.pack_decision(decision), default=sorted).decode()
    return DecisionText(decision.id, decision.now, decision.route, decision.snapshot_digest, text)


def test_a_decision_comes_with_its_snapshot(database: Engine, decision: Make, snapshot: Snapshot) -> None:
    """Both as they were; without its snapshot a decision cannot be replayed and is not given."""
    made = decision("dec_1", snapshot_digest=digest(snapshot))
    with writing(database) as conn:
        kept = decisions.keep_shape(conn, shape.DECISION)
        decisions.insert(conn, [packed(made), packed(decision("dec_2", snapshot_digest="gone"))], kept)
        decisions.insert_snapshots(conn, [SnapshotBody(digest(snapshot), orjson.dumps(to_dict(snapshot)).decode())])
    with reading(database) as conn:
        assert decisions.get(conn, "dec_1") == (made, snapshot)
        assert decisions.get(conn, "dec_2") is None
        assert decisions.get(conn, "dec_3") is None


def test_a_decision_of_an_older_version_is_read_by_its_own_names(sqlite: Engine, decision: Make) -> None:
    """Fields have moved since it was packed; it reads as it was meant."""
    made = decision("dec_1")
    older = {**shape.DECISION, "live": tuple(reversed(shape.DECISION["live"]))}
    values, features, scored, live = shape.pack_decision(made)
    text = orjson.dumps((values, features, scored, [tuple(reversed(item)) for item in live]), default=sorted).decode()
    with writing(sqlite) as conn:
        decisions.insert(conn, [DecisionText("dec_1", made.now, "triage", "", text)], decisions.keep_shape(conn, older))
        decisions.insert(conn, [packed(decision("dec_2", now=made.now + 1))], decisions.keep_shape(conn, shape.DECISION))
        assert decisions.recent(conn, 10) == [decision("dec_2", now=made.now + 1), made]


def test_the_newest_decisions_come_first(database: Engine, decision: Make) -> None:
    """Of all routes or of one."""
    made = [decision(f"dec_{n}", now=float(n), route="odd" if n % 2 else "even") for n in range(6)]
    with writing(database) as conn:
        decisions.insert(conn, [packed(d) for d in made], decisions.keep_shape(conn, shape.DECISION))
    with reading(database) as conn:
        assert [d.id for d in decisions.recent(conn, 3)] == ["dec_5", "dec_4", "dec_3"]
        assert [d.id for d in decisions.recent(conn, 2, "even")] == ["dec_4", "dec_2"]
