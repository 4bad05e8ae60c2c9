from datetime import UTC, datetime
from pathlib import PurePath

from skrd4ad.storage.calibrations import GivenCalibration, calibrations_of, save_calibrations
from skrd4ad.storage.database import Database

MODEL, FOLDER = "m" * 64, PurePath("/models/parts/disc/run")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def given(version: int, *, limit: float = 0.5, who: str = "Ada") -> GivenCalibration:
    return GivenCalibration(version=version, who=who, values={"image_threshold": limit, "scores": (0.1,)}, made_at=NOON)


def save(database: Database, *versions: GivenCalibration, folder: PurePath = FOLDER) -> int:
    with database.write() as session:
        return save_calibrations(session, model_digest=MODEL, model_folder=folder, given=versions)


def stored(database: Database, folder: PurePath | None = FOLDER) -> list[tuple[int, str, float]]:
    with database.read() as session:
        rows = calibrations_of(session, MODEL, model_folder=folder)
        assert all(row.made_at == NOON for row in rows)
        return [(row.version, row.who, row.values["image_threshold"]) for row in rows]


def test_versions_are_stored_once(database: Database) -> None:
    assert save(database, given(1)) == 1
    assert save(database, given(1), given(2, limit=0.7, who="Ben")) == 1
    assert save(database, given(1), given(2, limit=0.7, who="Ben")) == 0
    assert stored(database) == [(1, "Ada", 0.5), (2, "Ben", 0.7)]


def test_the_folder_is_right_when_a_version_has_other_values(database: Database) -> None:
    save(database, given(1), given(2))
    assert save(database, given(1, limit=0.9, who="Cy")) == 1
    assert stored(database) == [(1, "Cy", 0.9), (2, "Ada", 0.5)]


def test_copies_of_a_model_have_histories_of_their_own(database: Database) -> None:
    other = PurePath("/elsewhere")
    save(database, given(1))
    save(database, given(1, limit=0.2), folder=other)
    assert stored(database) == [(1, "Ada", 0.5)] and stored(database, other) == [(1, "Ada", 0.2)]
    assert len(stored(database, None)) == 2
