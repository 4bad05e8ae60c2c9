"""Queries on annotations: what people decided on images, as revisions that are only ever added."""

from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from skrd4ad.errors import ConflictError, StorageError
from skrd4ad.storage.tables import Annotation, StoredImage, utc_now

Label = Literal["good", "defect", "unsure", "none"]
LABELS: tuple[Label, ...] = ("good", "defect", "unsure", "none")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a revision says of an image."""

    label: Label
    defect_type: str | None = None
    mask_file: str | None = None
    """PNG below the workspace folder."""
    comment: str = ""


def add_revision(
    session: Session,
    *,
    image_digest: str,
    base: int,
    decision: Decision,
    reviewer: str,
    undoes: int | None = None,
) -> Annotation:
    """Add the revision after ``base``.

    Args:
        session: of a ``write`` block.
        image_digest: SHA-256 of the image's file.
        base: the latest revision that the reviewer has seen, 0 for none.
        decision: what it says.
        reviewer: who decided.
        undoes: revision that is taken back, for an undo.

    Raises:
        ConflictError: there is a later revision than ``base``; nothing is added.
        StorageError: there is no such image.
    """
    # one statement looks and steps on, so of two reviewers at the same moment one gets through, on any database
    step = (
        update(StoredImage)
        .where(StoredImage.digest == image_digest, StoredImage.revision == base)
        .values(revision=base + 1)
    )
    if cast(CursorResult[Any], session.execute(step)).rowcount != 1:
        raise _refusal(session, image_digest, base)
    row = Annotation(
        image_digest=image_digest,
        revision=base + 1,
        label=decision.label,
        defect_type=decision.defect_type,
        mask_file=decision.mask_file,
        reviewer=reviewer,
        comment=decision.comment,
        undoes=undoes,
        made_at=utc_now(),
    )
    session.add(row)
    session.flush()
    return row


def latest_annotation(session: Session, image_digest: str) -> Annotation | None:
    """What holds for an image; None when nobody has decided on it."""
    return session.scalar(
        select(Annotation).where(Annotation.image_digest == image_digest).order_by(Annotation.revision.desc()).limit(1)
    )


def annotation_history(session: Session, image_digest: str) -> list[Annotation]:
    """All revisions of an image, oldest first."""
    query = select(Annotation).where(Annotation.image_digest == image_digest).order_by(Annotation.revision)
    return list(session.scalars(query))


def _refusal(session: Session, image_digest: str, base: int) -> StorageError:
    if session.get(StoredImage, image_digest) is None:
        return StorageError(f"There is no image {image_digest[:12]} in this workspace; it may have been deleted.")
    latest = latest_annotation(session, image_digest)
    if latest is None:
        return ConflictError(f"You saw revision {base} of this image, which has none. Look at it as it is now.")
    what = latest.label + (f" ({latest.defect_type})" if latest.defect_type else "")
    return ConflictError(
        f"{latest.reviewer} changed this image at {latest.made_at:%H:%M:%S} UTC: {what}, revision {latest.revision}. "
        f"You saw revision {base}; yours was not stored. Look at the image as it is now and decide again."
    )
