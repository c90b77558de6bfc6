"""Every table of the store. Each is written by exactly one module, named beside it.

Here: columns and indices, nothing else. Money is integer nano-dollars, instants are epoch seconds (UTC), NULL means unknown and never zero.
`minute` is the whole minute since the epoch (time // 60): hours and days are integer divisions of it on SQLite and Postgres alike.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, String, Table, Text, UniqueConstraint

from serving.database import metadata

# The kinds of token that exchanges and attempts count, in the order of router.types.Usage; whoever sums tokens iterates these.
TOKEN_COLUMNS: tuple[str, ...] = (
    *("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"),
    *("cache_write_tokens", "audio_input_tokens", "audio_output_tokens"),
)

# Written by gateway/store/exchanges.py. One row per admitted request.
exchanges = Table(
    "exchanges",
    metadata,
    Column("id", String, primary_key=True),
    Column("time", Double, nullable=False),
    Column("minute", Integer, nullable=False),
    Column("route", String),
    Column("endpoint", String, nullable=False),
    Column("backend", String),
    Column("kind", String),
    Column("adapter_version", Integer),
    Column("key_id", String),
    Column("tags", JSON, nullable=False),
    Column("stream", Boolean),
    Column("status", Integer, nullable=False),
    Column("outcome", String, nullable=False),
    Column("input_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("audio_input_tokens", BigInteger),
    Column("audio_output_tokens", BigInteger),
    Column("usage_state", String, nullable=False),
    Column("cost_nanousd", BigInteger),
    Column("cost_state", String, nullable=False),
    Column("opportunity_nanousd", BigInteger),
    Column("all_hosted_nanousd", BigInteger),
    # 0 where no attempt was local; NULL until every minute the local attempts touched is closed.
    Column("amortised_nanousd", BigInteger),
    Column("ttft_ms", Double),
    Column("total_ms", Double),
    Column("overhead_ms", Double),
    Column("reason", String),
    Column("decision_id", String),
    Column("sandbox", Boolean, nullable=False),
    Column("prompt_bytes", BigInteger, nullable=False),
    Column("trace", String),
    Column("finish_reason", String),
    # Attempts that failed before the last one; with the outcome `ok`: it was answered by a fallback.
    Column("failed_attempts", Integer, nullable=False, server_default="0"),
    Index("ix_exchanges_time", "time", "id"),
    Index("ix_exchanges_route_time", "route", "time"),
    Index("ix_exchanges_key_id_time", "key_id", "time"),
)

# Written by gateway/store/exchanges.py. One row per call to a backend, failed ones included; `owner` is the provider or engine.
attempts = Table(
    "attempts",
    metadata,
    Column("exchange_id", String, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("backend", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("status", Integer),
    Column("error", String),
    Column("started", Double, nullable=False),
    Column("ended", Double, nullable=False),
    Column("ttft_ms", Double),
    Column("total_ms", Double, nullable=False),
    Column("input_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("audio_input_tokens", BigInteger),
    Column("audio_output_tokens", BigInteger),
    Column("usage_state", String, nullable=False),
    Column("cost_nanousd", BigInteger),
    Column("cost_state", String, nullable=False),
    Column("service_tier", String),
)
# Only local attempts are ever looked up by time (GPU minutes); leaving the hosted ones out keeps ingestion cheap.
Index("ix_attempts_local", attempts.c.owner, attempts.c.started, sqlite_where=attempts.c.kind == "local", postgresql_where=attempts.c.kind == "local")

# Written by gateway/store/decisions.py. `packed` is the JSON text of an array whose names are the `body` of the shape; the `body` of a snapshot is
# the JSON text of router/record.py.
decisions = Table(
    "decisions",
    metadata,
    Column("id", String, primary_key=True),
    Column("time", Double, nullable=False),
    Column("route", String, nullable=False),
    Column("snapshot_digest", String, nullable=False),
    Column("shape_digest", String, nullable=False),
    Column("packed", Text, nullable=False),
    Index("ix_decisions_time", "time", "id"),
)
snapshots = Table(
    "snapshots",
    metadata,
    Column("digest", String, primary_key=True),
    Column("body", Text, nullable=False),
)
decision_shapes = Table(
    "decision_shapes",
    metadata,
    Column("digest", String, primary_key=True),
    Column("body", Text, nullable=False),
)

# Written by gateway/store/captures.py. Redacted before it comes here, and deleted when its route says so.
captures = Table(
    "captures",
    metadata,
    Column("exchange_id", String, primary_key=True),
    Column("time", Double, nullable=False),
    Column("route", String),
    Column("backend", String),
    Column("request", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("tool_calls", Text, nullable=False),
    Column("finish", String),
    Index("ix_captures_route_time", "route", "time", "exchange_id"),
)

# Written by gateway/store/responses.py. Translated answers of /v1/responses, for `previous_response_id`. `root` is the id its conversation began with.
responses = Table(
    "responses",
    metadata,
    Column("id", String, primary_key=True),
    Column("time", Double, nullable=False),
    Column("key_id", String),
    Column("root", String, nullable=False),
    Column("previous_id", String),
    Column("input", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Index("ix_responses_root_time", "root", "time"),
    Index("ix_responses_key_id_root", "key_id", "root"),
)

# Written by gateway/store/keys.py. The secret itself is nowhere: only its SHA-256.
keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("sha256", String, nullable=False, unique=True),
    Column("prefix", String, nullable=False),
    Column("name", String, nullable=False),
    Column("routes", JSON(none_as_null=True)),
    Column("models", JSON(none_as_null=True)),
    Column("rpm", Integer),
    Column("tpm", BigInteger),
    Column("concurrency", Integer),
    Column("nanousd_per_day", BigInteger),
    Column("expires_at", Double),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("endpoints", JSON(none_as_null=True)),
    Column("nanousd_per_month", BigInteger),
    Column("tags", JSON(none_as_null=True)),
    # The secret before the last rotation, and until when it opens the same.
    Column("previous_sha256", String),
    Column("previous_until", Double),
)

# Written by gateway/store/alerts.py. Each is decided once: by `kind`, whose budget, which period (its first instant) and how much. `body` is what is sent.
alerts = Table(
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("name", String, nullable=False),
    Column("period", String, nullable=False),
    Column("since", Double, nullable=False),
    Column("at", Double, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Double),
    Column("sent_at", Double),
    Column("error", String),
    UniqueConstraint("scope", "name", "period", "since", "kind", "at"),
    Index("ix_alerts_next_at", "next_at"),
)

# Written by gateway/store/gpu.py. What was up, minute by minute: the GPU bill.
gpu_minutes = Table(
    "gpu_minutes",
    metadata,
    Column("engine", String, primary_key=True),
    Column("replica", Integer, primary_key=True, autoincrement=False),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("milliseconds", Integer, nullable=False),
    Column("gpu_hour_nanousd", BigInteger),
    Column("bill_nanousd", BigInteger),
    # What was billed of the minute before the price changed in it, and for how long.
    Column("earlier_ms", Integer, nullable=False, server_default="0"),
    Column("earlier_nanousd", BigInteger, server_default="0"),
    Index("ix_gpu_minutes_minute", "minute"),
)
# Written by gateway/store/gpu.py. One row per closed minute of an engine; bill = allocated + foreign + idle, exactly (foreign NULL: closed before it was
# counted, which is none). `stale`: something came late, close it again. Tokens are computed prompt tokens and generated ones: of our requests, and of others.
engine_minutes = Table(
    "engine_minutes",
    metadata,
    Column("engine", String, primary_key=True),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("milliseconds", Integer, nullable=False),
    Column("bill_nanousd", BigInteger),
    Column("allocated_nanousd", BigInteger),
    Column("idle_nanousd", BigInteger),
    Column("closed_at", Double, nullable=False),
    Column("stale", Boolean, nullable=False),
    Column("foreign_nanousd", BigInteger),
    Column("busy_ms", Integer),
    Column("sampled_ms", Integer),
    Column("prefill_tokens", BigInteger),
    Column("decode_tokens", BigInteger),
    Column("foreign_prefill_tokens", BigInteger),
    Column("foreign_decode_tokens", BigInteger),
    Column("decode_weight", Double),
    Index("ix_engine_minutes_minute", "minute"),
)
# Written by gateway/store/gpu.py. What each exchange carries of each closed minute.
local_allocations = Table(
    "local_allocations",
    metadata,
    Column("engine", String, primary_key=True),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("exchange_id", String, primary_key=True),
    Column("nanousd", BigInteger, nullable=False),
    Index("ix_local_allocations_exchange_id", "exchange_id"),
)

# Written by gateway/store/ingest.py. How far each spool file is in the database, and the admits that are not settled yet.
spool_offsets = Table(
    "spool_offsets",
    metadata,
    Column("file", String, primary_key=True),
    Column("offset", BigInteger, nullable=False),
)
open_admits = Table(
    "open_admits",
    metadata,
    Column("id", String, primary_key=True),
    Column("generation", String, nullable=False),
    Column("time", Double, nullable=False),
    Column("route", String),
    Column("endpoint", String, nullable=False),
    Column("key_id", String),
    Index("ix_open_admits_generation", "generation"),
)

# Written by gateway/store/repricings.py. The audit trail of re-pricing: who, when, why, and what it changed. `cursor_*` is how far it is; `finished_at` NULL:
# it was interrupted, or is at work. Sums are over the rows it looked at, `unknown_*` counts those without a cost. It corrects costs in `exchanges` and
# `attempts` too.
repricings = Table(
    "repricings",
    metadata,
    Column("id", String, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("by", String, nullable=False),
    Column("reason", String),
    Column("since", Double),
    Column("until", Double),
    Column("provider", String),
    Column("model", String),
    Column("prices", String, nullable=False),
    Column("cursor_time", Double),
    Column("cursor_id", String),
    Column("rows", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("left_alone", BigInteger, nullable=False),
    Column("attempts_changed", BigInteger, nullable=False),
    Column("before_nanousd", BigInteger, nullable=False),
    Column("after_nanousd", BigInteger, nullable=False),
    Column("unknown_before", BigInteger, nullable=False),
    Column("unknown_after", BigInteger, nullable=False),
    Column("all_hosted_changed", BigInteger, nullable=False),
    Column("all_hosted_before_nanousd", BigInteger, nullable=False),
    Column("all_hosted_after_nanousd", BigInteger, nullable=False),
    Index("ix_repricings_started_at", "started_at"),
)

# Written by gateway/store/files.py. The content is on the disk of the host that took it (content.py); `key_id` NULL: uploaded while no key existed.
files = Table(
    "files",
    metadata,
    Column("id", String, primary_key=True),
    Column("key_id", String),
    Column("filename", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Index("ix_files_key_id_created_at", "key_id", "created_at", "id"),
    Index("ix_files_expires_at", "expires_at"),
)

# Written by gateway/store/uploads.py. Files that come in parts; `file_seconds` is how long the file shall live, NULL: as its purpose has it.
uploads = Table(
    "uploads",
    metadata,
    Column("id", String, primary_key=True),
    Column("key_id", String),
    Column("filename", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("file_seconds", Integer),
    Column("status", String, nullable=False),
    Column("file_id", String),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("ix_uploads_status_expires_at", "status", "expires_at"),
)
upload_parts = Table(
    "upload_parts",
    metadata,
    Column("id", String, primary_key=True),
    Column("upload_id", String, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_upload_parts_upload_id", "upload_id"),
)

# Written by gateway/store/batches.py. `headers` are the wishes every line is sent with; `output_seconds` is how long the files it makes shall live.
batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    Column("key_id", String),
    Column("endpoint", String, nullable=False),
    Column("input_file_id", String, nullable=False),
    Column("completion_window", String, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    Column("headers", JSON, nullable=False),
    Column("output_seconds", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("errors", JSON(none_as_null=True)),
    Column("output_file_id", String),
    Column("error_file_id", String),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("in_progress_at", Double),
    Column("finalizing_at", Double),
    Column("completed_at", Double),
    Column("failed_at", Double),
    Column("expired_at", Double),
    Column("cancelling_at", Double),
    Column("cancelled_at", Double),
    Index("ix_batches_key_id_created_at", "key_id", "created_at", "id"),
    Index("ix_batches_status", "status"),
)
