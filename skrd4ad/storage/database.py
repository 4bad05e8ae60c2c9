"""Opens the workspace database: one SQLite file by default, its schema brought up to date on the way.

On PostgreSQL a write block takes one lock of the whole database at its start, as it does on SQLite by itself: what a
block has read stays true until it commits, so nothing above needs to know which of the two is used. Blocks are short,
and nobody reads behind that lock.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from skrd4ad.documents import loads_or_text
from skrd4ad.errors import StorageError
from skrd4ad.paths import workspace
from skrd4ad.storage.migrate import migrate

BUSY_SECONDS = 10
"""How long a write waits for another one to end, and opening for a server's answer."""
REST_SECONDS = 5.0
"""After a wait in vain for opening, the same answer comes at once: a page asks many times, and would wait for each."""
EMPTY_SECONDS = 1.0
"""How long a new file may stay empty while another process makes its tables."""
WRITE_LOCK = 0x534B5244
"""Number of PostgreSQL's advisory lock that a write block holds; each database has its own."""
_HELP = "or unset SKRD4AD_DATABASE_URL to use a file in the workspace."
DRIVERS = {"sqlite": "pysqlite", "postgresql": "psycopg"}
"""Databases that are allowed, each with the driver that it is used through."""
_waited: dict[URL, tuple[float, str]] = {}
"""When opening was last waited for in vain, by the monotonic clock, and why it failed."""


@dataclass(frozen=True)
class Database:
    """An open database. Safe to share between threads: each ``with`` block is one transaction of its own."""

    engine: Engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Session that sees one consistent state and never waits for writers."""
        with self._translated(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Session that commits at the end of the block, or undoes everything when the block raises."""
        with (
            self._translated(),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            # The lock is taken here and not at the first statement, so a block never fails half way for want of it.
            session.connection()
            yield session

    def migrate(self) -> None:
        """Bring the schema up to date."""
        with self._translated():
            migrate(self.engine, self._writer)

    def close(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()

    @cached_property
    def _reader(self) -> Engine:
        if self.engine.dialect.name == "sqlite":
            return self.engine
        # a snapshot for the whole block, which SQLite gives by itself
        return self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @cached_property
    def _writer(self) -> Engine:
        return self.engine.execution_options(immediate=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise StorageError(_error_text(error, self.engine.url)) from error


def open_database(url: str | None = None) -> Database:
    """Open a database and bring its schema up to date; several processes may do so at once.

    The URL is by default ``SKRD4AD_DATABASE_URL``, else the file ``skrd4ad.db`` in the workspace.

    Raises:
        StorageError: the URL is wrong, or the database cannot be read, written, or is of a newer version.
    """
    target = _target(url or os.environ.get("SKRD4AD_DATABASE_URL"))
    if target.get_backend_name() == "sqlite":
        _refuse_empty_file(Path(target.database or ""))
    database = Database(_engine(target))
    try:
        database.migrate()
    except BaseException:
        database.close()
        raise
    return database


def workspace_database() -> Database:
    """The workspace's database, opened once in a process and kept open; safe to share between threads."""
    target, begun = _target(os.environ.get("SKRD4AD_DATABASE_URL")), time.monotonic()
    ended, reason = _waited.get(target, (-REST_SECONDS, ""))
    if begun - ended < REST_SECONDS:
        raise StorageError(reason)
    try:
        return _kept_open(target)
    except StorageError as error:
        if time.monotonic() - begun >= BUSY_SECONDS / 2:
            _waited[target] = time.monotonic(), str(error)
        raise


def _target(given: str | None) -> URL:
    if not given:
        return URL.create("sqlite", database=str(workspace() / "skrd4ad.db"))
    try:
        target = make_url(given)
    except (ArgumentError, ValueError) as error:
        # the text itself is not repeated: it may hold a password
        raise StorageError(
            "The database URL cannot be read; allowed is the form of sqlite:////folder/file.db or "
            "postgresql+psycopg://user@host/name. Correct or unset SKRD4AD_DATABASE_URL."
        ) from error
    backend, _, driver = target.drivername.partition("+")
    if backend not in DRIVERS or driver not in ("", DRIVERS[backend]):
        raise StorageError(
            f"The database URL begins with {target.drivername}://; allowed are sqlite:// and postgresql+psycopg://. "
            "Correct or unset SKRD4AD_DATABASE_URL."
        )
    if backend == "sqlite" and target.database in (None, "", ":memory:"):
        raise StorageError(
            f"The database URL {target} names no file; jobs in several threads need one. "
            "Give the form of sqlite:////folder/file.db."
        )
    return target


def _refuse_empty_file(path: Path) -> None:
    """An empty file is a lost database, which SQLite would fill as a new one; another process may be making it now."""
    deadline = time.monotonic() + EMPTY_SECONDS
    while path.is_file() and path.stat().st_size == 0:
        if time.monotonic() > deadline:
            raise StorageError(
                f"The database {path} is empty (0 bytes): its content was lost. Put a copy back, or delete the file to "
                "begin with an empty database; model folders stay as they are."
            )
        time.sleep(0.02)


def _engine(target: URL) -> Engine:
    sqlite = target.get_backend_name() == "sqlite"
    patience = {} if sqlite or "connect_timeout" in target.query else {"connect_timeout": BUSY_SECONDS}
    try:
        # asked first: a server that was started anew has forgotten the connections that are kept open here
        engine = create_engine(target, connect_args=patience, pool_pre_ping=not sqlite, json_deserializer=loads_or_text)
    except ImportError as error:
        raise StorageError(
            f"The database {_shown(target)} needs the driver psycopg, which is not installed ({error}). Install it "
            'with pip install "psycopg[binary]", or unset SKRD4AD_DATABASE_URL to use a file in the workspace.'
        ) from error
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "begin", _begin_postgresql)
    return engine


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


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("immediate", False):
        # to the server 0 would mean for ever
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, BUSY_SECONDS * 1000)}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def _error_text(error: SQLAlchemyError, url: URL) -> str:
    """An error of SQLAlchemy or of the driver below it as a message: what it was, and what to do. Never a password."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if url.get_backend_name() == "sqlite":
        return _file_error_text(error, cause, url.database or "")
    return _server_error_text(error, cause, url)


def _shown(url: URL) -> str:
    """A URL without the secrets in it."""
    return str(url.set(query={name: value for name, value in url.query.items() if "pass" not in name.lower()}))


def _file_error_text(error: SQLAlchemyError, cause: BaseException | None, file: str) -> str:
    code = cause.sqlite_errorname if isinstance(cause, sqlite3.Error) and hasattr(cause, "sqlite_errorname") else ""
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return (
            f"The database {file} is damaged or is no SQLite file. Move it away (a new one is made; model folders "
            "stay as they are) or put a copy back."
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return (
            f"The database {file} cannot be opened for writing. Make the folder {Path(file).parent} writable, or set "
            "SKRD4AD_HOME to one that is."
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _was_busy(file)
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return f"The database {file} cannot be written: {cause}. Free some space on its disk, or check the disk."
    return f"The database {file} cannot be used: {cause or error}."


def _server_error_text(error: SQLAlchemyError, cause: BaseException | None, url: URL) -> str:
    address = _shown(url)
    text = " ".join(str(cause or error).split())
    code = getattr(cause, "sqlstate", None) or ""
    # a connection that was refused or lost has no code, only the words of the server or of the network
    refused = isinstance(error, OperationalError) and not code
    if code == "55P03":
        return _was_busy(address)
    if "password authentication failed" in text or "no password supplied" in text:
        return (
            f"The database server refuses the user or the password of {address}. Correct them in SKRD4AD_DATABASE_URL "
            f"(postgresql+psycopg://user:password@host/name), {_HELP}"
        )
    if refused and "does not exist" in text:
        what = f"no user {url.username!r}" if "role " in text else f"no database {url.database!r}"
        remedy = "createuser" if "role " in text else "createdb"
        return f"There is {what} on the server of {address}. Make it ({remedy}), correct SKRD4AD_DATABASE_URL, {_HELP}"
    if code == "42501":
        return (
            f"The user {url.username!r} may not do this in the database {address}: {text}. Make the user the owner of "
            "the database, or grant it the right to create tables in the schema public."
        )
    if code.startswith("53"):
        return f"The server of the database {address} is out of something it needs: {text}. Free it, then try again."
    if code == "25006":
        return f"The server of the database {address} takes no changes, it may be a copy: {text}. Name one that does."
    if refused or code.startswith(("08", "57P")):
        return (
            f"The server of the database {address} cannot be reached, or ended the connection: {text}. Check that it "
            f"runs and that host and port are right, {_HELP}"
        )
    return f"The database {address} cannot be used: {text}."


def _was_busy(name: str) -> str:
    return f"The database {name} was in use by another process for over {BUSY_SECONDS} seconds. Try again."
