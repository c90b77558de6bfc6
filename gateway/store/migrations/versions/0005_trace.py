"""the caller's trace and the finish reason of an exchange."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ('trace', 'finish_reason'):
        op.add_column('exchanges', sa.Column(column, sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('exchanges', schema=None) as batch_op:
        for column in ('finish_reason', 'trace'):
            batch_op.drop_column(column)
