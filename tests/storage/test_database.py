import os
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

import skrd4ad
from skrd4ad.errors import SkrdError, StorageError
from skrd4ad.storage import database as database_module
from skrd4ad.storage.database import Database, open_database, workspace_database
from skrd4ad.storage.jobs import add_job, save_progress
from skrd4ad.storage.migrate import MIGRATIONS
from skrd4ad.storage.tables import Job, JobPoint
from tests.limits import LONG


def store_job(database: Database, job_id: str = "a") -> None:
    with database.write() as session:
        add_job(session, job_id=job_id, kind="train", title="t", request={}, owner="host:1:2.00")


def test_default_is_a_file_in_the_workspace(home: Path, sqlite_database: Database) -> None:
    assert (home / "skrd4ad.db").is_file()
    assert sqlite_database.engine.url.database == str(home / "skrd4ad.db")


def test_url_of_the_environment_overrides_the_workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", f"sqlite:///{home / 'other.db'}")
    open_database().close()
    assert (home / "other.db").is_file()
    assert not (home / "skrd4ad.db").exists()


def test_sqlite_is_set_up_for_several_writers(home: Path, sqlite_database: Database) -> None:
    with sqlite_database.read() as session:
        pragmas = {name: session.scalar(text(f"PRAGMA {name}")) for name in ("foreign_keys", "busy_timeout")}
    assert pragmas == {"foreign_keys": 1, "busy_timeout": 10_000}
    # asked through a connection of its own: WAL is a property of the file
    plain_connection = sqlite3.connect(home / "skrd4ad.db")
    assert plain_connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain_connection.close()


def test_a_reader_does_not_wait_for_a_writer_and_sees_no_half_of_it(database: Database) -> None:
    with database.write() as writing:
        add_job(writing, job_id="a", kind="train", title="t", request={}, owner="h:1:2.00")
        writing.flush()
        with database.read() as reading:
            assert reading.scalar(select(func.count()).select_from(Job)) == 0
    with database.read() as reading:
        assert reading.scalar(select(func.count()).select_from(Job)) == 1


def test_a_block_that_raises_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as session:
        add_job(session, job_id="a", kind="train", title="t", request={}, owner="h:1:2.00")
        session.flush()
        raise KeyError("stop")
    with database.read() as session:
        assert session.get(Job, "a") is None


def test_foreign_keys_are_enforced_and_points_go_with_their_job(database: Database) -> None:
    with pytest.raises(StorageError) as caught, database.write() as session:
        save_progress(session, "nobody", snapshot=None, points=[(1, {"loss": 1.0})])
    assert isinstance(caught.value.__cause__, IntegrityError)

    store_job(database)
    with database.write() as session:
        save_progress(session, "a", snapshot=None, points=[(1, {"loss": 1.0})])
    with database.write() as session:
        session.delete(session.get_one(Job, "a"))
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(JobPoint)) == 0


def test_moments_come_back_in_utc_with_their_zone(database: Database) -> None:
    store_job(database)
    moment = datetime(2025, 3, 30, 14, 30, 0, 123456, timezone(timedelta(hours=2)))
    with database.write() as session:
        session.get_one(Job, "a").started_at = moment
    with database.read() as session:
        job = session.get_one(Job, "a")
    assert job.started_at == moment
    assert job.started_at is not None
    assert job.started_at.tzinfo is UTC
    assert job.created_at.tzinfo is UTC
    assert abs(job.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_moment_without_a_zone_is_refused(database: Database) -> None:
    store_job(database)
    with pytest.raises(StorageError, match="has no time zone"), database.write() as session:
        session.get_one(Job, "a").started_at = datetime(2025, 1, 1)


def test_many_threads_and_a_second_engine_write_without_a_lock_error(database: Database) -> None:
    threads_count, writes = 8, 15
    second = open_database()
    store_job(database)
    with database.write() as session:
        session.get_one(Job, "a").progress = {"count": 0}
    errors: list[SkrdError] = []
    start = threading.Barrier(threads_count)

    def write(mine: Database) -> None:
        start.wait()
        try:
            for step in range(writes):
                with (
                    mine.write() as session
                ):  # reads, then writes what it read: fails or loses counts when not isolated
                    job = session.get_one(Job, "a")
                    job.progress = {"count": job.progress["count"] + 1}
                    save_progress(session, "a", snapshot=None, points=[(step, {"loss": 0.5})])
        except SkrdError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(second if i % 2 else database,)) for i in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.close()
    assert errors == []
    with database.read() as session:
        assert session.get_one(Job, "a").progress == {"count": threads_count * writes}
        assert session.scalar(select(func.count()).select_from(JobPoint)) == threads_count * writes


@pytest.mark.slow
def test_processes_that_open_a_fresh_database_at_once_all_succeed(any_database: str) -> None:
    script = (
        "import sys\n"
        "from skrd4ad.storage.database import open_database\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "open_database().close()\n"
    )
    pipe = subprocess.PIPE
    env = {**os.environ, "PYTHONPATH": str(Path(skrd4ad.__file__).parents[1])}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=LONG) for process in processes]
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, outputs, strict=True)] == [
        (0, "")
    ] * 3
    database = open_database()
    with database.read() as session:
        assert session.scalars(text("SELECT version_num FROM alembic_version")).all() == [
            max(path.name[:4] for path in (MIGRATIONS / "versions").glob("0*.py"))
        ]
    database.close()


def test_threads_that_open_a_fresh_database_at_once_all_succeed(any_database: str) -> None:
    start = threading.Barrier(4)
    errors: list[BaseException] = []

    def open_and_use(name: str) -> None:
        start.wait()
        try:
            database = open_database()
            store_job(database, name)
            database.close()
        except BaseException as error:  # noqa: BLE001  (handed to the assertion)
            errors.append(error)

    threads = [threading.Thread(target=open_and_use, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_file_that_is_no_database_is_named(home: Path) -> None:
    (home / "skrd4ad.db").write_bytes(b"this is a text, not a database; " * 100)
    with pytest.raises(StorageError, match=r"skrd4ad\.db is damaged or is no SQLite file\. Move it away"):
        open_database()


def test_an_empty_file_is_a_lost_database_not_a_new_one(home: Path) -> None:
    path = home / "skrd4ad.db"
    path.touch()
    with pytest.raises(StorageError, match=r"skrd4ad\.db is empty \(0 bytes\).*Put a copy back, or delete the file"):
        open_database()
    assert path.stat().st_size == 0
    path.unlink()
    open_database().close()


def test_a_database_with_overwritten_pages_is_reported_as_damaged(home: Path) -> None:
    database = open_database()
    with database.read() as session:
        session.execute(text("SELECT 1"))
    database.close()
    path = home / "skrd4ad.db"
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(StorageError, match="is damaged"):
        open_database()


def test_a_folder_in_place_of_the_file_is_reported(home: Path) -> None:
    (home / "skrd4ad.db").mkdir()
    with pytest.raises(StorageError, match="cannot be opened for writing"):
        open_database()


def test_a_database_that_cannot_be_written_is_reported(home: Path) -> None:
    (home / "empty.db").touch()
    with pytest.raises(StorageError, match=r"cannot be opened for writing.*SKRD4AD_HOME"):
        open_database(f"sqlite:///file:{home / 'empty.db'}?mode=ro&uri=true")


def test_a_workspace_that_cannot_be_made_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("SKRD4AD_HOME", str(home / "file" / "inside"))
    with pytest.raises(StorageError, match=r"workspace folder .* cannot be made.*Set SKRD4AD_HOME"):
        open_database()


def test_a_lock_held_too_long_is_reported(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0)
    impatient = open_database()
    with database.write(), pytest.raises(StorageError, match="in use by another process"), impatient.write():
        pass
    impatient.close()


def test_opening_that_was_waited_for_in_vain_is_not_waited_for_at_once_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_database().close()
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0)
    monkeypatch.setattr(database_module, "REST_SECONDS", LONG)
    holder = sqlite3.connect(home / "skrd4ad.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="in use by another process"):
        workspace_database()
    holder.close()
    with pytest.raises(StorageError, match="in use by another process"):
        workspace_database()
    monkeypatch.setattr(database_module, "REST_SECONDS", 0)
    with workspace_database().read() as session:
        assert session.execute(text("SELECT count(*) FROM jobs")).scalar() == 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="names no file"):
        open_database(url)


def test_a_url_that_cannot_be_read_is_refused_without_repeating_its_password() -> None:
    with pytest.raises(StorageError, match="cannot be read") as caught:
        open_database("user:secret at host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "nothing+at_all://user:secret@host/name",
        "postgres://user:secret@host/name",
        "mysql://user:secret@host/name",
        "postgresql+psycopg2://user:secret@host/name",
        "sqlite+aiosqlite:////tmp/file.db",
    ],
)
def test_another_kind_of_database_is_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(StorageError, match=r"allowed are sqlite:// and postgresql\+psycopg://") as caught:
        open_database(url)
    assert "secret" not in str(caught.value)
    assert url.split(":")[0] in str(caught.value)


def test_a_port_that_is_no_number_is_refused_without_repeating_the_password() -> None:
    with pytest.raises(StorageError, match="cannot be read") as caught:
        open_database("postgresql://user:secret@host:port/name")
    assert "secret" not in str(caught.value)


def test_an_empty_url_means_the_workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", "")
    open_database().close()
    assert (home / "skrd4ad.db").is_file()


def test_a_missing_driver_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    with pytest.raises(StorageError, match=r"psycopg, which is not installed.*pip install") as caught:
        open_database("postgresql+psycopg://user:secret@host/name?password=secret")
    assert "secret" not in str(caught.value)
