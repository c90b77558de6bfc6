"""The tables of drift detection. All are written by gateway/store/drift.py. Columns alone.

No text of anybody is in them: numbers of single requests until they are counted (seconds), counts per feature afterwards (docs/drift.md).
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, Index, Integer, String, Table, Text

from serving.database import metadata

# What the workers measured of single requests and the controller has not counted yet. `adapter` empty: the answer was no adapter's. `body`: a JSON array
# (gateway/drift/sketch.py).
drift_samples = Table(
    "drift_samples",
    metadata,
    Column("exchange_id", String, primary_key=True),
    Column("time", Double, nullable=False),
    Column("route", String, nullable=False),
    Column("adapter", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_drift_samples_time", "time"),
)

# One row per (route, adapter version) that answers there. `level` is none, notify, shadow, stop or retrain, since `since`; `reasons` are the sentences why.
# `report` is what GET /admin/drift shows of the features, `memory` what the detectors go on with (JSON).
drift_states = Table(
    "drift_states",
    metadata,
    Column("route", String, primary_key=True),
    Column("adapter", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("level", String, nullable=False),
    Column("since", Double, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("action", String),
    Column("acted_at", Double),
    Column("samples", Integer, nullable=False),
    Column("report", JSON, nullable=False),
    Column("memory", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
)

# Counts: `input` and `output` (the baseline and the newest blocks of requests), `input-000` to `output-167` (the baseline of one hour of the week).
# Version 0 of the adapter without a name is the route itself, whoever answers.
drift_windows = Table(
    "drift_windows",
    metadata,
    Column("route", String, primary_key=True),
    Column("adapter", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("part", String, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("body", Text, nullable=False),
)

# One row each time that retraining was proposed. `since`: when what it is about began; `summary`: what differs; `status`: open, or withdrawn.
drift_proposals = Table(
    "drift_proposals",
    metadata,
    Column("id", String, primary_key=True),
    Column("time", Double, nullable=False),
    Column("route", String, nullable=False),
    Column("adapter", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("since", Double, nullable=False),
    Column("status", String, nullable=False),
    Column("summary", JSON, nullable=False),
    Index("ix_drift_proposals_route_time", "route", "time"),
)
