"""engine work, curves, foreign work, the parts of a minute by backend, a price that changes within one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('backend_minutes',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('minute', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('backend', sa.String(), nullable=False),
    sa.Column('calls', sa.Integer(), nullable=False),
    sa.Column('prefill_tokens', sa.BigInteger(), nullable=False),
    sa.Column('decode_tokens', sa.BigInteger(), nullable=False),
    sa.Column('nanousd', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('engine', 'minute', 'backend', name=op.f('pk_backend_minutes'))
    )
    with op.batch_alter_table('backend_minutes', schema=None) as batch_op:
        batch_op.create_index('ix_backend_minutes_minute', ['minute'], unique=False)

    op.create_table('engine_curves',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('measured_at', sa.Double(), nullable=False),
    sa.Column('replica', sa.Integer(), nullable=False),
    sa.Column('model', sa.String(), nullable=False),
    sa.Column('dtype', sa.String(), nullable=True),
    sa.Column('hardware', sa.String(), nullable=True),
    sa.Column('vllm_version', sa.String(), nullable=True),
    sa.Column('prompt_tokens', sa.Integer(), nullable=False),
    sa.Column('complete', sa.Boolean(), nullable=False),
    sa.Column('decode_weight', sa.Double(), nullable=False),
    sa.Column('points', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('engine', 'measured_at', name=op.f('pk_engine_curves'))
    )
    op.create_table('engine_work',
    sa.Column('engine', sa.String(), nullable=False),
    sa.Column('replica', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('minute', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('milliseconds', sa.Integer(), nullable=False),
    sa.Column('busy_ms', sa.Integer(), nullable=False),
    sa.Column('prompt_tokens', sa.BigInteger(), nullable=False),
    sa.Column('cached_tokens', sa.BigInteger(), nullable=False),
    sa.Column('generated_tokens', sa.BigInteger(), nullable=False),
    sa.Column('running', sa.Integer(), nullable=False),
    sa.Column('waiting', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('engine', 'replica', 'minute', name=op.f('pk_engine_work'))
    )
    with op.batch_alter_table('engine_work', schema=None) as batch_op:
        batch_op.create_index('ix_engine_work_minute', ['minute'], unique=False)

    with op.batch_alter_table('engine_minutes', schema=None) as batch_op:
        batch_op.add_column(sa.Column('foreign_nanousd', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('busy_ms', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('sampled_ms', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('prefill_tokens', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('decode_tokens', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('foreign_prefill_tokens', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('foreign_decode_tokens', sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column('decode_weight', sa.Double(), nullable=True))

    with op.batch_alter_table('gpu_minutes', schema=None) as batch_op:
        batch_op.add_column(sa.Column('earlier_ms', sa.Integer(), server_default='0', nullable=False))
        batch_op.add_column(sa.Column('earlier_nanousd', sa.BigInteger(), server_default='0', nullable=True))



def downgrade() -> None:
    with op.batch_alter_table('gpu_minutes', schema=None) as batch_op:
        batch_op.drop_column('earlier_nanousd')
        batch_op.drop_column('earlier_ms')

    with op.batch_alter_table('engine_minutes', schema=None) as batch_op:
        batch_op.drop_column('decode_weight')
        batch_op.drop_column('foreign_decode_tokens')
        batch_op.drop_column('foreign_prefill_tokens')
        batch_op.drop_column('decode_tokens')
        batch_op.drop_column('prefill_tokens')
        batch_op.drop_column('sampled_ms')
        batch_op.drop_column('busy_ms')
        batch_op.drop_column('foreign_nanousd')

    with op.batch_alter_table('engine_work', schema=None) as batch_op:
        batch_op.drop_index('ix_engine_work_minute')

    op.drop_table('engine_work')
    op.drop_table('engine_curves')
    with op.batch_alter_table('backend_minutes', schema=None) as batch_op:
        batch_op.drop_index('ix_backend_minutes_minute')

    op.drop_table('backend_minutes')
