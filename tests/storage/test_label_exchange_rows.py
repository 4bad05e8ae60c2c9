from pathlib import PurePath
from typing import Any

import pytest

from skrd4ad.errors import StorageError
from skrd4ad.storage import label_exchange
from skrd4ad.storage.annotations import Revision, add_revision
from skrd4ad.storage.database import Database
from skrd4ad.storage.labelled_images import PredictionRow, save_predictions
from skrd4ad.storage.tables import StoredImage, utc_now

NOW = utc_now()


def digest(number: int) -> str:
    return f"{number:064d}"


def image(number: int) -> dict[str, Any]:
    return {"digest": digest(number), "name": f"{number}.png", "file": "f", "added_at": NOW, "revision": 0}


def in_class(number: int, *, class_name: str = "disc") -> dict[str, Any]:
    return {
        "dataset": "parts",
        "class_name": class_name,
        "image_digest": digest(number),
        "origin": "import",
        "split": None,
        "known_type": None,
        "added_at": NOW,
    }


def revision(number: int, at: int, label: str = "good") -> dict[str, Any]:
    return {
        "image_digest": digest(number),
        "revision": at,
        "label": label,
        "defect_type": None,
        "mask_file": None,
        "reviewer": "A",
        "comment": "",
        "undoes": None,
        "made_at": NOW,
    }


def add(database: Database, *, images=(), class_images=(), annotations=()) -> None:
    with database.write() as session:
        label_exchange.add_rows(session, images=images, class_images=class_images, annotations=annotations)


def test_many_rows_are_added_and_read_by_image(database: Database) -> None:
    numbers = range(1200)  # more than fit into one statement
    add(
        database,
        images=[image(n) for n in numbers],
        class_images=[in_class(n) for n in numbers],
        annotations=[revision(n, at) for n in numbers if n % 2 for at in (1, 2)],
    )
    wanted = [digest(n) for n in numbers]
    with database.read() as session:
        known = label_exchange.known_images(session, [*wanted, digest(9999)])
        histories = label_exchange.histories_of(session, wanted)
        of_class = label_exchange.histories_of_class(session, dataset="parts", class_name="disc")
        there = label_exchange.images_of_class(session, dataset="parts", class_name="disc")
    assert set(known) == set(wanted) == {each.digest for each in there}
    assert {each.revision for each in known.values()} == {0, 2}
    assert known[digest(1)].revision == 2
    assert set(histories) == set(of_class) == {digest(n) for n in numbers if n % 2}
    assert [each.number for each in histories[digest(3)]] == [1, 2]
    assert histories[digest(3)][0].made_at == NOW


def test_decisions_go_on_after_those_that_were_added(database: Database) -> None:
    add(database, images=[image(1)], annotations=[revision(1, 1), revision(1, 2)])
    with database.write() as session:
        following = Revision(label="good", reviewer="B")
        assert add_revision(session, image_digest=digest(1), base=2, revision=following).number == 3


def test_nothing_is_added_when_one_row_cannot_be(database: Database) -> None:
    add(database, images=[image(1)], annotations=[revision(1, 1)])
    with pytest.raises(StorageError):
        add(database, images=[image(2)], annotations=[revision(2, 1), revision(1, 1)])
    with database.read() as session:
        assert session.get(StoredImage, digest(2)) is None


def test_the_state_of_a_class_changes_with_its_images_decisions_and_scores_alone(database: Database) -> None:
    def state() -> tuple[int, int, int]:
        with database.read() as session:
            return label_exchange.state_of_class(session, dataset="parts", class_name="disc", model_digest="m")

    def score(model: str) -> None:
        with database.write() as session:
            save_predictions(session, {digest(1): PredictionRow(0.5)}, model_digest=model, model_folder=PurePath("f"))

    states = [state()]
    add(database, images=[image(1), image(2)], class_images=[in_class(1)])
    states.append(state())
    add(database, annotations=[revision(1, 1)])
    states.append(state())
    add(database, annotations=[revision(1, 2, "unsure")])
    states.append(state())
    score("m")
    states.append(state())
    assert len(set(states)) == len(states)
    score("other")
    add(database, class_images=[in_class(2, class_name="ring")], annotations=[revision(2, 1)])
    assert state() == states[-1]
    with database.read() as session:
        assert label_exchange.classes_with_labels(session) == [("parts", "disc"), ("parts", "ring")]
