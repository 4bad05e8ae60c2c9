"""Queries on what models said of images: which scores hold, which images have none, and which wait for a person."""

from collections.abc import Collection
from pathlib import PurePath
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from skrd4ad.storage.tables import Annotation, ClassImage, StoredImage, StoredPrediction, utc_now

DECIDED = ("good", "defect")
"""Labels after which nobody needs to look any more."""


def score_that_holds(model_digest: str, calibrations: Collection[int | None] | None) -> ColumnElement[bool]:
    """Joins to an image what a model said of it, when that holds.

    ``calibrations`` are versions whose scores hold, None for a limit by hand; None in place of them holds all scores.
    """
    said = StoredPrediction.by_model(model_digest)
    if calibrations is None:
        return said
    version = StoredPrediction.calibration
    holds = version.in_([each for each in calibrations if each is not None])
    return and_(said, or_(holds, version.is_(None)) if None in calibrations else holds)


def without_score(
    dataset: str, class_name: str, model_digest: str, calibrations: Collection[int | None] | None = None
) -> Select[StoredImage]:
    """Query for the images of a class without a score that holds that nobody found unreadable."""
    return (
        select(StoredImage)
        .join(ClassImage, ClassImage.image_digest == StoredImage.digest)
        .outerjoin(StoredPrediction, score_that_holds(model_digest, calibrations))
        .where(ClassImage.of_class(dataset, class_name), StoredPrediction.id.is_(None), StoredImage.note.is_(None))
        .order_by(StoredImage.digest)
    )


def count_images(session: Session, query: Select[StoredImage]) -> int:
    """How many images a query finds."""
    return session.scalar(query.order_by(None).with_only_columns(func.count())) or 0


def forget_notes(session: Session, *, dataset: str, class_name: str) -> int:
    """Forget why images of a class could not be looked at, so that they are tried again; returns how many."""
    of_class = select(ClassImage.image_digest).where(ClassImage.of_class(dataset, class_name))
    noted = update(StoredImage).where(StoredImage.note.is_not(None), StoredImage.digest.in_(of_class))
    return cast(CursorResult[Any], session.execute(noted.values(note=None))).rowcount


def save_look(session: Session, digest: str, *, size: tuple[int, int] | None, note: str | None = None) -> None:
    """Store the (width, height) of an image, None when it could not be read, and why no model can look at it."""
    values: dict[str, Any] = {"note": note}
    if size is not None:
        values |= {"width": size[0], "height": size[1]}
    session.execute(update(StoredImage).where(StoredImage.digest == digest).values(**values))


def save_image(session: Session, *, digest: str, name: str, file: PurePath) -> None:
    """Store that an image is kept below the workspace; the name is brought up to date when it is known already."""
    known = session.get(StoredImage, digest)
    if known is None:
        session.add(StoredImage(digest=digest, name=name, file=str(file), added_at=utc_now()))
        session.flush()
    else:
        known.name = name


def ask_for_review(session: Session, digests: Collection[str], *, model_digest: str) -> int:
    """Put images that a model has seen into the queue; returns how many. Those that wait there keep their place."""
    asked = update(StoredPrediction).where(
        StoredPrediction.model_digest == model_digest,
        StoredPrediction.image_digest.in_(digests),
        StoredPrediction.review_since.is_(None),
    )
    return cast(CursorResult[Any], session.execute(asked.values(review_since=utc_now()))).rowcount


def waiting(session: Session) -> list[tuple[StoredImage, StoredPrediction]]:
    """Images that wait for a person, the longest first, each with what a model said of it.

    One that was found good or defective waits no more; one that a person was unsure of waits for another person.
    """
    query = (
        select(StoredImage, StoredPrediction)
        .join(StoredPrediction, StoredPrediction.image_digest == StoredImage.digest)
        .outerjoin(Annotation, Annotation.latest())
        .where(StoredPrediction.review_since.is_not(None), func.coalesce(Annotation.label, "none").not_in(DECIDED))
        .order_by(StoredPrediction.review_since, StoredPrediction.id)
    )
    return [(image, prediction) for image, prediction in session.execute(query)]
