"""drift: samples, counts, levels, proposals of retraining."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0010'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('drift_proposals',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('since', sa.Double(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('summary', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_drift_proposals'))
    )
    with op.batch_alter_table('drift_proposals', schema=None) as batch_op:
        batch_op.create_index('ix_drift_proposals_route_time', ['route', 'time'], unique=False)

    op.create_table('drift_samples',
    sa.Column('exchange_id', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('exchange_id', name=op.f('pk_drift_samples'))
    )
    with op.batch_alter_table('drift_samples', schema=None) as batch_op:
        batch_op.create_index('ix_drift_samples_time', ['time'], unique=False)

    op.create_table('drift_states',
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('level', sa.String(), nullable=False),
    sa.Column('since', sa.Double(), nullable=False),
    sa.Column('reasons', sa.JSON(), nullable=False),
    sa.Column('action', sa.String(), nullable=True),
    sa.Column('acted_at', sa.Double(), nullable=True),
    sa.Column('samples', sa.Integer(), nullable=False),
    sa.Column('report', sa.JSON(), nullable=False),
    sa.Column('memory', sa.Text(), nullable=False),
    sa.Column('updated_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('route', 'adapter', 'version', name=op.f('pk_drift_states'))
    )
    op.create_table('drift_windows',
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('adapter', sa.String(), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('part', sa.String(), nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('updated_at', sa.Double(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('route', 'adapter', 'version', 'part', name=op.f('pk_drift_windows'))
    )


def downgrade() -> None:
    op.drop_table('drift_windows')
    op.drop_table('drift_states')
    with op.batch_alter_table('drift_samples', schema=None) as batch_op:
        batch_op.drop_index('ix_drift_samples_time')

    op.drop_table('drift_samples')
    with op.batch_alter_table('drift_proposals', schema=None) as batch_op:
        batch_op.drop_index('ix_drift_proposals_route_time')

    op.drop_table('drift_proposals')
