"""roll-ups by minute, hour and day; how many attempts of an exchange failed before the last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

_COUNTS = (
    *('requests', 'ok', 'client_error', 'client_gone', 'upstream_error', 'timeout', 'refused', 'interrupted'),
    *('fallbacks', 'local', 'sandbox', 'estimated', 'measured'),
)
_TOKENS = (
    *('input_tokens', 'cached_tokens', 'output_tokens', 'reasoning_tokens', 'cache_write_tokens', 'audio_input_tokens', 'audio_output_tokens'),
)
_MONEY = ('hosted', 'local_amortised', 'local_opportunity', 'all_hosted', 'saved')
_TABLES = {'rollups': (), 'rollup_keys': ('key_id',), 'rollup_tags': ('key_id', 'tag'), 'rollup_latencies': ()}


def upgrade() -> None:
    for table, more in _TABLES.items():
        op.create_table(table,
        *(sa.Column(name, sa.Integer(), autoincrement=False, nullable=False) for name in ('step', 'start', 'position')),
        *(sa.Column(name, sa.String(), nullable=True) for name in ('route', 'backend')),
        sa.Column('adapter_version', sa.Integer(), nullable=True),
        *(sa.Column(name, sa.String(), nullable=True) for name in more),
        *(_measures() if table != 'rollup_latencies' else (sa.Column(name, sa.Text(), nullable=False) for name in ('ttft', 'total', 'overhead'))),
        sa.PrimaryKeyConstraint('step', 'start', 'position', name=op.f(f'pk_{table}'))
        )
    op.create_table('rollup_dirty',
    *(sa.Column(name, sa.Integer(), autoincrement=False, nullable=False) for name in ('step', 'start')),
    sa.PrimaryKeyConstraint('step', 'start', name=op.f('pk_rollup_dirty'))
    )
    op.create_table('rollup_thin',
    sa.Column('start', sa.Integer(), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('start', name=op.f('pk_rollup_thin'))
    )
    op.create_table('rollup_horizon',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('minute', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rollup_horizon'))
    )
    op.add_column('exchanges', sa.Column('failed_attempts', sa.Integer(), server_default='0', nullable=False))
    op.execute(
        "UPDATE exchanges SET failed_attempts = (SELECT count(*) FROM attempts AS a WHERE a.exchange_id = exchanges.id"
        " AND a.error IS NOT NULL AND a.error <> 'hedge_lost'"
        " AND a.position < (SELECT max(b.position) FROM attempts AS b WHERE b.exchange_id = exchanges.id))"
        " WHERE id IN (SELECT exchange_id FROM attempts WHERE position > 0)"
    )
    # The controller makes them all from the rows, newest first.
    for step in (1, 60, 1440):
        op.execute(f"INSERT INTO rollup_dirty (step, start) SELECT DISTINCT {step}, minute / {step} * {step} FROM exchanges")


def _measures() -> list[sa.Column[int]]:
    found = [sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS]
    found += [sa.Column(name, sa.BigInteger(), nullable=True) for name in _TOKENS]
    for name in _MONEY:
        found += [sa.Column(f'{name}_nanousd', sa.BigInteger(), nullable=True), sa.Column(f'{name}_rows', sa.BigInteger(), nullable=False)]
    return found


def downgrade() -> None:
    with op.batch_alter_table('exchanges', schema=None) as batch_op:
        batch_op.drop_column('failed_attempts')
    for table in ('rollup_horizon', 'rollup_thin', 'rollup_dirty', *_TABLES):
        op.drop_table(table)
