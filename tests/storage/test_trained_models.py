from datetime import UTC, datetime
from pathlib import Path

from skrd4ad.storage import trained_models
from skrd4ad.storage.database import Database


def save(database: Database, folder: str, dataset: str = "elpv", class_name: str = "mono", year: int = 2025) -> int:
    with database.write() as session:
        return trained_models.save_model(
            session,
            folder=Path(folder),
            dataset=dataset,
            class_name=class_name,
            net="res18",
            res=3,
            created_at=datetime(year, 1, 1, tzinfo=UTC),
            digest=f"{year:064d}",
            metrics=None,
        )


def test_a_folder_has_one_row_that_is_replaced(database: Database) -> None:
    first = save(database, "a", year=2024)
    with database.read() as session:
        before = trained_models.find_model(session, Path("a"))
    assert save(database, "a", year=2025) == first
    with database.read() as session:
        after = trained_models.find_model(session, Path("a"))
        assert len(trained_models.all_models(session)) == 1
    assert before is not None
    assert after is not None
    assert (after.digest, after.created_at.year) == (f"{2025:064d}", 2025)
    assert after.seen_at > before.seen_at


def test_models_are_listed_by_class_newest_first(database: Database) -> None:
    save(database, "c", dataset="mvtec")
    save(database, "a", year=2023)
    save(database, "b", year=2024)
    save(database, "p", class_name="aaa")
    with database.read() as session:
        assert [model.folder for model in trained_models.all_models(session)] == ["p", "b", "a", "c"]


def test_a_forgotten_model_is_gone_and_the_others_stay(database: Database) -> None:
    save(database, "a")
    save(database, "b")
    with database.write() as session:
        trained_models.forget_model(session, Path("a"))
    with database.read() as session:
        assert trained_models.find_model(session, Path("a")) is None
        assert trained_models.find_model(session, Path("b")) is not None
