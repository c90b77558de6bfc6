"""What Alembic runs: the migrations, on the connection and inside the transaction that gateway/store/schema.py hands over."""

from alembic import context

from serving.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
