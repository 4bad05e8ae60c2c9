from collections.abc import Iterator
from pathlib import Path

import pytest

from skrd4ad.storage.database import Database, open_database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    monkeypatch.delenv("SKRD4AD_DATABASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    opened = open_database()
    yield opened
    opened.close()
