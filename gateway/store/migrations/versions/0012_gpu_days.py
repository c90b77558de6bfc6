"""days of the GPU bill, folded shares of it, which values of tags have sums of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0012'
down_revision = '0014'
branch_labels = None
depends_on = None

_SUMS = (
    'milliseconds', 'busy_ms', 'sampled_ms', 'allocated_nanousd', 'foreign_nanousd', 'idle_nanousd', 'bill_nanousd',
    'prefill_tokens', 'decode_tokens', 'foreign_prefill_tokens', 'foreign_decode_tokens', 'priced_tokens', 'all_priced_tokens',
)


def upgrade() -> None:
    op.create_table('engine_days',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('day', sa.Integer(), autoincrement=False, nullable=False),
    *(sa.Column(name, sa.Integer(), nullable=False) for name in ('replica_minutes', 'priced_minutes', 'minutes', 'closed_minutes')),
    sa.Column('up_nanousd', sa.BigInteger(), nullable=True),
    sa.Column('replica_ms', sa.BigInteger(), nullable=False),
    *(sa.Column(name, sa.BigInteger(), nullable=not name.endswith(('_ms', '_tokens', 'milliseconds'))) for name in _SUMS),
    sa.PrimaryKeyConstraint('engine', 'day', name=op.f('pk_engine_days'))
    )
    op.create_table('backend_days',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('day', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('backend', sa.String(), nullable=False),
    *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ('calls', 'prefill_tokens', 'decode_tokens')),
    sa.Column('nanousd', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('engine', 'day', 'backend', name=op.f('pk_backend_days'))
    )
    op.create_table('gpu_dirty',
    sa.Column('day', sa.Integer(), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('day', name=op.f('pk_gpu_dirty'))
    )
    op.create_table('allocation_days',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('day', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('shares', sa.BigInteger(), nullable=False),
    sa.Column('nanousd', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('engine', 'day', name=op.f('pk_allocation_days'))
    )
    op.create_table('gpu_horizon',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('minute', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gpu_horizon'))
    )
    op.create_table('rollup_tag_values',
    sa.Column('day', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('tag', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('day', 'tag', name=op.f('pk_rollup_tag_values'))
    )
    # The controller sums them all, newest first.
    op.execute('INSERT INTO gpu_dirty (day) SELECT minute / 1440 FROM gpu_minutes UNION SELECT minute / 1440 FROM engine_minutes')


def downgrade() -> None:
    for table in ('rollup_tag_values', 'gpu_horizon', 'allocation_days', 'gpu_dirty', 'backend_days', 'engine_days'):
        op.drop_table(table)
