import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import PurePath
from typing import Any

import pytest
from sqlalchemy import event

from skrd4ad.storage.annotations import Label, Revision, add_revision
from skrd4ad.storage.database import Database
from skrd4ad.storage.label_queue import (
    Order,
    QueueFilter,
    QueueItem,
    names_of_class,
    queue_counts,
    queue_digests,
    queue_item,
    queue_items,
    queue_page,
    save_class_image,
)
from skrd4ad.storage.labelled_images import PredictionRow, save_predictions
from skrd4ad.storage.predictions import ask_for_review, save_image, waiting
from skrd4ad.storage.tables import ClassImage, StoredImage
from skrd4ad.types import Verdict, verdict_of

MODEL, OTHER_MODEL = "m" * 64, "n" * 64
ALL = QueueFilter(dataset="parts", class_name="disc", model_digest=MODEL, reject=0.5, review=0.4)
MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)


def digest_of(name: str) -> str:
    """A digest whose halves are in opposite order, so that no order is another's by chance."""
    return f"{ord(name):02x}" * 16 + f"{0xFF - ord(name):02x}" * 16


class Filler:
    """Puts images into the class, each a minute after the one before."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.at = MORNING

    def image(self, name: str, **place: Any) -> None:
        self.at += timedelta(minutes=1)
        values = {"dataset": "parts", "class_name": "disc", "origin": "import", **place}
        with self.database.write() as session:
            save_image(session, digest=digest_of(name), name=f"{name}.png", file=PurePath("uploads") / name)
            assert save_class_image(session, digest=digest_of(name), **values)
            session.get_one(ClassImage, (values["dataset"], values["class_name"], digest_of(name))).added_at = self.at

    def score(self, name: str, score: float, *, model: str = MODEL, sent: bool = True, version: int | None = 1) -> None:
        with self.database.write() as session:
            said = PredictionRow(score, verdict_of(score, review=0.4, reject=0.5), 0.5, version)
            save_predictions(session, {digest_of(name): said}, model_digest=model, model_folder=PurePath("/m"))
            ask_for_review(session, [digest_of(name)], model_digest=model)
            if not sent:
                for image, said in waiting(session):
                    if image.digest == digest_of(name):
                        said.review_since = None

    def decide(self, name: str, label: Label, *, by: str = "Ada", **decision: Any) -> None:
        with self.database.write() as session:
            base = session.get_one(StoredImage, digest_of(name)).revision
            revision = Revision(label=label, reviewer=by, **decision)
            add_revision(session, image_digest=digest_of(name), base=base, revision=revision)


@pytest.fixture
def fill(database: Database) -> Filler:
    return Filler(database)


@pytest.fixture
def parts(fill: Filler) -> Filler:
    """Images a to f: e the model has not seen, f has a score of another model only; z is of another class."""
    for name in "abcdef":
        fill.image(name, origin="dataset" if name == "a" else "inspect")
    fill.image("z", class_name="fabric")
    for name, score in zip("abcd", (0.9, 0.1, 0.45, 0.55), strict=True):
        fill.score(name, score, sent=name != "b")
    fill.score("f", 0.5, model=OTHER_MODEL)
    fill.score("z", 0.5)
    return fill


def page(database: Database, wanted: QueueFilter = ALL, **values: Any) -> list[QueueItem]:
    with database.read() as session:
        return queue_page(session, wanted, **values)


def names(items: Sequence[QueueItem]) -> str:
    return "".join(item.name.removesuffix(".png") for item in items)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("closest", "dcabef"),  # a and b are equally close: by digest
        ("highest", "adcbef"),
        ("newest", "fedcba"),
        ("random", "fedcba"),  # by the second half of the digests, which is in opposite order
    ],
)
def test_orders_with_images_without_a_score_last(
    database: Database, parts: Filler, order: Order, expected: str
) -> None:
    if order == "closest":
        parts.score("d", 0.5)  # on the limit
    found = page(database, order=order)
    assert names(found) == expected
    assert names([*page(database, order=order, limit=2), *page(database, order=order, limit=9, offset=2)]) == expected
    with database.read() as session:
        assert queue_digests(session, ALL, order=order) == [digest_of(name) for name in expected]


def test_without_a_limit_the_highest_score_comes_first(database: Database, parts: Filler) -> None:
    assert names(page(database, replace(ALL, reject=None, review=None))) == "adcbef"


def test_an_item_says_what_is_known(database: Database, parts: Filler) -> None:
    parts.decide("a", "defect", defect_type="dent", mask_file="masks/a.png", comment="left edge", by="Bo")
    item = page(database, order="highest")[0]
    assert (item.digest, item.name, item.file) == (digest_of("a"), "a.png", "uploads/a")
    assert (item.origin, item.split, item.known_type, item.added_at) == (
        "dataset",
        None,
        None,
        MORNING.replace(minute=1),
    )
    assert (item.score, item.refusal, item.note, item.width, item.height) == (0.9, None, None, None, None)
    assert (item.latest.number, item.label, item.defect_type, item.mask_file) == (1, "defect", "dent", "masks/a.png")
    assert (item.latest.reviewer, item.latest.comment) == ("Bo", "left edge")
    assert item.latest.made_at is not None and item.latest.made_at.tzinfo is UTC
    blank = page(database, order="highest")[-2]
    assert (blank.name, blank.score, blank.latest) == ("e.png", None, Revision(label="none"))


def test_only_the_latest_decision_holds(database: Database, parts: Filler) -> None:
    parts.decide("a", "defect", defect_type="dent", by="Bo")
    parts.decide("a", "good")
    assert page(database, replace(ALL, labels=("defect",))) == []
    assert page(database, replace(ALL, defect_types=("dent",))) == []
    assert page(database, replace(ALL, reviewers=("Bo",))) == []
    assert names(page(database, replace(ALL, labels=("good",), reviewers=("Ada",)))) == "a"
    with database.read() as session:
        assert names_of_class(session, dataset="parts", class_name="disc") == ([], ["Ada"])


@pytest.mark.parametrize(
    ("narrower", "expected"),
    [
        ({"verdicts": ("OK",)}, "b"),
        ({"verdicts": ("REVIEW",)}, "c"),
        ({"verdicts": ("NG",)}, "ad"),
        ({"verdicts": ("OK", "NG")}, "abd"),
        ({"verdicts": ("OK", "REVIEW", "NG")}, "abcd"),
        ({"verdicts": ("NG",), "reject": None, "review": None}, ""),
        ({"verdicts": ("REVIEW",), "review": None}, ""),
        ({"verdicts": ("OK",), "review": None}, "bc"),
        ({"labels": ("none",)}, "abcdef"),
        ({"origins": ("dataset",)}, "a"),
        ({"origins": ("dataset", "inspect")}, "abcdef"),
        ({"origins": ("watch",)}, ""),
        ({"only_sent": True}, "acd"),
        ({"model_digest": OTHER_MODEL, "only_sent": True}, "f"),
        ({"class_name": "fabric"}, "z"),
        ({"dataset": "others"}, ""),
    ],
)
def test_filters(database: Database, parts: Filler, narrower: dict[str, Any], expected: str) -> None:
    wanted = replace(ALL, **narrower)
    assert sorted(names(page(database, wanted))) == list(expected)
    with database.read() as session:
        assert queue_counts(session, wanted).total == len(expected)


def test_the_verdicts_of_the_filter_are_those_of_the_calibration(database: Database, fill: Filler) -> None:
    scores = [0.0, 0.4, math.nextafter(0.4, 1), 0.5, math.nextafter(0.5, 1), 1.0]
    for name, score in zip("abcdef", scores, strict=True):
        fill.image(name)
        fill.score(name, score)
    verdicts: tuple[Verdict, ...] = ("OK", "REVIEW", "NG")
    for review in (0.4, None):
        for verdict in verdicts:
            expected = [
                name
                for name, score in zip("abcdef", scores, strict=True)
                if verdict_of(score, review=review, reject=0.5) == verdict
            ]
            found = page(database, replace(ALL, review=review, verdicts=(verdict,)))
            assert sorted(names(found)) == expected


def test_counts_are_those_of_the_images(database: Database, parts: Filler) -> None:
    parts.decide("a", "defect", mask_file="masks/a.png")
    parts.decide("b", "unsure", mask_file="masks/b.png")
    parts.decide("c", "good")
    parts.decide("d", "good")
    parts.decide("d", "none")
    with database.read() as session:
        counts = queue_counts(session, ALL)
        assert (counts.total, counts.unscored, counts.unreadable) == (6, 2, 0)
        assert counts.labels == {"defect": 1, "unsure": 1, "good": 1, "none": 3}
        assert counts.masks == 1  # of defects: an unsure one is no defect yet
        narrow = queue_counts(session, replace(ALL, labels=("none",), verdicts=("NG",)))
        assert (narrow.total, narrow.labels, narrow.unscored) == (1, {"none": 1}, 0)
        nothing = queue_counts(session, replace(ALL, class_name="nothing"))
        assert (nothing.total, nothing.labels, nothing.masks, nothing.unscored) == (0, {}, 0, 0)


def test_a_score_under_another_calibration_counts_as_none(database: Database, parts: Filler) -> None:
    parts.score("b", 0.1, version=2, sent=False)
    parts.score("c", 0.45, version=None)
    for versions, expected in (
        ((1,), "ad"),
        ((2,), "b"),
        ((1, 2), "abd"),
        ((None,), "c"),
        ((None, 1), "acd"),
        ((), ""),
    ):
        wanted = replace(ALL, calibrations=versions)
        scored = [item for item in page(database, wanted) if item.score is not None]
        assert sorted(names(scored)) == list(expected)
        assert sorted(names(page(database, replace(wanted, verdicts=("OK", "REVIEW", "NG"))))) == list(expected)
        with database.read() as session:
            assert queue_counts(session, wanted).unscored == 6 - len(expected)
            item = queue_item(session, wanted, digest_of("a"))
            assert item is not None and (item.score is not None) == ("a" in expected)
        # who was asked to decide still is
        assert sorted(names(page(database, replace(wanted, only_sent=True)))) == ["a", "c", "d"]


def test_one_image_is_found_whatever_the_filter(database: Database, parts: Filler) -> None:
    narrow = replace(ALL, labels=("good",), verdicts=("NG",), origins=("watch",), only_sent=True)
    with database.read() as session:
        item = queue_item(session, narrow, digest_of("c"))
        assert item is not None and (item.name, item.score) == ("c.png", 0.45)
        assert queue_item(session, narrow, digest_of("z")) is None
        found = queue_items(session, narrow, [digest_of(name) for name in "czxa"])
        assert names(found) == "ca"


def test_names_are_of_the_class_alone_types_by_first_use_reviewers_by_name(database: Database, parts: Filler) -> None:
    parts.decide("a", "defect", defect_type="scratch", by="Bo")
    parts.decide("b", "defect", defect_type="dent", by="Ada")
    parts.decide("c", "defect", defect_type="dent", by="Ada")
    parts.decide("z", "defect", defect_type="hole", by="Cy")
    with database.read() as session:
        assert names_of_class(session, dataset="parts", class_name="disc") == (["scratch", "dent"], ["Ada", "Bo"])


def test_an_image_is_put_among_those_of_a_class_once(database: Database, parts: Filler) -> None:
    with database.write() as session:
        again = {"digest": digest_of("a"), "dataset": "parts", "class_name": "disc"}
        assert not save_class_image(session, **again, origin="watch", known_type="dent")
        place = session.get_one(ClassImage, ("parts", "disc", digest_of("a")))
        assert (place.origin, place.known_type) == ("dataset", None)
        assert save_class_image(session, **{**again, "class_name": "fabric"}, origin="dataset", known_type="dent")


def test_images_wait_until_they_are_found_good_or_defective(database: Database, parts: Filler) -> None:
    def who_waits() -> str:
        with database.read() as session:
            return "".join(image.name[0] for image, said in waiting(session) if said.model_digest == MODEL)

    assert who_waits() == "acdz"
    parts.decide("a", "defect")
    parts.decide("c", "good")
    parts.decide("d", "unsure")
    assert who_waits() == "dz"
    parts.decide("c", "none")
    assert who_waits() == "cdz"


def count_statements(database: Database, work: Callable[[], object]) -> int:
    statements: list[str] = []

    def note(*args: Any) -> None:
        statements.append(args[2])

    event.listen(database.engine, "before_cursor_execute", note)
    work()
    event.remove(database.engine, "before_cursor_execute", note)
    return len([statement for statement in statements if statement.lstrip().startswith(("SELECT", "WITH"))])


def test_a_page_asks_as_often_for_many_images_as_for_few(database: Database, fill: Filler) -> None:
    def look() -> None:
        with database.read() as session:
            queue_page(session, ALL)
            queue_counts(session, ALL)
            names_of_class(session, dataset="parts", class_name="disc")
            queue_digests(session, ALL)

    counts = []
    for part in ("ab", "cdefghijklmnop"):
        for name in part:
            fill.image(name)
            fill.score(name, ord(name) / 200)
            fill.decide(name, "defect", defect_type=name, by=name)
        counts.append(count_statements(database, look))
    assert counts[0] == counts[1] <= 6
    assert all(later.score is not None for _, later in pairwise(page(database)))
