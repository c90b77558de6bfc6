"""The tables of fine-tuning jobs. Written by gateway/store/fine_tuning.py alone. Columns alone; instants are epoch seconds."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, String, Table, UniqueConstraint

from serving.database import metadata

# One job. `model` is the base as it was asked for, `engine` what stands for it; `adapter` the name its versions will have. `wishes` is the method as asked,
# `hyperparameters` what became of it once the files were read. `reached` is the last step told to the world, `failures` how often its process died since
# it last got further, `retry_at` when it may be started again. `webhook_at`: when to tell the world that it ended; NULL: nothing to tell.
ft_jobs = Table(
    "ft_jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("key_id", String),
    Column("created_at", Double, nullable=False),
    Column("status", String, nullable=False),
    Column("model", String, nullable=False),
    Column("engine", String, nullable=False),
    Column("adapter", String, nullable=False),
    Column("training_file", String, nullable=False),
    Column("validation_file", String),
    Column("suffix", String),
    Column("seed", Integer, nullable=False),
    Column("method", String, nullable=False),
    Column("wishes", JSON, nullable=False),
    Column("local", JSON, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    Column("integrations", JSON(none_as_null=True)),
    Column("hyperparameters", JSON(none_as_null=True)),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("estimated_finish", Double),
    Column("trained_tokens", BigInteger),
    Column("reached", Integer, nullable=False, server_default="0"),
    Column("total", Integer, nullable=False, server_default="0"),
    Column("version", Integer),
    Column("fine_tuned_model", String),
    Column("model_deleted", Boolean, nullable=False, server_default="0"),
    Column("result_files", JSON, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("retry_at", Double),
    Column("webhook_at", Double),
    Column("webhook_tries", Integer, nullable=False, server_default="0"),
    Index("ix_ft_jobs_key_id", "key_id", "created_at"),
    Index("ix_ft_jobs_status", "status"),
)

# What happened in a job, in the order of `number`.
ft_events = Table(
    "ft_events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False),
    Column("job", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("level", String, nullable=False),
    Column("message", String, nullable=False),
    Column("type", String, nullable=False),
    Column("data", JSON(none_as_null=True)),
    Index("ix_ft_events_job", "job", "number"),
    UniqueConstraint("id"),
)

# The state after an epoch that is kept and can be called by `name`: `version` of the job's adapter.
ft_checkpoints = Table(
    "ft_checkpoints",
    metadata,
    Column("id", String, primary_key=True),
    Column("job", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("step", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("deleted", Boolean, nullable=False, server_default="0"),
    UniqueConstraint("job", "step"),
    UniqueConstraint("name"),
)
