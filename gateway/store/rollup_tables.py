"""The tables of the roll-ups: sums over the ledger by minute, hour and day, and which are to be made again. All are written by gateway/store/rollups.py.

Here: columns alone. What a column sums is in gateway/store/measures.py; who reads them is costs.py and latencies.py.

`step` is the length of a unit in minutes (1, 60, 1440), `start` its first minute since the epoch. A unit may have several rows of one group: they are added up.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from gateway.store.tables import TOKEN_COLUMNS
from serving.database import metadata

STEPS = (1440, 60, 1)
# Counts of rows, known for each of them.
COUNTS = (
    *("requests", "ok", "client_error", "client_gone", "upstream_error", "timeout", "refused", "interrupted"),
    *("fallbacks", "local", "sandbox", "estimated", "measured"),
)
# Sums of nano-dollars over the rows whose amount is known, each beside the number of those rows (`<name>_rows`).
MONEY = ("hosted", "local_amortised", "local_opportunity", "all_hosted", "saved")


def _measures() -> list[Column[int]]:
    counts = [Column(name, BigInteger, nullable=False) for name in COUNTS]
    tokens = [Column(name, BigInteger) for name in TOKEN_COLUMNS]
    money = [part for name in MONEY for part in (Column(f"{name}_nanousd", BigInteger), Column(f"{name}_rows", BigInteger, nullable=False))]
    return [*counts, *tokens, *money]


def _unit() -> list[Column[int]]:
    return [
        Column("step", Integer, primary_key=True, autoincrement=False),
        Column("start", Integer, primary_key=True, autoincrement=False),
        Column("position", Integer, primary_key=True, autoincrement=False),
    ]


def _group() -> list[Column[Any]]:
    return [Column("route", String), Column("backend", String), Column("adapter_version", Integer)]


rollups = Table("rollups", metadata, *_unit(), *_group(), *_measures())
# The same by key as well, apart: most questions do not ask for keys, of which there may be hundreds.
rollup_keys = Table("rollup_keys", metadata, *_unit(), *_group(), Column("key_id", String), *_measures())
# A request is in one row for each of its tags (`name=value`), or in one without a tag.
rollup_tags = Table("rollup_tags", metadata, *_unit(), *_group(), Column("key_id", String), Column("tag", String), *_measures())
# Histograms of the answers that succeeded (histogram.py), as text.
rollup_latencies = Table(
    "rollup_latencies",
    metadata,
    *_unit(),
    *_group(),
    Column("ttft", Text, nullable=False),
    Column("total", Text, nullable=False),
    Column("overhead", Text, nullable=False),
)
# Units whose rows changed since they were made. Until they are made again, readers go to finer units and to the rows themselves.
rollup_dirty = Table(
    "rollup_dirty",
    metadata,
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("start", Integer, primary_key=True, autoincrement=False),
)
# Hours with so few rows that their minutes are not worth keeping: readers take the rows.
rollup_thin = Table("rollup_thin", metadata, Column("start", Integer, primary_key=True, autoincrement=False))
# The values of tags (`name=value`) that have sums of their own on a day (days since the epoch); the others of that day share one (tag_values.py).
rollup_tag_values = Table(
    "rollup_tag_values",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("tag", String, primary_key=True),
)
# One row: the minute before which rows have been deleted and only hours and days are left, which stay as they are.
rollup_horizon = Table(
    "rollup_horizon",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("minute", Integer, nullable=False),
)
