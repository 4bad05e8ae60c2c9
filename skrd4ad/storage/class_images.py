"""Puts many images into a class at once, in few statements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.label_exchange import add_rows, known_images
from skrd4ad.storage.label_queue import Origin
from skrd4ad.storage.tables import ClassImage, utc_now


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


def place_images(
    session: Session,
    images: Sequence[NewImage],
    *,
    dataset: str,
    class_name: str,
    origin: Origin,
    is_there: Callable[[str], bool],
) -> tuple[int, int]:
    """Put up to some hundreds of images, each content once, among those of a class.

    What is stored of an image stays, but: gaps are filled, a file that is gone is replaced by the one given, and what
    kept a model from looking at it is forgotten. ``is_there`` tells of a stored file whether it is still there.

    Returns how many were not among those of the class, and how many got the decision that they came with.
    """
    stored = known_images(session, [image.digest for image in images])
    of_class = ClassImage.of_class(dataset, class_name)
    members = session.scalars(select(ClassImage).where(of_class, ClassImage.image_digest.in_([*stored])))
    placed = {row.image_digest: row for row in members}
    for image in images:
        if (row := stored.get(image.digest)) is not None:
            row.width, row.height, row.note = image.width, image.height, None
            if row.file != image.file and not is_there(row.file):
                row.file = image.file
        if (member := placed.get(image.digest)) is not None:
            member.split = member.split or image.split
            member.known_type = member.known_type or image.known_type
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
    return len(fresh), len(undecided)
