"""token kinds, the service tier of an attempt, the audit trail of re-pricing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

_TOKENS = ('cache_write_tokens', 'audio_input_tokens', 'audio_output_tokens')


def upgrade() -> None:
    # Rows of before did not record these: NULL, which is unknown and not zero.
    for table in ('exchanges', 'attempts'):
        for column in _TOKENS:
            op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=True))
    op.add_column('attempts', sa.Column('service_tier', sa.String(), nullable=True))
    op.create_table('repricings',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('started_at', sa.Double(), nullable=False),
    sa.Column('updated_at', sa.Double(), nullable=False),
    sa.Column('finished_at', sa.Double(), nullable=True),
    sa.Column('by', sa.String(), nullable=False),
    sa.Column('reason', sa.String(), nullable=True),
    sa.Column('since', sa.Double(), nullable=True),
    sa.Column('until', sa.Double(), nullable=True),
    sa.Column('provider', sa.String(), nullable=True),
    sa.Column('model', sa.String(), nullable=True),
    sa.Column('prices', sa.String(), nullable=False),
    sa.Column('cursor_time', sa.Double(), nullable=True),
    sa.Column('cursor_id', sa.String(), nullable=True),
    sa.Column('rows', sa.BigInteger(), nullable=False),
    sa.Column('changed', sa.BigInteger(), nullable=False),
    sa.Column('left_alone', sa.BigInteger(), nullable=False),
    sa.Column('attempts_changed', sa.BigInteger(), nullable=False),
    sa.Column('before_nanousd', sa.BigInteger(), nullable=False),
    sa.Column('after_nanousd', sa.BigInteger(), nullable=False),
    sa.Column('unknown_before', sa.BigInteger(), nullable=False),
    sa.Column('unknown_after', sa.BigInteger(), nullable=False),
    sa.Column('all_hosted_changed', sa.BigInteger(), nullable=False),
    sa.Column('all_hosted_before_nanousd', sa.BigInteger(), nullable=False),
    sa.Column('all_hosted_after_nanousd', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_repricings'))
    )
    with op.batch_alter_table('repricings', schema=None) as batch_op:
        batch_op.create_index('ix_repricings_started_at', ['started_at'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('repricings', schema=None) as batch_op:
        batch_op.drop_index('ix_repricings_started_at')

    op.drop_table('repricings')
    with op.batch_alter_table('attempts', schema=None) as batch_op:
        for column in ('service_tier', *_TOKENS):
            batch_op.drop_column(column)
    with op.batch_alter_table('exchanges', schema=None) as batch_op:
        for column in _TOKENS:
            batch_op.drop_column(column)
