from collections.abc import Iterator
from pathlib import Path

import pytest

from skrd4ad.storage.database import Database, open_database


@pytest.fixture
def home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose database is a file in it."""
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def sqlite_database(home: Path) -> Iterator[Database]:
    opened = open_database()
    yield opened
    opened.close()


@pytest.fixture
def database(any_database: str) -> Iterator[Database]:
    """An open database, once of SQLite and once of PostgreSQL."""
    opened = open_database()
    yield opened
    opened.close()
