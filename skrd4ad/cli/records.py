"""The database in which commands record their trainings."""

from collections.abc import Iterator
from contextlib import contextmanager

from skrd4ad.cli.output import Output
from skrd4ad.errors import StorageError
from skrd4ad.storage.database import Database, open_database


@contextmanager
def run_database(output: Output) -> Iterator[Database | None]:
    """The workspace's database; None, with a remark, when it cannot be used: training goes on without it."""
    try:
        database = open_database()
    except StorageError as error:
        output.note(f"warning: this training is not recorded. {error}")
        yield None
        return
    try:
        yield database
    finally:
        database.close()
