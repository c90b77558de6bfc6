"""rotation, endpoints, tags and monthly budgets of keys; alerts about budgets."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op


revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

_KEYS: dict[str, Any] = {
    'endpoints': sa.JSON(),
    'nanousd_per_month': sa.BigInteger(),
    'tags': sa.JSON(),
    'previous_sha256': sa.String(),
    'previous_until': sa.Double(),
}


def upgrade() -> None:
    for name, kind in _KEYS.items():
        op.add_column('keys', sa.Column(name, kind, nullable=True))
    op.create_table('alerts',
    *(sa.Column(name, sa.String(), nullable=False) for name in ('id', 'kind', 'scope', 'name', 'period')),
    *(sa.Column(name, sa.Double(), nullable=False) for name in ('since', 'at')),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('tries', sa.Integer(), nullable=False),
    *(sa.Column(name, sa.Double(), nullable=True) for name in ('next_at', 'sent_at')),
    sa.Column('error', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts')),
    sa.UniqueConstraint('scope', 'name', 'period', 'since', 'kind', 'at', name=op.f('uq_alerts_scope_name_period_since_kind_at'))
    )
    with op.batch_alter_table('alerts', schema=None) as batch_op:
        batch_op.create_index('ix_alerts_next_at', ['next_at'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('alerts', schema=None) as batch_op:
        batch_op.drop_index('ix_alerts_next_at')

    op.drop_table('alerts')
    with op.batch_alter_table('keys', schema=None) as batch_op:
        for name in _KEYS:
            batch_op.drop_column(name)
