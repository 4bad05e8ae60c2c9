"""What went wrong with a database, in words for people: what it was, and what to do. Never a password."""

import sqlite3
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

_HELP = "or unset SKRD4AD_DATABASE_URL to use a file in the workspace."


def in_words(error: SQLAlchemyError, url: URL, *, waited: int) -> str:
    """An error of SQLAlchemy or of the driver below it as a message.

    Args:
        error: what was raised.
        url: of the database; its password is left out.
        waited: seconds after which waiting for a lock is given up.
    """
    cause = error.orig if isinstance(error, DBAPIError) else None
    if url.get_backend_name() == "sqlite":
        return _of_file(error, cause, url.database or "", waited)
    return _of_server(error, cause, url, waited)


def shown(url: URL) -> str:
    """A URL without the secrets in it."""
    return str(url.set(query={name: value for name, value in url.query.items() if "pass" not in name.lower()}))


def _of_file(error: SQLAlchemyError, cause: BaseException | None, place: str, waited: int) -> str:
    code = cause.sqlite_errorname if isinstance(cause, sqlite3.Error) and hasattr(cause, "sqlite_errorname") else ""
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return (
            f"The database {place} is damaged or is no SQLite file. Move it away (a new one is made; model folders "
            "stay as they are) or put a copy back."
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        folder = Path(place).parent
        return (
            f"The database {place} cannot be opened for writing. Make the folder {folder} writable, or set "
            "SKRD4AD_HOME to one that is."
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _was_busy(place, waited)
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return f"The database {place} cannot be written: {cause}. Free some space on its disk, or check the disk."
    return f"The database {place} cannot be used: {cause or error}."


def _of_server(error: SQLAlchemyError, cause: BaseException | None, url: URL, waited: int) -> str:
    place = shown(url)
    text = " ".join(str(cause or error).split())
    code = getattr(cause, "sqlstate", None) or ""
    # a connection that was refused or lost has no code, only the words of the server or of the network
    refused = isinstance(error, OperationalError) and not code
    if code == "55P03":
        return _was_busy(place, waited)
    if "password authentication failed" in text or "no password supplied" in text:
        return (
            f"The database server refuses the user or the password of {place}. Correct them in SKRD4AD_DATABASE_URL "
            f"(postgresql+psycopg://user:password@host/name), {_HELP}"
        )
    if refused and "does not exist" in text:
        what = f"no user {url.username!r}" if "role " in text else f"no database {url.database!r}"
        remedy = "createuser" if "role " in text else "createdb"
        return f"There is {what} on the server of {place}. Make it ({remedy}), correct SKRD4AD_DATABASE_URL, {_HELP}"
    if code == "42501":
        return (
            f"The user {url.username!r} may not do this in the database {place}: {text}. Make the user the owner of "
            "the database, or grant it the right to create tables in the schema public."
        )
    if code.startswith("53"):
        return f"The server of the database {place} is out of something it needs: {text}. Free it, then try again."
    if code == "25006":
        return f"The server of the database {place} takes no changes, it may be a copy: {text}. Name the one that does."
    if refused or code.startswith(("08", "57P")):
        return (
            f"The server of the database {place} cannot be reached, or ended the connection: {text}. Check that it "
            f"runs and that host and port are right, {_HELP}"
        )
    return f"The database {place} cannot be used: {text}."


def _was_busy(place: str, waited: int) -> str:
    return f"The database {place} was in use by another process for over {waited} seconds. Try again."
