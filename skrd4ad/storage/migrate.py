"""Brings a database to the schema of this version."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Row

from skrd4ad.errors import StorageError

MIGRATIONS = Path(__file__).parent / "migrations"

# Alembic hands its environment to env.py through a global of its own, so two threads must not migrate at once.
_one_at_a_time = threading.Lock()


def migration_config(connection: Connection, folder: Path = MIGRATIONS) -> Config:
    """Alembic's settings for the migrations in ``folder``, to run inside the transaction of ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def migrate(reader: Engine, writer: Engine) -> None:
    """Bring the database to the newest schema; nothing is written when it is there already.

    Transactions of ``writer`` hold the write lock from their start, so that of several processes that open a fresh
    database one makes the tables and the others wait.
    """
    with reader.connect() as connection:
        if _is_current(connection):
            return
    with _one_at_a_time, writer.connect() as connection, _without_foreign_keys(connection), connection.begin():
        # asked again, now under the lock: another process may have done the work meanwhile
        if _is_current(connection):
            return
        _keep_copy(connection)
        before = _broken_references(connection)
        command.upgrade(migration_config(connection), "head")
        if len(broken := _broken_references(connection)) > len(before):
            raise StorageError(
                f"The database {connection.engine.url.database} could not be brought up to date: rows of "
                f"{broken[-1][0]} would refer to rows that are gone. "
                "It was left as it is. Keep a copy of it, and report this."
            )


def _keep_copy(connection: Connection) -> None:
    """On SQLite, a copy beside the database as the earlier version left it; servers have backups of their own."""
    revisions = MigrationContext.configure(connection).get_current_heads()
    if not (_is_sqlite(connection) and revisions):
        return
    database = Path(connection.engine.url.database or "")
    copy = database.with_name(f"{database.name}.schema-{revisions[0]}")
    part = copy.with_name(f"{copy.name}.part")
    try:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        part.replace(copy)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StorageError(
            f"The database {database} must be brought up to date, and the copy {copy} that is made before cannot be "
            f"written: {error}. Free some space on its disk. The database was left as it is."
        ) from error


def _broken_references(connection: Connection) -> Sequence[Row[Any]]:
    """Rows that refer to rows which are not there: table, row id, table referred to, number of the key."""
    return connection.exec_driver_sql("PRAGMA foreign_key_check").all() if _is_sqlite(connection) else ()


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """On SQLite, where a table is changed by copying it: dropping the old one would delete the rows that refer to it.

    SQLite takes this setting between transactions only, so it goes past SQLAlchemy, which would begin one.
    """
    if not _is_sqlite(connection):
        yield
        return
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _is_current(connection: Connection) -> bool:
    script = ScriptDirectory.from_config(migration_config(connection))
    found = set(MigrationContext.configure(connection).get_current_heads())
    known = {revision.revision for revision in script.walk_revisions()}
    if found - known:
        raise StorageError(
            f"The database {connection.engine.url.database} was made by a newer version of this program "
            f"(schema {', '.join(sorted(found))}; this version knows up to {', '.join(script.get_heads())}). "
            "Update the program, or use another database (SKRD4AD_HOME or SKRD4AD_DATABASE_URL)."
        )
    return found == set(script.get_heads())
