"""Queries on labelled images with what one model says of them, quick enough to be asked at every look at a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from skrd4ad.storage.annotations import Label
from skrd4ad.storage.tables import Annotation, ClassImage, StoredImage, StoredPrediction, parts, utc_now
from skrd4ad.types import Verdict

DECIDED: tuple[Label, ...] = ("good", "defect", "unsure")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image that somebody decided on, and what a model says of it."""

    digest: str
    name: str
    file: str
    """Path below the workspace folder, or an absolute one."""
    split: str | None
    label: Label
    defect_type: str | None
    mask_file: str | None
    reviewer: str
    score: float | None
    calibration: int | None
    """Version that the score was taken under, for what it ignores; None for a limit by hand, or none."""


@dataclass(frozen=True, kw_only=True)
class LabelBook:
    """All labelled images of a class, and the state of the tables they were read from."""

    dataset: str
    class_name: str
    model_digest: str
    images: Mapping[str, LabelledImage]
    """By digest."""
    decisions: tuple[int, int]
    """The latest decision on any image, and how many there are."""
    predictions: tuple[int, datetime | None]
    """How many images the model has seen, and when the latest one."""
    in_class: int


@dataclass(frozen=True)
class PredictionRow:
    """What a model says of an image."""

    score: float
    verdict: Verdict | None = None
    threshold: float | None = None
    calibration: int | None = None
    refusal: str | None = None


def read_labels(
    session: Session, *, dataset: str, class_name: str, model_digest: str, before: LabelBook | None = None
) -> LabelBook:
    """The labelled images of a class with the scores of a model.

    When only decisions were added since ``before`` was read, only their images are read again.
    """
    known = (dataset, class_name, model_digest)
    if before is not None and (before.dataset, before.class_name, before.model_digest) != known:
        before = None
    latest_id, count = session.execute(select(func.max(Annotation.id), func.count(Annotation.id))).one()
    seen, latest = session.execute(
        select(func.count(), func.max(StoredPrediction.made_at)).where(StoredPrediction.model_digest == model_digest)
    ).one()
    in_class = (
        session.scalar(select(func.count()).select_from(ClassImage).where(ClassImage.of_class(dataset, class_name)))
        or 0
    )
    images: Mapping[str, LabelledImage] | None = None
    if before is not None and (before.predictions, before.in_class) == ((seen, latest), in_class):
        images = _brought_up_to_date(session, before, count=count)
    return LabelBook(
        dataset=dataset,
        class_name=class_name,
        model_digest=model_digest,
        images=_read(session, *known) if images is None else images,
        decisions=(latest_id or 0, count),
        predictions=(seen, latest),
        in_class=in_class,
    )


def _brought_up_to_date(session: Session, before: LabelBook, *, count: int) -> Mapping[str, LabelledImage] | None:
    """Labelled images after the decisions since; None when these do not tell all that changed."""
    last, had = before.decisions
    added = list(session.scalars(select(Annotation.image_digest).where(Annotation.id > last)))
    if len(added) != count - had:  # another database gives numbers in one order and shows rows in another
        return None
    if not added:
        return before.images
    changed = set(added)
    images = {digest: image for digest, image in before.images.items() if digest not in changed}
    known = (before.dataset, before.class_name, before.model_digest)
    for part in parts(sorted(changed)):
        images |= _read(session, *known, StoredImage.digest.in_(part))
    return images


def unlabelled_scores(session: Session, *, dataset: str, class_name: str, model_digest: str) -> dict[str, float]:
    """Scores, by digest, of the images of a class that nobody has decided on, as far as the model has seen them."""
    query = (
        select(StoredImage.digest, StoredPrediction.score)
        .select_from(ClassImage)
        .join(StoredImage, StoredImage.digest == ClassImage.image_digest)
        .join(StoredPrediction, StoredPrediction.by_model(model_digest))
        .outerjoin(Annotation, Annotation.latest())
        .where(ClassImage.of_class(dataset, class_name), func.coalesce(Annotation.label, "none") == "none")
    )
    return {row[0]: row[1] for row in session.execute(query)}


def save_predictions(
    session: Session, said: Mapping[str, PredictionRow], *, model_digest: str, model_folder: PurePath
) -> None:
    """Store what a model says of images, by their digests, in place of what it said before.

    Their place in the review queue stays.
    """
    query = select(StoredPrediction).where(
        StoredPrediction.model_digest == model_digest, StoredPrediction.image_digest.in_(said)
    )
    known = {row.image_digest: row for row in session.scalars(query)}
    for digest, each in said.items():
        row = known.get(digest) or StoredPrediction(image_digest=digest, model_digest=model_digest)
        row.model_folder = str(model_folder)
        row.score, row.verdict, row.refusal = each.score, each.verdict, each.refusal
        row.threshold, row.calibration = each.threshold, each.calibration
        row.made_at = utc_now()
        session.add(row)
    session.flush()


def _read(
    session: Session, dataset: str, class_name: str, model_digest: str, *narrower: ColumnElement[bool]
) -> dict[str, LabelledImage]:
    query: Any = (
        select(
            StoredImage.digest,
            StoredImage.name,
            StoredImage.file,
            ClassImage.split,
            Annotation.label,
            Annotation.defect_type,
            Annotation.mask_file,
            Annotation.reviewer,
            StoredPrediction.score,
            StoredPrediction.calibration,
        )
        .select_from(ClassImage)
        .join(StoredImage, StoredImage.digest == ClassImage.image_digest)
        .join(Annotation, Annotation.latest())
        .outerjoin(StoredPrediction, StoredPrediction.by_model(model_digest))
        .where(ClassImage.of_class(dataset, class_name), Annotation.label.in_(DECIDED), *narrower)
    )
    return {row[0]: LabelledImage(*row) for row in session.execute(query)}
