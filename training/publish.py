"""Keeping a gate's verdict beside the adapter version it is about.

Public: `publish(database, adapter, version, gate, now)`. The registry (serving/registry.py) is the only writer of its tables; this calls it in one transaction.
"""

from __future__ import annotations

from sqlalchemy import Engine

from serving import database as db
from serving import registry
from training.gate import Gate


def publish(database: Engine, adapter: str, version: int, gate: Gate, now: float, actor: str = "eval") -> None:
    """Store the verdict for (adapter, version, the gate's route); judging again replaces it. `now` in epoch seconds.

    Raises RequestError where there is no such version.
    """
    with db.writing(database) as conn:
        registry.set_gate(conn, adapter, version, gate.as_dict(), now, actor)
