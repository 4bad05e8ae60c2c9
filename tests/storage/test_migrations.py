import shutil
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, inspect, text

from skrd4ad.errors import StorageError
from skrd4ad.storage import migrate
from skrd4ad.storage.database import Database, open_database
from skrd4ad.storage.migrate import MIGRATIONS, migration_config
from skrd4ad.storage.tables import Base

TABLES = {"alembic_version", "jobs", "job_points", "runs", "models", "images", "predictions"} | {
    "class_images",
    "annotations",
    "calibrations",
    "watched_folders",
}


def test_an_empty_database_gets_all_tables(database: Database) -> None:
    assert set(inspect(database.engine).get_table_names()) == TABLES


def test_the_newest_migration_equals_the_tables_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_missing_index_would_be_noticed(database: Database) -> None:
    with database.write() as session:
        session.execute(text("DROP INDEX ix_runs_started_at"))
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
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade_and_fail(*args: object) -> None:
        original(*args)
        raise RuntimeError("power cut")

    original = command.upgrade
    monkeypatch.setattr(command, "upgrade", upgrade_and_fail)
    with pytest.raises(RuntimeError):
        open_database()
    monkeypatch.undo()
    monkeypatch.setenv("SKRD4AD_HOME", str(home))
    database = open_database()
    assert set(inspect(database.engine).get_table_names()) == TABLES
    database.close()


def test_opening_a_current_database_writes_nothing(database: Database) -> None:
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    database.migrate()
    assert statements
    assert not [s for s in statements if s.split()[0].upper() in ("CREATE", "INSERT", "UPDATE", "DELETE")]
    assert "BEGIN IMMEDIATE" not in statements


def test_a_database_of_a_newer_version_is_refused_and_left_alone(home: Path, database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match=r"newer version.*9999.*knows up to 0003.*Update the program"):
        open_database()
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_the_template_makes_a_migration_that_runs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "100% migrations"  # a name that Alembic's settings would read as a placeholder
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with database.write() as session:
        session.execute(text("DROP INDEX ix_runs_started_at"))
    with database.engine.connect() as connection:
        command.revision(migration_config(connection, folder), "index again", autogenerate=True, rev_id="0004")
    (made,) = (folder / "versions").glob("0004_*.py")
    assert made.read_text().startswith('"""index again."""')

    monkeypatch.setattr(migrate.migration_config, "__defaults__", (folder,))
    database.migrate()
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "0004"
    assert "ix_runs_started_at" in {index["name"] for index in inspect(database.engine).get_indexes("runs")}
