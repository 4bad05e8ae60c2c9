"""What is PostgreSQL's own: its errors in words, its locks, and connections that break."""

import socket
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text

from skrd4ad.errors import StorageError
from skrd4ad.storage.database import Database, open_database
from skrd4ad.storage.jobs import add_job
from skrd4ad.storage.tables import Job
from tests.postgres_server import GUARDED, PASSWORD, PostgresServer


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    with postgres.new_database() as made:
        yield made


@pytest.fixture
def opened(postgres: PostgresServer, name: str) -> Iterator[Database]:
    database = open_database(postgres.url(name))
    yield database
    database.close()


def refusal(url: str) -> str:
    with pytest.raises(StorageError) as caught:
        open_database(url)
    message = str(caught.value)
    assert PASSWORD not in message and "wrong" not in message
    return message


def test_the_variable_and_a_password_lead_to_the_server(
    postgres: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute(f"ALTER DATABASE {name} OWNER TO {GUARDED}")
    monkeypatch.setenv("SKRD4AD_DATABASE_URL", postgres.url(name, user=GUARDED, password=PASSWORD))
    database = open_database()
    with database.read() as session:
        assert session.scalar(text("SELECT current_user")) == GUARDED
        assert session.scalar(select(func.count()).select_from(Job)) == 0
    database.close()


def test_a_wrong_or_missing_password_is_named_without_repeating_it(postgres: PostgresServer, name: str) -> None:
    for password in ("wrong", None):
        message = refusal(postgres.url(name, user=GUARDED, password=password))
        assert "refuses the user or the password" in message
        assert GUARDED in message and name in message
        assert "SKRD4AD_DATABASE_URL" in message


def test_a_password_in_the_query_is_not_repeated_either(postgres: PostgresServer, name: str) -> None:
    message = refusal(postgres.url(name, user=GUARDED) + "&password=wrong")
    assert "refuses the user or the password" in message
    assert f"host={postgres.socket}" in message.replace("%2F", "/")


def test_a_database_or_user_that_does_not_exist_is_named_with_how_to_make_it(postgres: PostgresServer) -> None:
    assert "no database 'nowhere'" in (message := refusal(postgres.url("nowhere"))) and "createdb" in message
    assert (
        "no user 'nobody'" in (message := refusal(postgres.url("postgres", user="nobody"))) and "createuser" in message
    )


def test_a_server_that_does_not_run_is_named_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers there
        port = taken.getsockname()[1]
        message = refusal(f"postgresql+psycopg://user:{PASSWORD}@127.0.0.1:{port}/parts")
    assert "cannot be reached" in message and f"127.0.0.1:{port}" in message
    assert "Check that it runs" in message


def test_a_host_that_does_not_exist_is_reported() -> None:
    assert "cannot be reached" in refusal(f"postgresql+psycopg://user:{PASSWORD}@no-such-host.invalid/parts")


def test_a_user_who_may_not_make_tables_is_told_so(postgres: PostgresServer, name: str) -> None:
    message = refusal(postgres.url(name, user=GUARDED, password=PASSWORD))
    assert f"{GUARDED!r} may not do this" in message and "owner of the database" in message


def test_a_read_block_changes_nothing_and_sees_one_state(opened: Database) -> None:
    with opened.read() as reading:
        assert reading.scalar(select(func.count()).select_from(Job)) == 0
        with opened.write() as writing:
            add_job(writing, job_id="a", kind="train", title="t", request={}, owner="h:1:2.00")
        assert reading.scalar(select(func.count()).select_from(Job)) == 0
    with pytest.raises(StorageError, match="takes no changes"), opened.read() as reading:
        reading.execute(text("DELETE FROM jobs"))


def test_what_a_write_block_has_read_stays_true(opened: Database) -> None:
    """Two blocks that look for a row and make it when it is missing: the second one finds that of the first."""
    looked, made = threading.Event(), []

    def make_if_missing() -> None:
        with opened.write() as session:
            missing = session.get(Job, "a") is None
            looked.set()
            if missing:
                add_job(session, job_id="a", kind="train", title="t", request={}, owner="h:1:2.00")
            made.append(missing)

    threads = [threading.Thread(target=make_if_missing) for _ in range(4)]
    with opened.write():
        for thread in threads:
            thread.start()
        assert not looked.wait(0.1)  # nobody looks before this block has ended
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]


def test_connections_that_the_server_ended_are_made_anew(postgres: PostgresServer, name: str, opened: Database) -> None:
    with opened.read() as session:
        session.execute(text("SELECT 1"))
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with opened.read() as session:
        assert session.scalar(text("SELECT 1")) == 1


def test_a_connection_that_breaks_in_a_block_is_reported_and_nothing_is_stored(
    postgres: PostgresServer, name: str, opened: Database
) -> None:
    with pytest.raises(StorageError, match="ended the connection"), opened.write() as session:
        add_job(session, job_id="a", kind="train", title="t", request={}, owner="h:1:2.00")
        session.flush()
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        session.execute(text("SELECT 1"))
    with opened.read() as session:
        assert session.get(Job, "a") is None


def test_text_that_the_server_cannot_hold_is_an_error_in_words(opened: Database) -> None:
    with pytest.raises(StorageError, match=r"cannot be used: .*NUL"), opened.write() as session:
        add_job(session, job_id="a", kind="train", title="with a \0 in it", request={}, owner="h:1:2.00")
        session.flush()
