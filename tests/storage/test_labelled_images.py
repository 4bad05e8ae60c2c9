from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePath

import pytest
from sqlalchemy import event, select, update

from skrd4ad.storage.annotations import Label, Revision, add_revision
from skrd4ad.storage.database import Database
from skrd4ad.storage.label_queue import save_class_image
from skrd4ad.storage.labelled_images import LabelBook, PredictionRow, read_labels, save_predictions, unlabelled_scores
from skrd4ad.storage.predictions import ask_for_review, save_image
from skrd4ad.storage.tables import Annotation, StoredImage, StoredPrediction

MODEL, OTHER = "m" * 64, "n" * 64
Step = Callable[["World"], None]


def digest_of(name: str) -> str:
    return name.encode().hex().ljust(64, "0")


class World:
    def __init__(self, database: Database) -> None:
        self.database = database

    def image(self, name: str, *, class_name: str = "disc") -> None:
        with self.database.write() as session:
            save_image(session, digest=digest_of(name), name=name, file=PurePath("uploads") / name)
            save_class_image(
                session, digest=digest_of(name), dataset="parts", class_name=class_name, origin="import", split="test"
            )

    def label(self, name: str, label: Label, *, mask: str | None = None) -> None:
        with self.database.write() as session:
            base = session.get_one(StoredImage, digest_of(name)).revision
            revision = Revision(label=label, mask_file=mask, reviewer="Ada")
            add_revision(session, image_digest=digest_of(name), base=base, revision=revision)

    def score(self, name: str, score: float, *, model: str = MODEL) -> None:
        said = PredictionRow(score=score, verdict="OK", threshold=1.0, calibration=3, refusal=None)
        with self.database.write() as session:
            save_predictions(session, {digest_of(name): said}, model_digest=model, model_folder=PurePath("/m"))

    def read(self, before: LabelBook | None = None, *, model: str = MODEL, class_name: str = "disc") -> LabelBook:
        with self.database.read() as session:
            return read_labels(session, dataset="parts", class_name=class_name, model_digest=model, before=before)


@pytest.fixture
def world(database: Database) -> World:
    made = World(database)
    for name in "abcd":
        made.image(name)
    made.image("z", class_name="ring")
    for name, score in zip("acz", (0.1, 0.3, 0.9), strict=True):
        made.score(name, score)
    made.label("a", "good")
    made.label("b", "defect", mask="masks/b.png")
    made.label("z", "good")
    return made


def test_only_decided_images_of_the_class_are_read_with_the_scores_of_one_model(world: World) -> None:
    world.label("c", "unsure")
    world.label("c", "none")
    world.score("b", 0.7, model=OTHER)
    book = world.read()
    assert set(book.images) == {digest_of("a"), digest_of("b")} and book.in_class == 4
    a, b = book.images[digest_of("a")], book.images[digest_of("b")]
    assert (a.label, a.score, a.calibration, a.split, a.reviewer) == ("good", 0.1, 3, "test", "Ada")
    assert (b.label, b.score, b.mask_file) == ("defect", None, "masks/b.png")
    assert world.read(model=OTHER).images[digest_of("b")].score == 0.7


STEPS: dict[str, Step] = {
    "another label": lambda world: world.label("a", "defect"),
    "a first label": lambda world: world.label("d", "unsure"),
    "two labels": lambda world: (world.label("a", "unsure"), world.label("c", "good")),  # type: ignore[func-returns-value]
    "a label taken back": lambda world: world.label("b", "none"),
    "a label elsewhere": lambda world: world.label("z", "defect"),
    "a first score": lambda world: world.score("b", 0.8),
    "another score": lambda world: world.score("a", 0.6),
    "a score of another model": lambda world: world.score("a", 0.6, model=OTHER),
    "an image": lambda world: world.image("e"),
    "nothing": lambda world: None,
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_book_brought_up_to_date_is_the_one_read_anew(world: World, step: Step) -> None:
    before = world.read()
    step(world)
    assert world.read(before) == world.read()
    assert world.read(before, model=OTHER) == world.read(model=OTHER)
    assert world.read(before, class_name="ring") == world.read(class_name="ring")


def test_a_decision_that_shows_itself_late_is_not_missed(world: World) -> None:
    """Another database may number a decision first and show it after a later one."""
    before = world.read()
    with world.database.write() as session:
        first = session.scalar(select(Annotation.id).where(Annotation.image_digest == digest_of("a")))
        session.execute(update(Annotation).where(Annotation.id == first).values(id=1000, label="unsure"))
    late = world.read(before)
    with world.database.write() as session:
        session.execute(update(StoredImage).where(StoredImage.digest == digest_of("d")).values(revision=1))
        session.add(
            Annotation(
                id=900,
                image_digest=digest_of("d"),
                revision=1,
                label="good",
                reviewer="Ben",
                comment="",
                made_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
        )
    assert digest_of("d") not in late.images and late.decisions[0] == 1000
    assert world.read(late) == world.read() and digest_of("d") in world.read(late).images


def test_nothing_of_the_images_is_read_when_nothing_changed(world: World) -> None:
    before = world.read()
    statements: list[str] = []
    event.listen(world.database.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    world.read(before)
    assert statements and not any("images.file" in each for each in statements)
    world.label("d", "good")
    statements.clear()
    world.read(before)
    assert any("images.file" in each for each in statements)


def test_scores_of_open_images_are_those_without_a_label(world: World) -> None:
    world.score("d", 0.5)
    world.label("c", "good")
    world.label("c", "none")
    with world.database.read() as session:
        found = unlabelled_scores(session, dataset="parts", class_name="disc", model_digest=MODEL)
    assert found == {digest_of("c"): 0.3, digest_of("d"): 0.5}


def test_a_score_is_replaced_and_the_place_in_the_review_queue_stays(world: World) -> None:
    with world.database.write() as session:
        said = PredictionRow(0.4, "NG", 0.3, 1, "too dark")
        save_predictions(session, {digest_of("a"): said}, model_digest=MODEL, model_folder=PurePath("/m"))
        ask_for_review(session, [digest_of("a")], model_digest=MODEL)
        since = session.scalar(select(StoredPrediction.review_since).where(StoredPrediction.score == 0.4))
    world.score("a", 0.2)
    with world.database.read() as session:
        rows = list(session.scalars(select(StoredPrediction).where(StoredPrediction.image_digest == digest_of("a"))))
    assert [(row.score, row.verdict, row.calibration, row.refusal) for row in rows] == [(0.2, "OK", 3, None)]
    assert since is not None and rows[0].review_since == since
