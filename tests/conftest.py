"""What all tests share: a workspace each, folders that are made once a run, databases; more in ``*_fixtures.py``."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# before torch is imported: the workers of a parallel run share the cores
os.environ["OMP_NUM_THREADS"] = "1"
# the app would start a process for every model it shows; services/inspection/test_runtimes.py tries that on purpose
os.environ["SKRD4AD_RUNTIME"] = "torch"
# a job beside another worker's tests would get a tenth of a core; services/jobs/test_queue.py tries that
os.environ["SKRD4AD_NICENESS"] = "0"
# jobs of most tests run in threads of the test's process; services/jobs/test_worker_process.py starts real workers
os.environ["SKRD4AD_WORKER"] = "thread"
# tests import OpenVINO before the package does, which would let every conversion report to its makers
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import pytest
import torch
from filelock import FileLock

from skrd4ad.services.jobs.queue import reset_queue
from tests.postgres_server import PostgresServer, running_postgres

pytest_plugins = ["tests.model_fixtures", "tests.evaluation_world"]

torch.set_num_threads(1)
Shared = Callable[[str, Callable[[Path], None]], Path]
SLOW_LAST = ("services", "model_folder", "training", "inference", "export", "cli", "app", "e2e")
"""Folders of tests in the order of their duration; all others come before them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick files first; in the folders that take long, the longest file first, so that no worker waits at the end."""

    def rank(item: pytest.Item) -> tuple[int, int, str]:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder not in SLOW_LAST:
            return -1, 0, ""
        return SLOW_LAST.index(folder), -item.path.stat().st_size, str(item.path)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """``shared("name", fill)``: a folder that the first worker of a run to ask for it fills; never write to it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder(name: str, fill: Callable[[Path], None]) -> Path:
        path, filled = root / "shared" / name, root / "shared" / f"{name}.filled"
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "shared" / f"{name}.lock"):
            if not filled.exists():
                fill(path)
                filled.touch()
        return path

    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The workspace of one test, not made yet; its models lie in ``tmp_path/models``, and its jobs end with it."""
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKRD4AD_CHECKPOINTS", str(tmp_path / "models"))
    for name in ("SKRD4AD_DATABASE_URL", "SKRD4AD_WEIGHTS_DIR", "SKRD4AD_CACHE_MB"):
        monkeypatch.delenv(name, raising=False)
    # nothing here pulls the plug, so nothing waits for the disk; one test sees that the code would
    monkeypatch.setattr("os.fsync", lambda _: None)
    reset_queue()
    yield tmp_path / "home"
    reset_queue()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server; each worker of a parallel run has its own."""
    try:
        with running_postgres() as server:
            yield server
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A workspace of its own with an empty database, once of SQLite and once of PostgreSQL; gives which."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.new_database() as name:
        monkeypatch.setenv("SKRD4AD_DATABASE_URL", server.url(name))
        yield "postgresql"
