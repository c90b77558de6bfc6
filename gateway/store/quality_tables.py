"""The tables of the evidence about quality: what clients say of answers, what shadow calls showed, and what was made of both. Columns, nothing else."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Index, Integer, String, Table, Text

from serving.database import metadata

# Written by gateway/store/feedback.py. One row per request, the last word counts. `correction` is redacted, and NULL again once its route's captures expire;
# `corrected` stays.
feedback = Table(
    "feedback",
    metadata,
    Column("id", String, primary_key=True),
    Column("request_id", String, nullable=False, unique=True),
    Column("route", String),
    Column("backend", String),
    Column("adapter_version", Integer),
    Column("score", Double),
    Column("correction", Text),
    Column("corrected", Integer, nullable=False, server_default="0"),
    Column("key_id", String),
    Column("time", Double, nullable=False),
    Index("ix_feedback_route_time", "route", "time", "id"),
    Index("ix_feedback_time", "time"),
)

# Written by gateway/store/shadow_pairs.py. `id` is the exchange of the shadow call, `request_id` the client's; `agreed` 0..1, NULL: nothing to compare.
shadow_pairs = Table(
    "shadow_pairs",
    metadata,
    Column("id", String, primary_key=True),
    Column("request_id", String, nullable=False),
    Column("route", String, nullable=False),
    Column("adapter", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("reference_backend", String, nullable=False),
    Column("agreed", Double),
    Column("scorer", String, nullable=False),
    Column("time", Double, nullable=False),
    Column("cost_nanousd", BigInteger),
    Index("ix_shadow_pairs_place_time", "route", "adapter", "version", "time"),
    Index("ix_shadow_pairs_time", "time"),
)

# Written by gateway/store/quality_states.py. The last judgement of a version on a route, for people: nothing is decided from it.
quality_states = Table(
    "quality_states",
    metadata,
    Column("route", String, primary_key=True),
    Column("adapter", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    Column("body", JSON, nullable=False),
)
