"""Runs the migrations on the connection that ``skrd4ad.storage.migrate`` hands over.

A new migration, after a change of ``tables.py``, from the root of the repository::

    from alembic import command
    from skrd4ad.storage.database import open_database
    from skrd4ad.storage.migrate import migration_config

    with open_database("sqlite:////tmp/empty.db").engine.connect() as connection:
        command.revision(migration_config(connection), "what changes", autogenerate=True, rev_id="0002")
"""

from alembic import context

from skrd4ad.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
