"""how many adapters a replica keeps in memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0013'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('engine_replicas', sa.Column('room', sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('engine_replicas', schema=None) as batch_op:
        batch_op.drop_column('room')
