"""Queries on annotations: what people decided on images, as revisions that are only ever added."""

from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from skrd4ad.errors import ConflictError, StorageError
from skrd4ad.storage.tables import Annotation, StoredImage, utc_now

Label = Literal["good", "defect", "unsure", "none"]
LABELS: tuple[Label, ...] = ("good", "defect", "unsure", "none")


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One decision of a person on an image, stored or to be stored."""

    label: Label
    defect_type: str | None = None
    mask_file: str | None = None
    reviewer: str = ""
    """Empty where an imported file does not tell."""
    comment: str = ""
    number: int = 0
    """1, 2, 3, … for each image; 0 until it is stored."""
    undoes: int | None = None
    made_at: datetime | None = None
    """None until it is stored, or where an imported file does not tell."""

    @classmethod
    def from_row(cls, row: Annotation) -> "Revision":
        """The decision that a row of the table of annotations holds."""
        same = {each.name: getattr(row, each.name) for each in fields(cls) if each.name != "number"}
        return cls(number=row.revision, **same)

    def columns(self, image_digest: str) -> dict[str, Any]:
        """Values of its row in the table of annotations."""
        values = asdict(self)
        return {"image_digest": image_digest, "revision": values.pop("number"), **values}


def add_revision(session: Session, *, image_digest: str, base: int, revision: Revision) -> Revision:
    """Store the revision after ``base``, the latest that the reviewer has seen; returns it with its number and time.

    Raises:
        ConflictError: there is a later revision than ``base``; nothing is added.
    """
    # one statement looks and steps on, so of two reviewers at the same moment one gets through, on any database
    step = (
        update(StoredImage)
        .where(StoredImage.digest == image_digest, StoredImage.revision == base)
        .values(revision=base + 1)
    )
    if cast(CursorResult[Any], session.execute(step)).rowcount != 1:
        raise _refusal(session, image_digest, base)
    stored = replace(revision, number=base + 1, made_at=utc_now())
    session.add(Annotation(**stored.columns(image_digest)))
    session.flush()
    return stored


def revisions_of(session: Session, image_digest: str) -> list[Revision]:
    """All revisions of an image, oldest first; the last one holds."""
    query = select(Annotation).where(Annotation.image_digest == image_digest).order_by(Annotation.revision)
    return [Revision.from_row(row) for row in session.scalars(query)]


def _refusal(session: Session, image_digest: str, base: int) -> StorageError:
    if session.get(StoredImage, image_digest) is None:
        return StorageError(f"There is no image {image_digest[:12]} in this workspace; it may have been deleted.")
    revisions = revisions_of(session, image_digest)
    if not revisions:
        return ConflictError(f"You saw revision {base} of this image, which has none. Look at it as it is now.")
    latest = revisions[-1]
    what = latest.label + (f" ({latest.defect_type})" if latest.defect_type else "")
    return ConflictError(
        f"{latest.reviewer} changed this image at {latest.made_at:%H:%M:%S} UTC: {what}, revision {latest.number}. "
        f"You saw revision {base}; yours was not stored. Look at the image as it is now and decide again."
    )
