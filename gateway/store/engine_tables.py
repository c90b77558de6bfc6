"""The tables of what engines did and can do. Each is written by exactly one module, named beside it. Columns alone; the GPU bill's tables are in tables.py."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, String, Table

from serving.database import metadata

# Written by gateway/store/engine_work.py. What vLLM's own counters say a replica did in a minute, whoever asked; `milliseconds` of it were watched.
engine_work = Table(
    "engine_work",
    metadata,
    Column("engine", String, primary_key=True),
    Column("replica", Integer, primary_key=True, autoincrement=False),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("milliseconds", Integer, nullable=False),
    Column("busy_ms", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("generated_tokens", BigInteger, nullable=False),
    Column("running", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Index("ix_engine_work_minute", "minute"),
)

# Written by gateway/store/gpu.py. A closed minute of an engine by what answered (`backend`: `local`, `local/support-triage@3`): calls that began in it,
# computed prompt tokens and generated tokens, and their part of what is allocated; the parts sum to it exactly.
backend_minutes = Table(
    "backend_minutes",
    metadata,
    Column("engine", String, primary_key=True),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("backend", String, primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("prefill_tokens", BigInteger, nullable=False),
    Column("decode_tokens", BigInteger, nullable=False),
    Column("nanousd", BigInteger),
    Index("ix_backend_minutes_minute", "minute"),
)

# Written by gateway/store/curves.py. What `breakeven calibrate` measured. `points` is a list of {batch, prefill_tokens_per_s, decode_tokens_per_s, disturbed};
# `complete`: every batch size that was asked for is in it.
engine_curves = Table(
    "engine_curves",
    metadata,
    Column("engine", String, primary_key=True),
    Column("measured_at", Double, primary_key=True),
    Column("replica", Integer, nullable=False),
    Column("model", String, nullable=False),
    Column("dtype", String),
    Column("hardware", String),
    Column("vllm_version", String),
    Column("prompt_tokens", Integer, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("decode_weight", Double, nullable=False),
    Column("points", JSON, nullable=False),
)
