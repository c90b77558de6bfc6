"""The tables that keep long GPU bills short: days of closed minutes, and what is folded away. Columns alone. All are written by gateway/store/gpu_days.py.

`day` is whole days since the epoch (minute // 1440, UTC). Money is None where the price is known of none of what is summed.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from serving.database import metadata

# Sums over the closed minutes of an engine, whose names are those of `engine_minutes`; the bill of what was up (`gpu_minutes`), closed or not, beside them.
ENGINE_SUMS = (
    *("milliseconds", "busy_ms", "sampled_ms", "allocated_nanousd", "foreign_nanousd", "idle_nanousd", "bill_nanousd"),
    *("prefill_tokens", "decode_tokens", "foreign_prefill_tokens", "foreign_decode_tokens", "priced_tokens", "all_priced_tokens"),
)
engine_days = Table(
    "engine_days",
    metadata,
    Column("engine", String, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    # Minutes that replicas were up, those of them with a price, and what those cost; minutes of the engine, and how many are closed.
    *(Column(name, Integer, nullable=False) for name in ("replica_minutes", "priced_minutes", "minutes", "closed_minutes")),
    Column("up_nanousd", BigInteger),
    # What replicas were up in closed minutes.
    Column("replica_ms", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=not name.endswith(("_ms", "_tokens", "milliseconds"))) for name in ENGINE_SUMS),
)
# The days of `backend_minutes`.
backend_days = Table(
    "backend_days",
    metadata,
    Column("engine", String, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("backend", String, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in ("calls", "prefill_tokens", "decode_tokens")),
    Column("nanousd", BigInteger),
)
# Days whose minutes changed since they were summed. Until they are summed again, readers take the minutes.
gpu_dirty = Table("gpu_dirty", metadata, Column("day", Integer, primary_key=True, autoincrement=False))
# What exchanges carried of minutes whose single shares are gone: with `local_allocations`, the whole.
allocation_days = Table(
    "allocation_days",
    metadata,
    Column("engine", String, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("shares", BigInteger, nullable=False),
    Column("nanousd", BigInteger, nullable=False),
)
# One row: the minute before which closed minutes stay as they are, for single shares of before it are folded.
gpu_horizon = Table(
    "gpu_horizon",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("minute", Integer, nullable=False),
)
