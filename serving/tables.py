"""The tables of engines and adapters. Written by serving/registry.py alone (engine_replicas: serving/replica_table.py alone); columns live here, nothing else.

Instants are epoch seconds (UTC). JSON columns hold what is shown, never what is searched by.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Double, Index, Integer, String, Table, Text

from serving.database import metadata

# One row per adapter name. `live`, `previous`, `canary_*` are in force; `want_*` is asked for and happens once the version is loaded and verified.
adapters = Table(
    "adapters",
    metadata,
    Column("name", String, primary_key=True),
    Column("engine", String, nullable=False),
    Column("live", Integer),
    Column("previous", Integer),
    Column("rolled_back", Integer),
    Column("canary_version", Integer),
    Column("canary_percent", Double, nullable=False),
    Column("want_live", Integer),
    Column("want_back", Boolean, nullable=False),
    Column("want_canary", Integer),
    Column("want_percent", Double, nullable=False),
    Column("created_at", Double, nullable=False),
)

# One row per version, for ever. `wanted`: it should be loaded on every replica. `verified`: the last verification's numbers.
adapter_versions = Table(
    "adapter_versions",
    metadata,
    Column("adapter", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String, nullable=False),
    Column("path", String, nullable=False),
    Column("source", String, nullable=False),
    Column("state", String, nullable=False),
    Column("wanted", Boolean, nullable=False),
    Column("checks", JSON, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("gates", JSON, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("verified", JSON(none_as_null=True)),
    Column("drain_until", Double),
    Column("files_removed", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Index("ix_adapter_versions_digest", "digest"),
)

# Where a version is, replica by replica: state is loaded, verified or failed. No row: it is not there.
adapter_replicas = Table(
    "adapter_replicas",
    metadata,
    Column("engine", String, primary_key=True),
    Column("replica", Integer, primary_key=True, autoincrement=False),
    Column("adapter", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("changed_at", Double, nullable=False),
)

# What the router may do with (route, adapter version); `router.types.Stage`.
route_stages = Table(
    "route_stages",
    metadata,
    Column("route", String, primary_key=True),
    Column("adapter", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("stage", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_at", Double, nullable=False),
)

# Who did what, and why. Never updated.
adapter_audit = Table(
    "adapter_audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Double, nullable=False),
    Column("adapter", String, nullable=False),
    Column("version", Integer),
    Column("verb", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Index("ix_adapter_audit_adapter", "adapter", "id"),
)

# The vLLM servers, as the controller last saw them. `model` is the name the base answers to, `max_model_len` its context in tokens,
# `room` how many adapters it keeps in memory (null: run by someone else).
engine_replicas = Table(
    "engine_replicas",
    metadata,
    Column("engine", String, primary_key=True),
    Column("replica", Integer, primary_key=True, autoincrement=False),
    Column("url", String, nullable=False),
    Column("model", String, nullable=False),
    Column("state", String, nullable=False),
    Column("healthy", Boolean, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Column("max_model_len", Integer),
    Column("room", Integer),
    Column("changed_at", Double, nullable=False),
)
