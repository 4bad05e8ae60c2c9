"""Queries on scores: which of them hold, which images have none, and why."""

from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from skrd4ad.storage.tables import ClassImage, StoredImage, StoredPrediction


def score_that_holds(model_digest: str, calibrations: Collection[int | None] | None) -> ColumnElement[bool]:
    """Joins to an image what a model said of it, when that holds.

    Args:
        model_digest: the model.
        calibrations: versions whose scores hold, None for a limit by hand; None holds all scores.
    """
    said = and_(StoredPrediction.image_digest == StoredImage.digest, StoredPrediction.model_digest == model_digest)
    if calibrations is None:
        return said
    version = StoredPrediction.calibration
    holds = version.in_([each for each in calibrations if each is not None])
    return and_(said, or_(holds, version.is_(None)) if None in calibrations else holds)


def without_score(
    session: Session,
    *,
    dataset: str,
    class_name: str,
    model_digest: str,
    calibrations: Collection[int | None] | None = None,
    limit: int | None = None,
) -> list[StoredImage]:
    """Images of a class that a model has not seen and nobody found unreadable, by digest.

    Args:
        session: of any block.
        dataset: of the class.
        class_name: the class.
        model_digest: the model.
        calibrations: versions whose scores hold, None for a limit by hand; None holds all scores.
        limit: how many at most.
    """
    return list(session.scalars(_without_score(dataset, class_name, model_digest, calibrations).limit(limit)))


def count_without_score(
    session: Session,
    *,
    dataset: str,
    class_name: str,
    model_digest: str,
    calibrations: Collection[int | None] | None = None,
) -> int:
    """How many images :func:`without_score` finds."""
    query = _without_score(dataset, class_name, model_digest, calibrations).order_by(None)
    return session.scalar(query.with_only_columns(func.count())) or 0


def forget_notes(session: Session, *, dataset: str, class_name: str) -> int:
    """Forget why images of a class could not be looked at, so that they are tried again; returns how many."""
    of_class = select(ClassImage.image_digest).where(ClassImage.dataset == dataset, ClassImage.class_name == class_name)
    noted = update(StoredImage).where(StoredImage.note.is_not(None), StoredImage.digest.in_(of_class))
    return cast(CursorResult[Any], session.execute(noted.values(note=None))).rowcount


def save_look(session: Session, digest: str, *, size: tuple[int, int] | None, note: str | None = None) -> None:
    """Store what came of looking at an image.

    Args:
        session: of a ``write`` block.
        digest: of the image.
        size: its width and height; None when it could not be read, which leaves what is known.
        note: why no model can look at it; None when one could.
    """
    values: dict[str, Any] = {"note": note}
    if size is not None:
        values |= {"width": size[0], "height": size[1]}
    session.execute(update(StoredImage).where(StoredImage.digest == digest).values(**values))


def _without_score(
    dataset: str, class_name: str, model_digest: str, calibrations: Collection[int | None] | None
) -> Select[StoredImage]:
    return (
        select(StoredImage)
        .join(ClassImage, ClassImage.image_digest == StoredImage.digest)
        .outerjoin(StoredPrediction, score_that_holds(model_digest, calibrations))
        .where(
            ClassImage.dataset == dataset,
            ClassImage.class_name == class_name,
            StoredPrediction.id.is_(None),
            StoredImage.note.is_(None),
        )
        .order_by(StoredImage.digest)
    )
