"""Opens the workspace database: one SQLite file by default, its schema brought up to date on the way."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from skrd4ad.errors import StorageError
from skrd4ad.paths import workspace
from skrd4ad.storage.migrate import migrate

BUSY_SECONDS = 10
"""How long a write waits for another one to end."""


@dataclass(frozen=True)
class Database:
    """An open database. Safe to share between threads: each ``with`` block is one transaction of its own."""

    engine: Engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Session that sees one consistent state and never waits for writers.

        Raises:
            StorageError: the database cannot be read.
        """
        with self._translated(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Session that commits at the end of the block, or undoes everything when the block raises.

        Raises:
            StorageError: the database cannot be written.
        """
        with (
            self._translated(),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            # The lock is taken here and not at the first statement, so a block never fails half way for want of it.
            session.connection()
            yield session

    def migrate(self) -> None:
        """Bring the schema up to date.

        Raises:
            StorageError: it cannot be done, or the database was made by a newer version.
        """
        with self._translated():
            migrate(self.engine, self._writer)

    def close(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()

    @property
    def _writer(self) -> Engine:
        return self.engine.execution_options(immediate=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise StorageError(_in_words(error, self.engine.url)) from error


def open_database(url: str | None = None) -> Database:
    """Open a database and bring its schema up to date; several processes may do so at once.

    Args:
        url: SQLAlchemy URL; default ``SKRD4AD_DATABASE_URL``, else the file ``skrd4ad.db`` in the workspace.

    Raises:
        StorageError: the URL is wrong, or the database cannot be read, written, or is of a newer version.
    """
    target = _target(url or os.environ.get("SKRD4AD_DATABASE_URL"))
    try:
        engine = create_engine(target)
    except (SQLAlchemyError, ImportError) as error:
        raise StorageError(
            f"The database {target} cannot be opened: {error}. Install the driver that its URL names, or unset "
            "SKRD4AD_DATABASE_URL to use a file in the workspace."
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    database = Database(engine)
    try:
        database.migrate()
    except StorageError:
        database.close()
        raise
    return database


def workspace_database() -> Database:
    """The workspace's database, opened once in a process and kept open; safe to share between threads.

    Raises:
        StorageError: as :func:`open_database`.
    """
    return _kept_open(_target(os.environ.get("SKRD4AD_DATABASE_URL")))


def _target(given: str | None) -> URL:
    if given is None:
        return URL.create("sqlite", database=str(workspace() / "skrd4ad.db"))
    try:
        target = make_url(given)
    except ArgumentError as error:
        # the text itself is not repeated: it may hold a password
        raise StorageError(
            "The database URL cannot be read; allowed is the form of sqlite:////folder/file.db or "
            "postgresql+psycopg://user@host/name. Correct or unset SKRD4AD_DATABASE_URL."
        ) from error
    if target.get_backend_name() == "sqlite" and target.database in (None, "", ":memory:"):
        raise StorageError(
            f"The database URL {target} names no file; jobs in several threads need one. "
            "Give the form of sqlite:////folder/file.db."
        )
    return target


@cache
def _kept_open(target: URL) -> Database:
    return open_database(target.render_as_string(hide_password=False))


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself: _begin_sqlite does
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")  # what a person decided survives a power cut as well


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not apply its busy timeout to this switch, so a second process would fail while the first does it.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another one wrote in between; one that says
    # so from the start waits its turn.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _in_words(error: SQLAlchemyError, url: URL) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else None
    code = cause.sqlite_errorname if isinstance(cause, sqlite3.Error) and hasattr(cause, "sqlite_errorname") else ""
    place = url.database if url.get_backend_name() == "sqlite" else str(url)
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return (
            f"The database {place} is damaged or is no SQLite file. Move it away (a new one is made; model folders "
            "stay as they are) or put a copy back."
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        folder = Path(place or "").parent
        return (
            f"The database {place} cannot be opened for writing. Make the folder {folder} writable, or set "
            "SKRD4AD_HOME to one that is."
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"The database {place} was in use by another process for over {BUSY_SECONDS} seconds. Try again."
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return f"The database {place} cannot be written: {cause}. Free some space on its disk, or check the disk."
    return f"The database {place} cannot be used: {cause or error}."
