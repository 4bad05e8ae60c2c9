"""Puts many images into a class at once, in few statements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.label_exchange import add_rows, known_images
from skrd4ad.storage.label_queue import Origin
from skrd4ad.storage.tables import ClassImage, StoredImage, utc_now


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """An image that is to be among those of a class."""

    digest: str
    name: str
    file: str
    """Path below the workspace folder, or an absolute one."""
    width: int
    height: int
    split: str | None = None
    known_type: str | None = None
    revision: Revision | None = None
    """First revision, unless somebody has decided on it."""


@dataclass(frozen=True)
class Placed:
    """What became of images, by their digests."""

    added: frozenset[str]
    """Were not among those of the class."""
    decided: frozenset[str]
    """Got the decision that they came with."""


def place_images(
    session: Session,
    images: Sequence[NewImage],
    *,
    dataset: str,
    class_name: str,
    origin: Origin,
    is_there: Callable[[str], bool],
) -> Placed:
    """Put up to some hundreds of images, each content once, among those of a class.

    What is stored of an image stays, but: gaps are filled, a file that is gone is replaced by the one given, and what
    kept a model from looking at it is forgotten. ``is_there`` tells of a stored file whether it is still there.
    """
    stored = known_images(session, [image.digest for image in images])
    placed = _placed(session, [*stored], dataset=dataset, class_name=class_name)
    for image in images:
        if (row := stored.get(image.digest)) is not None:
            _fill_image(row, image, is_there)
        if (place := placed.get(image.digest)) is not None:
            place.split = place.split or image.split
            place.known_type = place.known_type or image.known_type
    session.flush()
    fresh = [image for image in images if image.digest not in placed]
    now = utc_now()
    undecided = {
        image.digest: replace(image.revision, number=1, made_at=now)
        for image in images
        if image.revision is not None and (image.digest not in stored or stored[image.digest].revision == 0)
    }
    add_rows(
        session,
        images=[
            {"digest": i.digest, "name": i.name, "file": i.file, "width": i.width, "height": i.height, "added_at": now}
            for i in images
            if i.digest not in stored
        ],
        class_images=[
            {
                "dataset": dataset,
                "class_name": class_name,
                "image_digest": image.digest,
                "origin": origin,
                "split": image.split,
                "known_type": image.known_type,
                "added_at": now,
            }
            for image in fresh
        ],
        annotations=[revision.columns(digest) for digest, revision in undecided.items()],
    )
    return Placed(frozenset(image.digest for image in fresh), frozenset(undecided))


def _placed(session: Session, digests: Sequence[str], *, dataset: str, class_name: str) -> dict[str, ClassImage]:
    query = select(ClassImage).where(ClassImage.of_class(dataset, class_name), ClassImage.image_digest.in_(digests))
    return {row.image_digest: row for row in session.scalars(query)}


def _fill_image(row: StoredImage, image: NewImage, is_there: Callable[[str], bool]) -> None:
    row.width, row.height = image.width, image.height
    row.note = None
    if row.file != image.file and not is_there(row.file):
        row.file = image.file
