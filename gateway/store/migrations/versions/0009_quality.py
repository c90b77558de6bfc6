"""feedback, shadow pairs, judgements of quality."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0009'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('feedback',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('request_id', sa.String(), nullable=False),
    sa.Column('route', sa.String(), nullable=True),
    sa.Column('backend', sa.String(), nullable=True),
    sa.Column('adapter_version', sa.Integer(), nullable=True),
    sa.Column('score', sa.Double(), nullable=True),
    sa.Column('correction', sa.Text(), nullable=True),
    sa.Column('corrected', sa.Integer(), server_default='0', nullable=False),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.Column('time', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_feedback')),
    sa.UniqueConstraint('request_id', name=op.f('uq_feedback_request_id'))
    )
    with op.batch_alter_table('feedback', schema=None) as batch_op:
        batch_op.create_index('ix_feedback_route_time', ['route', 'time', 'id'], unique=False)
        batch_op.create_index('ix_feedback_time', ['time'], unique=False)

    op.create_table('quality_states',
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('body', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('route', 'adapter', 'version', name=op.f('pk_quality_states'))
    )
    op.create_table('shadow_pairs',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('request_id', sa.String(), nullable=False),
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('reference_backend', sa.String(), nullable=False),
    sa.Column('agreed', sa.Double(), nullable=True),
    sa.Column('scorer', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('cost_nanousd', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_shadow_pairs'))
    )
    with op.batch_alter_table('shadow_pairs', schema=None) as batch_op:
        batch_op.create_index('ix_shadow_pairs_place_time', ['route', 'adapter', 'version', 'time'], unique=False)
        batch_op.create_index('ix_shadow_pairs_time', ['time'], unique=False)



def downgrade() -> None:
    with op.batch_alter_table('shadow_pairs', schema=None) as batch_op:
        batch_op.drop_index('ix_shadow_pairs_time')
        batch_op.drop_index('ix_shadow_pairs_place_time')

    op.drop_table('shadow_pairs')
    op.drop_table('quality_states')
    with op.batch_alter_table('feedback', schema=None) as batch_op:
        batch_op.drop_index('ix_feedback_time')
        batch_op.drop_index('ix_feedback_route_time')

    op.drop_table('feedback')
