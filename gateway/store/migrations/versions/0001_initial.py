"""initial."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('adapter_audit',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=True),
    sa.Column('verb', sa.String(), nullable=False),
    sa.Column('actor', sa.String(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_adapter_audit'))
    )
    with op.batch_alter_table('adapter_audit', schema=None) as batch_op:
        batch_op.create_index('ix_adapter_audit_adapter', ['adapter', 'id'], unique=False)

    op.create_table('adapter_replicas',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('replica', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('engine', 'replica', 'adapter', 'version', name=op.f('pk_adapter_replicas'))
    )
    op.create_table('adapter_versions',
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('path', sa.String(), nullable=False),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('wanted', sa.Boolean(), nullable=False),
    sa.Column('checks', sa.JSON(), nullable=False),
    sa.Column('manifest', sa.JSON(), nullable=False),
    sa.Column('gates', sa.JSON(), nullable=False),
    sa.Column('reasons', sa.JSON(), nullable=False),
    sa.Column('verified', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('drain_until', sa.Double(), nullable=True),
    sa.Column('files_removed', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('changed_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('adapter', 'version', name=op.f('pk_adapter_versions'))
    )
    with op.batch_alter_table('adapter_versions', schema=None) as batch_op:
        batch_op.create_index('ix_adapter_versions_digest', ['digest'], unique=False)

    op.create_table('adapters',
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('live', sa.Integer(), nullable=True),
    sa.Column('previous', sa.Integer(), nullable=True),
    sa.Column('rolled_back', sa.Integer(), nullable=True),
    sa.Column('canary_version', sa.Integer(), nullable=True),
    sa.Column('canary_percent', sa.Double(), nullable=False),
    sa.Column('want_live', sa.Integer(), nullable=True),
    sa.Column('want_back', sa.Boolean(), nullable=False),
    sa.Column('want_canary', sa.Integer(), nullable=True),
    sa.Column('want_percent', sa.Double(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_adapters'))
    )
    op.create_table('attempts',
    sa.Column('exchange_id', sa.String(), nullable=False),
    sa.Column('position', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('backend', sa.String(), nullable=False),
    sa.Column('owner', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('status', sa.Integer(), nullable=True),
    sa.Column('error', sa.String(), nullable=True),
    sa.Column('started', sa.Double(), nullable=False),
    sa.Column('ended', sa.Double(), nullable=False),
    sa.Column('ttft_ms', sa.Double(), nullable=True),
    sa.Column('total_ms', sa.Double(), nullable=False),
    sa.Column('input_tokens', sa.BigInteger(), nullable=True),
    sa.Column('cached_tokens', sa.BigInteger(), nullable=True),
    sa.Column('output_tokens', sa.BigInteger(), nullable=True),
    sa.Column('reasoning_tokens', sa.BigInteger(), nullable=True),
    sa.Column('usage_state', sa.String(), nullable=False),
    sa.Column('cost_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('cost_state', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('exchange_id', 'position', name=op.f('pk_attempts'))
    )
    with op.batch_alter_table('attempts', schema=None) as batch_op:
        batch_op.create_index('ix_attempts_local', ['owner', 'started'], unique=False, sqlite_where=sa.text("kind = 'local'"), postgresql_where=sa.text("kind = 'local'"))

    op.create_table('captures',
    sa.Column('exchange_id', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('route', sa.String(), nullable=True),
    sa.Column('backend', sa.String(), nullable=True),
    sa.Column('request', sa.Text(), nullable=False),
    sa.Column('response', sa.Text(), nullable=False),
    sa.Column('tool_calls', sa.Text(), nullable=False),
    sa.Column('finish', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('exchange_id', name=op.f('pk_captures'))
    )
    with op.batch_alter_table('captures', schema=None) as batch_op:
        batch_op.create_index('ix_captures_route_time', ['route', 'time', 'exchange_id'], unique=False)

    op.create_table('decision_shapes',
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_decision_shapes'))
    )
    op.create_table('decisions',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('snapshot_digest', sa.String(), nullable=False),
    sa.Column('shape_digest', sa.String(), nullable=False),
    sa.Column('packed', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_decisions'))
    )
    with op.batch_alter_table('decisions', schema=None) as batch_op:
        batch_op.create_index('ix_decisions_time', ['time', 'id'], unique=False)

    op.create_table('engine_minutes',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('minute', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('milliseconds', sa.Integer(), nullable=False),
    sa.Column('bill_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('allocated_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('idle_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('closed_at', sa.Double(), nullable=False),
    sa.Column('stale', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('engine', 'minute', name=op.f('pk_engine_minutes'))
    )
    with op.batch_alter_table('engine_minutes', schema=None) as batch_op:
        batch_op.create_index('ix_engine_minutes_minute', ['minute'], unique=False)

    op.create_table('engine_replicas',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('replica', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('url', sa.String(), nullable=False),
    sa.Column('model', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('healthy', sa.Boolean(), nullable=False),
    sa.Column('restarts', sa.Integer(), nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.Column('max_model_len', sa.Integer(), nullable=True),
    sa.Column('changed_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('engine', 'replica', name=op.f('pk_engine_replicas'))
    )
    op.create_table('exchanges',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('minute', sa.Integer(), nullable=False),
    sa.Column('route', sa.String(), nullable=True),
    sa.Column('endpoint', sa.String(), nullable=False),
    sa.Column('backend', sa.String(), nullable=True),
    sa.Column('kind', sa.String(), nullable=True),
    sa.Column('adapter_version', sa.Integer(), nullable=True),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.Column('tags', sa.JSON(), nullable=False),
    sa.Column('stream', sa.Boolean(), nullable=True),
    sa.Column('status', sa.Integer(), nullable=False),
    sa.Column('outcome', sa.String(), nullable=False),
    sa.Column('input_tokens', sa.BigInteger(), nullable=True),
    sa.Column('cached_tokens', sa.BigInteger(), nullable=True),
    sa.Column('output_tokens', sa.BigInteger(), nullable=True),
    sa.Column('reasoning_tokens', sa.BigInteger(), nullable=True),
    sa.Column('usage_state', sa.String(), nullable=False),
    sa.Column('cost_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('cost_state', sa.String(), nullable=False),
    sa.Column('opportunity_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('all_hosted_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('amortised_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('ttft_ms', sa.Double(), nullable=True),
    sa.Column('total_ms', sa.Double(), nullable=True),
    sa.Column('overhead_ms', sa.Double(), nullable=True),
    sa.Column('reason', sa.String(), nullable=True),
    sa.Column('decision_id', sa.String(), nullable=True),
    sa.Column('sandbox', sa.Boolean(), nullable=False),
    sa.Column('prompt_bytes', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_exchanges'))
    )
    with op.batch_alter_table('exchanges', schema=None) as batch_op:
        batch_op.create_index('ix_exchanges_key_id_time', ['key_id', 'time'], unique=False)
        batch_op.create_index('ix_exchanges_route_time', ['route', 'time'], unique=False)
        batch_op.create_index('ix_exchanges_time', ['time', 'id'], unique=False)

    op.create_table('gpu_minutes',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('replica', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('minute', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('milliseconds', sa.Integer(), nullable=False),
    sa.Column('gpu_hour_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('bill_nanousd', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('engine', 'replica', 'minute', name=op.f('pk_gpu_minutes'))
    )
    with op.batch_alter_table('gpu_minutes', schema=None) as batch_op:
        batch_op.create_index('ix_gpu_minutes_minute', ['minute'], unique=False)

    op.create_table('keys',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('sha256', sa.String(), nullable=False),
    sa.Column('prefix', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('routes', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('models', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('rpm', sa.Integer(), nullable=True),
    sa.Column('tpm', sa.BigInteger(), nullable=True),
    sa.Column('concurrency', sa.Integer(), nullable=True),
    sa.Column('nanousd_per_day', sa.BigInteger(), nullable=True),
    sa.Column('expires_at', sa.Double(), nullable=True),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('revoked_at', sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_keys')),
    sa.UniqueConstraint('sha256', name=op.f('uq_keys_sha256'))
    )
    op.create_table('local_allocations',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('minute', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('exchange_id', sa.String(), nullable=False),
    sa.Column('nanousd', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('engine', 'minute', 'exchange_id', name=op.f('pk_local_allocations'))
    )
    with op.batch_alter_table('local_allocations', schema=None) as batch_op:
        batch_op.create_index('ix_local_allocations_exchange_id', ['exchange_id'], unique=False)

    op.create_table('open_admits',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('generation', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('route', sa.String(), nullable=True),
    sa.Column('endpoint', sa.String(), nullable=False),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_open_admits'))
    )
    with op.batch_alter_table('open_admits', schema=None) as batch_op:
        batch_op.create_index('ix_open_admits_generation', ['generation'], unique=False)

    op.create_table('route_stages',
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('stage', sa.String(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('route', 'adapter', 'version', name=op.f('pk_route_stages'))
    )
    op.create_table('snapshots',
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_snapshots'))
    )
    op.create_table('spool_offsets',
    sa.Column('file', sa.String(), nullable=False),
    sa.Column('offset', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('file', name=op.f('pk_spool_offsets'))
    )
    op.create_table('state',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_state'))
    )


def downgrade() -> None:
    op.drop_table('state')
    op.drop_table('spool_offsets')
    op.drop_table('snapshots')
    op.drop_table('route_stages')
    with op.batch_alter_table('open_admits', schema=None) as batch_op:
        batch_op.drop_index('ix_open_admits_generation')

    op.drop_table('open_admits')
    with op.batch_alter_table('local_allocations', schema=None) as batch_op:
        batch_op.drop_index('ix_local_allocations_exchange_id')

    op.drop_table('local_allocations')
    op.drop_table('keys')
    with op.batch_alter_table('gpu_minutes', schema=None) as batch_op:
        batch_op.drop_index('ix_gpu_minutes_minute')

    op.drop_table('gpu_minutes')
    with op.batch_alter_table('exchanges', schema=None) as batch_op:
        batch_op.drop_index('ix_exchanges_time')
        batch_op.drop_index('ix_exchanges_route_time')
        batch_op.drop_index('ix_exchanges_key_id_time')

    op.drop_table('exchanges')
    op.drop_table('engine_replicas')
    with op.batch_alter_table('engine_minutes', schema=None) as batch_op:
        batch_op.drop_index('ix_engine_minutes_minute')

    op.drop_table('engine_minutes')
    with op.batch_alter_table('decisions', schema=None) as batch_op:
        batch_op.drop_index('ix_decisions_time')

    op.drop_table('decisions')
    op.drop_table('decision_shapes')
    with op.batch_alter_table('captures', schema=None) as batch_op:
        batch_op.drop_index('ix_captures_route_time')

    op.drop_table('captures')
    with op.batch_alter_table('attempts', schema=None) as batch_op:
        batch_op.drop_index('ix_attempts_local', sqlite_where=sa.text("kind = 'local'"), postgresql_where=sa.text("kind = 'local'"))

    op.drop_table('attempts')
    op.drop_table('adapters')
    with op.batch_alter_table('adapter_versions', schema=None) as batch_op:
        batch_op.drop_index('ix_adapter_versions_digest')

    op.drop_table('adapter_versions')
    op.drop_table('adapter_replicas')
    with op.batch_alter_table('adapter_audit', schema=None) as batch_op:
        batch_op.drop_index('ix_adapter_audit_adapter')

    op.drop_table('adapter_audit')
