"""responses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('responses',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.Column('root', sa.String(), nullable=False),
    sa.Column('previous_id', sa.String(), nullable=True),
    sa.Column('input', sa.Text(), nullable=False),
    sa.Column('response', sa.Text(), nullable=False),
    sa.Column('deleted', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_responses'))
    )
    with op.batch_alter_table('responses', schema=None) as batch_op:
        batch_op.create_index('ix_responses_key_id_root', ['key_id', 'root'], unique=False)
        batch_op.create_index('ix_responses_root_time', ['root', 'time'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('responses', schema=None) as batch_op:
        batch_op.drop_index('ix_responses_root_time')
        batch_op.drop_index('ix_responses_key_id_root')

    op.drop_table('responses')
