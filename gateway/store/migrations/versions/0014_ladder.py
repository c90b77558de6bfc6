"""the ladder's results by route."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0014'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('ladder_results',
    sa.Column('route', sa.String(), nullable=False),
    sa.Column('time', sa.Double(), nullable=False),
    sa.Column('report', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('route', 'time', name=op.f('pk_ladder_results'))
    )


def downgrade() -> None:
    op.drop_table('ladder_results')
