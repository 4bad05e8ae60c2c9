"""Queries on the review queue: images that wait for a person to decide."""

from collections.abc import Collection
from pathlib import PurePath

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from skrd4ad.storage.tables import Annotation, StoredImage, StoredPrediction, utc_now
from skrd4ad.types import Verdict

DECIDED = ("good", "defect")
"""Labels after which nobody needs to look any more."""


def save_image(session: Session, *, digest: str, name: str, file: PurePath) -> None:
    """Store that an image is kept; the name is brought up to date when it is known already.

    Args:
        digest: SHA-256 of its file, in hexadecimal.
        name: name it came with.
        file: path below the workspace folder.
    """
    known = session.get(StoredImage, digest)
    if known is None:
        session.add(StoredImage(digest=digest, name=name, file=str(file), added_at=utc_now()))
        session.flush()
    else:
        known.name = name


def ask_for_review(
    session: Session,
    *,
    image_digest: str,
    model_digest: str,
    model_folder: PurePath,
    score: float,
    verdict: Verdict | None,
    threshold: float | None,
    calibration: int | None,
    refusal: str | None,
) -> bool:
    """Store what a model said of an image and put it into the queue; False when it waits there already.

    What is known of the same image and model is replaced; its place in the queue is kept.
    """
    known = session.scalar(
        select(StoredPrediction).where(
            StoredPrediction.image_digest == image_digest, StoredPrediction.model_digest == model_digest
        )
    )
    row = known or StoredPrediction(image_digest=image_digest, model_digest=model_digest)
    is_new = row.review_since is None
    row.model_folder = str(model_folder)
    row.score, row.verdict, row.refusal = score, verdict, refusal
    row.threshold, row.calibration = threshold, calibration
    row.made_at = utc_now()
    if is_new:
        row.review_since = utc_now()
    session.add(row)
    session.flush()
    return is_new


def ask_for_reviews(session: Session, digests: Collection[str], *, model_digest: str) -> None:
    """Put images that a model has seen into the queue; those that wait there keep their place."""
    asked = update(StoredPrediction).where(
        StoredPrediction.model_digest == model_digest,
        StoredPrediction.image_digest.in_(digests),
        StoredPrediction.review_since.is_(None),
    )
    session.execute(asked.values(review_since=utc_now()))


def waiting(session: Session) -> list[tuple[StoredImage, StoredPrediction]]:
    """Images that wait for a person, the longest first, each with what a model said of it.

    One that was found good or defective waits no more; one that a person was unsure of waits for another person.
    """
    query = (
        select(StoredImage, StoredPrediction)
        .join(StoredPrediction, StoredPrediction.image_digest == StoredImage.digest)
        .outerjoin(
            Annotation,
            and_(Annotation.image_digest == StoredImage.digest, Annotation.revision == StoredImage.revision),
        )
        .where(StoredPrediction.review_since.is_not(None), func.coalesce(Annotation.label, "none").not_in(DECIDED))
        .order_by(StoredPrediction.review_since, StoredPrediction.id)
    )
    return [(image, prediction) for image, prediction in session.execute(query)]
