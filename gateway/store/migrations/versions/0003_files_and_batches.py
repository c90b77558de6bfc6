"""files and batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('batches',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.Column('endpoint', sa.String(), nullable=False),
    sa.Column('input_file_id', sa.String(), nullable=False),
    sa.Column('completion_window', sa.String(), nullable=False),
    sa.Column('metadata', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('headers', sa.JSON(), nullable=False),
    sa.Column('output_seconds', sa.Integer(), nullable=False),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('errors', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('output_file_id', sa.String(), nullable=True),
    sa.Column('error_file_id', sa.String(), nullable=True),
    sa.Column('total', sa.Integer(), nullable=False),
    sa.Column('completed', sa.Integer(), nullable=False),
    sa.Column('failed', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.Column('in_progress_at', sa.Double(), nullable=True),
    sa.Column('finalizing_at', sa.Double(), nullable=True),
    sa.Column('completed_at', sa.Double(), nullable=True),
    sa.Column('failed_at', sa.Double(), nullable=True),
    sa.Column('expired_at', sa.Double(), nullable=True),
    sa.Column('cancelling_at', sa.Double(), nullable=True),
    sa.Column('cancelled_at', sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_batches'))
    )
    with op.batch_alter_table('batches', schema=None) as batch_op:
        batch_op.create_index('ix_batches_key_id_created_at', ['key_id', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_batches_status', ['status'], unique=False)

    op.create_table('files',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.Column('filename', sa.String(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_files'))
    )
    with op.batch_alter_table('files', schema=None) as batch_op:
        batch_op.create_index('ix_files_expires_at', ['expires_at'], unique=False)
        batch_op.create_index('ix_files_key_id_created_at', ['key_id', 'created_at', 'id'], unique=False)

    op.create_table('upload_parts',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('upload_id', sa.String(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_upload_parts'))
    )
    with op.batch_alter_table('upload_parts', schema=None) as batch_op:
        batch_op.create_index('ix_upload_parts_upload_id', ['upload_id'], unique=False)

    op.create_table('uploads',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.Column('filename', sa.String(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False),
    sa.Column('file_seconds', sa.Integer(), nullable=True),
    sa.Column('status', sa.String(), nullable=False),
    sa.Column('file_id', sa.String(), nullable=True),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_uploads'))
    )
    with op.batch_alter_table('uploads', schema=None) as batch_op:
        batch_op.create_index('ix_uploads_status_expires_at', ['status', 'expires_at'], unique=False)



def downgrade() -> None:
    with op.batch_alter_table('uploads', schema=None) as batch_op:
        batch_op.drop_index('ix_uploads_status_expires_at')

    op.drop_table('uploads')
    with op.batch_alter_table('upload_parts', schema=None) as batch_op:
        batch_op.drop_index('ix_upload_parts_upload_id')

    op.drop_table('upload_parts')
    with op.batch_alter_table('files', schema=None) as batch_op:
        batch_op.drop_index('ix_files_key_id_created_at')
        batch_op.drop_index('ix_files_expires_at')

    op.drop_table('files')
    with op.batch_alter_table('batches', schema=None) as batch_op:
        batch_op.drop_index('ix_batches_status')
        batch_op.drop_index('ix_batches_key_id_created_at')

    op.drop_table('batches')
