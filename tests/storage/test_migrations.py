import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, event, inspect, select, text

from skrd4ad.errors import StorageError
from skrd4ad.paths import workspace
from skrd4ad.storage import history, migrate
from skrd4ad.storage.database import Database, open_database
from skrd4ad.storage.jobs import find_job, job_points, latest_jobs
from skrd4ad.storage.label_queue import QueueFilter, queue_page
from skrd4ad.storage.migrate import MIGRATIONS, migration_config
from skrd4ad.storage.predictions import waiting
from skrd4ad.storage.tables import Base, ClassImage

TABLES = {"alembic_version", "jobs", "job_workers", "job_points", "history", "images", "predictions"} | {
    "class_images",
    "annotations",
    "watched_folders",
    "watched_files",
}
MORNING, NOON = datetime(2025, 3, 30, 8, 15, 30, 123456, UTC), datetime(2025, 3, 30, 12, tzinfo=UTC)
FIRST_TABLES = """
INSERT INTO jobs (id, kind, title, state, wish, request, progress, owner, created_at, heartbeat_at)
    VALUES ('j', 'train', 'disc', 'done', 'run', '{"epochs": 2}', '{}', 'h:1:2.00', :morning, :noon);
INSERT INTO job_points (job_id, step, "values") VALUES ('j', 1, '{"loss": 0.5}');
INSERT INTO runs (job_id, dataset, class_name, config, state, folder, started_at, finished_at, metrics)
    VALUES ('j', 'parts', 'my disc', '{"model": {"res": 3}}', 'done', '/models/parts/my_disc/one', :morning, :noon,
    '{"image_auroc": 0.9}');
INSERT INTO runs (dataset, class_name, config, state, folder, started_at, error)
    VALUES ('parts', 'disc', '{}', 'failed', '/models/parts/disc', :morning, 'disk full');
INSERT INTO runs (dataset, class_name, config, state, folder, started_at)
    VALUES ('parts', 'disc', '{}', 'running', '/models/parts/disc', :noon);
INSERT INTO models (folder, dataset, class_name, net, res, created_at, digest, seen_at)
    VALUES ('/models/parts/my_disc/one', 'parts', 'my disc', 'res18', 3, :morning, 'd', :noon)
"""
REVIEW_QUEUE = """
INSERT INTO images (digest, name, file, added_at) VALUES ('a', 'a.png', 'uploads/a.png', :morning);
INSERT INTO images (digest, name, file, added_at) VALUES ('b', 'b.png', 'uploads/b.png', :noon);
INSERT INTO images (digest, name, file, added_at) VALUES ('c', 'c.png', 'uploads/c.png', :noon);
INSERT INTO predictions (image_digest, model_digest, model_folder, calibration, threshold, score, verdict, made_at,
    review_since) VALUES ('a', 'd', '/models/parts/my_disc/one', 1, 0.5, 0.75, 'NG', :noon, :noon);
INSERT INTO predictions (image_digest, model_digest, model_folder, score, made_at, review_since)
    VALUES ('a', 'e', '/models/parts/my_disc/two', 0.25, :morning, :morning);
INSERT INTO predictions (image_digest, model_digest, model_folder, score, made_at, review_since)
    VALUES ('b', 'e', '/models/parts/my_disc/two', 0.5, :noon, :noon);
INSERT INTO predictions (image_digest, model_digest, model_folder, score, made_at, review_since)
    VALUES ('c', 'f', '/model', 0.5, :noon, :noon)
"""

ANNOTATIONS = """
INSERT INTO class_images (dataset, class_name, image_digest, origin, added_at)
    VALUES ('parts', 'washer', 'a', 'import', :noon);
INSERT INTO calibrations (model_digest, model_folder, version, who, "values", made_at)
    VALUES ('d', '/models/parts/my_disc/one', 1, 'training', '{"image_threshold": 0.5}', :noon);
INSERT INTO calibrations (model_digest, model_folder, version, who, "values", made_at)
    VALUES ('d', '/models/parts/my_disc/one', 2, 'Ada', '{"image_threshold": 0.25}', :noon);
INSERT INTO watched_folders (folder, model_folder, active, created_at) VALUES ('/in', '/m', TRUE, :noon);
INSERT INTO watched_files (watch_id, name, size, changed_at, image_digest, taken_at)
    VALUES (1, 'a.png', 9, 99, 'a', :noon);
INSERT INTO annotations (image_digest, revision, label, defect_type, reviewer, comment, made_at)
    VALUES ('a', 1, 'defect', 'dent', 'Ada', '', :morning);
INSERT INTO annotations (image_digest, revision, label, reviewer, comment, undoes, made_at)
    VALUES ('a', 2, 'none', 'Ada', '', 1, :noon)
"""


NEWEST = max(path.name[:4] for path in (MIGRATIONS / "versions").glob("0*.py"))


@pytest.fixture
def sqlite_url(home: Path) -> str:
    return f"sqlite:///{home / 'skrd4ad.db'}"


def test_an_empty_database_gets_all_tables(database: Database) -> None:
    assert set(inspect(database.engine).get_table_names()) == TABLES


@contextmanager
def old_database(revision: str) -> Iterator[Connection]:
    """A connection to the workspace's database as an earlier version of the program left it."""
    url = os.environ.get("SKRD4AD_DATABASE_URL") or f"sqlite:///{workspace() / 'skrd4ad.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), revision)
        yield connection
    engine.dispose()


def insert(connection: Connection, statements: str) -> None:
    """Run statements; SQLite keeps moments as text without a zone."""
    sqlite = connection.dialect.name == "sqlite"
    moments = {
        name: moment.strftime("%Y-%m-%d %H:%M:%S.%f") if sqlite else moment
        for name, moment in (("morning", MORNING), ("noon", NOON))
    }
    for statement in statements.split(";"):
        connection.execute(text(statement), {name: at for name, at in moments.items() if f":{name}" in statement})


def indexed(connection: Connection, table: str, *columns: str) -> bool:
    """Whether a table has an index on these columns, in this order."""
    return list(columns) in [index["column_names"] for index in inspect(connection).get_indexes(table)]


def test_the_first_tables_are_brought_up_to_date_with_their_rows(any_database: str) -> None:
    with old_database("0001") as connection:
        insert(connection, FIRST_TABLES)
    database = open_database()
    with database.read() as session:
        job = find_job(session, "j")
        assert (job.request, job.created_at, job.heartbeat_at) == ({"epochs": 2}, MORNING, NOON)
        assert job_points(session, "j") == [{"step": 1, "loss": 0.5}]
        assert waiting(session) == []
    database.close()


def test_images_that_waited_for_review_are_placed_in_the_classes_of_their_models(any_database: str) -> None:
    with old_database("0002") as connection:
        insert(connection, FIRST_TABLES + ";" + REVIEW_QUEUE)
    database = open_database()
    with database.read() as session:
        assert [(image.digest, said.score) for image, said in waiting(session)] == [
            ("a", 0.25),
            ("a", 0.75),
            ("b", 0.5),
            ("c", 0.5),
        ]
        placed = session.scalars(select(ClassImage).order_by(ClassImage.image_digest, ClassImage.class_name)).all()
        assert [(row.image_digest, row.dataset, row.class_name, row.added_at) for row in placed] == [
            ("a", "parts", "my disc", NOON),  # a model that is known by name
            ("a", "parts", "my_disc", MORNING),  # one of which only the folder is known
            ("b", "parts", "my_disc", NOON),
            ("c", "-", "/", NOON),  # a folder outside of the usual places
        ]
        assert {row.origin for row in placed} == {"inspect"}
        wanted = QueueFilter(dataset="parts", class_name="my disc", model_digest="d", only_sent=True)
        (item,) = queue_page(session, wanted)
        assert (item.name, item.score, item.latest.number, item.label, item.width) == ("a.png", 0.75, 0, "none", None)
    database.close()


def test_what_was_there_survives_going_back_to_the_review_queue(any_database: str) -> None:
    with old_database("0002") as connection:
        insert(connection, FIRST_TABLES + ";" + REVIEW_QUEUE)
    database = open_database()
    with database.engine.begin() as connection:
        command.downgrade(migration_config(connection), "0002")
        assert connection.scalar(text("SELECT count(*) FROM predictions")) == 4
        assert connection.scalar(text("SELECT count(*) FROM images")) == 3
    database.migrate()
    with database.read() as session:
        assert len(waiting(session)) == 4
    database.close()


def test_indexes_of_the_queue_come_and_go_with_their_rows(any_database: str) -> None:
    with old_database("0003") as connection:
        insert(connection, FIRST_TABLES + ";" + REVIEW_QUEUE)
        insert(connection, ANNOTATIONS)
    database = open_database()
    with database.engine.begin() as connection:
        command.downgrade(migration_config(connection), "0004")
    for revision, there in (("0003", False), ("0004", True)):
        with database.engine.begin() as connection:
            (command.upgrade if there else command.downgrade)(migration_config(connection), revision)
            assert indexed(connection, "predictions", "model_digest", "made_at") is there
            assert indexed(connection, "annotations", "defect_type") is there
            rows = connection.execute(text("SELECT image_digest, revision, defect_type FROM annotations ORDER BY id"))
            assert [tuple(row) for row in rows] == [("a", 1, "dent"), ("a", 2, None)]
            assert connection.scalar(text("SELECT count(*) FROM predictions")) == 4
    database.close()


def test_jobs_of_earlier_versions_get_their_lanes_and_those_that_waited_may_be_run(any_database: str) -> None:
    states = {"train": "running", "labels": "queued", "score": "done", "export": "queued", "evaluate": "failed"}
    with old_database("0005") as connection:
        for kind, state in states.items():
            insert(
                connection,
                "INSERT INTO jobs (id, kind, title, state, wish, request, progress, owner, created_at, heartbeat_at) "
                f"VALUES ('{kind}', '{kind}', 't', '{state}', 'run', '{{}}', '{{}}', 'h#1#2', :morning, :noon)",
            )
    database = open_database()
    with database.read() as session:
        found = {job.id: (job.state, job.lane, job.owner, job.who, job.role, job.again) for job in latest_jobs(session)}
    assert found == {
        "train": ("running", "long", "h#1#2", "", "admin", False),
        "labels": ("queued", "labels", "", "", "admin", False),
        "score": ("done", "short", "h#1#2", "", "admin", False),
        "export": ("queued", "long", "", "", "admin", False),
        "evaluate": ("failed", "short", "h#1#2", "", "admin", False),
    }
    with database.engine.begin() as connection:
        command.downgrade(migration_config(connection), "0005")
        assert connection.scalar(text("SELECT count(*) FROM jobs")) == len(states)
    database.close()


STATEMENTS = {
    "0001": [FIRST_TABLES],
    "0002": [FIRST_TABLES, REVIEW_QUEUE],
    "0003": [FIRST_TABLES, REVIEW_QUEUE, ANNOTATIONS],
    "0004": [FIRST_TABLES, REVIEW_QUEUE, ANNOTATIONS],
}


def counts(connection: Connection) -> dict[str, int]:
    tables = set(inspect(connection).get_table_names()) - {"alembic_version"}
    return {table: connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables}


@pytest.mark.parametrize("revision", list(STATEMENTS))
def test_a_filled_database_of_every_earlier_version_keeps_every_row(any_database: str, revision: str) -> None:
    with old_database(revision) as connection:
        for statements in STATEMENTS[revision]:
            insert(connection, statements)
        before = counts(connection)
    assert all(before.values())
    database = open_database()
    with database.engine.connect() as connection:
        after = counts(connection)
        if any_database == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    old = {table: before.pop(table, 0) for table in ("runs", "models", "calibrations")}
    if revision == "0002":  # images that waited are placed in classes
        before["class_images"] = 4
    assert after == {**dict.fromkeys(TABLES - {"alembic_version"}, 0), **before, "history": sum(old.values())}
    database.close()


def test_what_the_old_tables_held_becomes_a_history_in_its_order_whose_chain_holds(any_database: str) -> None:
    with old_database("0004") as connection:
        for statements in STATEMENTS["0004"]:
            insert(connection, statements)
    database = open_database()
    with database.read() as session:
        entries = history.page(session, history.HistoryFilter())[::-1]
        assert history.verify(session) == history.Verification(n=6, head=entries[-1].hash)
    database.close()
    noon = "2025-03-30T12:00:00.000000+00:00"
    assert [(e.id, e.at, e.what, e.who, e.dataset, e.class_name, e.model_digest) for e in entries] == [
        (1, "2025-03-30T08:15:30.123456+00:00", "training failed", "", "parts", "disc", ""),
        (2, noon, "trained", "", "parts", "my disc", "d"),
        (3, noon, "training interrupted", "", "parts", "disc", ""),
        (4, noon, "recorded", "", "parts", "my disc", "d"),
        (5, noon, "calibrated", "training", "parts", "my disc", "d"),
        (6, noon, "recalibrated", "Ada", "parts", "my disc", "d"),
    ]
    assert [json.loads(entry.details) for entry in entries] == [
        {"config": {}, "error": "disk full", "started_at": "2025-03-30T08:15:30.123456+00:00"},
        {
            "job_id": "j",
            "config": {"model": {"res": 3}},
            "metrics": {"image_auroc": 0.9},
            "started_at": "2025-03-30T08:15:30.123456+00:00",
        },
        {"config": {}, "started_at": noon},
        {"net": "res18", "res": 3, "created_at": "2025-03-30T08:15:30.123456+00:00"},
        {"version": 1, "calibration": {"image_threshold": 0.5}},
        {"version": 2, "calibration": {"image_threshold": 0.25}},
    ]


def test_what_could_not_be_judged_gets_the_verdict_of_its_own(any_database: str) -> None:
    with old_database("0005") as connection:
        insert(connection, REVIEW_QUEUE)
        connection.execute(text("UPDATE predictions SET verdict = 'OK', refusal = 'dark' WHERE image_digest = 'b'"))
    database = open_database()
    with database.read() as session:
        rows = session.execute(text("SELECT DISTINCT image_digest, verdict FROM predictions ORDER BY 1, 2")).all()
    database.close()
    assert ("b", "CANNOT JUDGE") in [tuple(row) for row in rows]
    assert ("a", "NG") in [tuple(row) for row in rows] and ("b", "OK") not in [tuple(row) for row in rows]


def test_a_migration_that_would_leave_rows_without_what_they_refer_to_is_taken_back(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade_and_lose(config: Config, revision: str) -> None:
        original(config, revision)
        config.attributes["connection"].execute(text("DELETE FROM images"))

    with old_database("0004") as connection:
        for statements in STATEMENTS["0004"]:
            insert(connection, statements)
        before = counts(connection)
    original = command.upgrade
    monkeypatch.setattr(command, "upgrade", upgrade_and_lose)
    with pytest.raises(StorageError, match="would refer to rows that are gone"):
        open_database()
    engine = create_engine(sqlite_url)
    with engine.connect() as connection:
        assert counts(connection) == before
    engine.dispose()


def test_the_database_is_copied_as_it_was_before_it_is_brought_up_to_date(sqlite_url: str, home: Path) -> None:
    with old_database("0004") as connection:
        for statements in STATEMENTS["0004"]:
            insert(connection, statements)
        before = counts(connection)
    open_database().close()
    engine = create_engine(f"sqlite:///{home / 'skrd4ad.db.schema-0004'}")
    with engine.connect() as connection:
        assert counts(connection) == before
    engine.dispose()
    assert not [*home.glob("*.part")]


def test_a_new_database_is_not_copied(database: Database, home: Path) -> None:
    assert not [*home.glob("*.schema-*")]


def test_without_room_for_the_copy_the_database_stays_as_it_is(
    sqlite_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with old_database("0004") as connection:
        insert(connection, FIRST_TABLES)
    (home / "skrd4ad.db.schema-0004.part").mkdir()  # the copy cannot be opened for writing
    with pytest.raises(StorageError, match=r"the copy .*schema-0004 that is made before cannot be written"):
        open_database()
    engine = create_engine(sqlite_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0004"
    engine.dispose()


def test_the_newest_migration_equals_the_tables_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_missing_index_would_be_noticed(database: Database) -> None:
    with database.write() as session:
        session.execute(text("DROP INDEX ix_annotations_reviewer"))
    with database.engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert [entry[0] for entry in difference] == ["add_index"]


def test_the_constraint_names_are_those_of_the_tables(database: Database) -> None:
    inspector = inspect(database.engine)
    found = {
        (name, key["name"])
        for name in Base.metadata.tables
        for key in [*inspector.get_foreign_keys(name), inspector.get_pk_constraint(name)]
    }
    expected = {
        (table.name, str(constraint.name))
        for table in Base.metadata.tables.values()
        for constraint in [*table.foreign_key_constraints, table.primary_key]
    }
    assert found == expected


def test_migrations_can_be_undone_and_done_again(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(migration_config(connection), "base")
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    database.migrate()
    assert set(inspect(database.engine).get_table_names()) == TABLES


def test_a_migration_that_fails_half_way_leaves_the_database_as_it_was(
    any_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade_and_fail(*args: object) -> None:
        original(*args)
        raise RuntimeError("power cut")

    original = command.upgrade
    monkeypatch.setattr(command, "upgrade", upgrade_and_fail)
    with pytest.raises(RuntimeError):
        open_database()
    monkeypatch.setattr(command, "upgrade", original)
    database = open_database()
    assert set(inspect(database.engine).get_table_names()) == TABLES
    database.close()


def test_opening_a_current_database_writes_nothing(database: Database) -> None:
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    database.migrate()
    assert statements
    assert not [s for s in statements if s.split()[0].upper() in ("CREATE", "INSERT", "UPDATE", "DELETE")]
    assert not [s for s in statements if s == "BEGIN IMMEDIATE" or "pg_advisory" in s]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match=rf"newer version.*9999.*knows up to {NEWEST}.*Update the program"):
        open_database()
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_the_template_makes_a_migration_that_runs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "100% migrations"  # a name that Alembic's settings would read as a placeholder
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with database.write() as session:
        session.execute(text("DROP INDEX ix_annotations_reviewer"))
    with database.engine.connect() as connection:
        command.revision(migration_config(connection, folder), "index again", autogenerate=True, rev_id="9998")
    (made,) = (folder / "versions").glob("9998_*.py")
    assert made.read_text().startswith('"""index again."""')

    monkeypatch.setattr(migrate.migration_config, "__defaults__", (folder,))
    database.migrate()
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9998"
    assert "ix_annotations_reviewer" in {index["name"] for index in inspect(database.engine).get_indexes("annotations")}
