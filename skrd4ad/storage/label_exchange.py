"""Queries for labels in and out: whole classes at a time, in few statements."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.tables import Annotation, ClassImage, StoredImage, StoredPrediction, parts


def histories_of_class(session: Session, *, dataset: str, class_name: str) -> dict[str, list[Revision]]:
    """All revisions of the images of a class by their digests, oldest first."""
    query = (
        select(Annotation)
        .join(ClassImage, ClassImage.image_digest == Annotation.image_digest)
        .where(ClassImage.of_class(dataset, class_name))
        .order_by(Annotation.image_digest, Annotation.revision)
    )
    return _by_image(session.scalars(query))


def histories_of(session: Session, digests: Sequence[str]) -> dict[str, list[Revision]]:
    """All revisions of images by their digests, oldest first."""
    rows: list[Annotation] = []
    for some in parts(digests):
        query = select(Annotation).where(Annotation.image_digest.in_(some))
        rows += session.scalars(query.order_by(Annotation.image_digest, Annotation.revision))
    return _by_image(iter(rows))


def known_images(session: Session, digests: Sequence[str]) -> dict[str, StoredImage]:
    """Images that are stored, by their digests."""
    found: dict[str, StoredImage] = {}
    for some in parts(digests):
        rows = session.scalars(select(StoredImage).where(StoredImage.digest.in_(some)))
        found |= {row.digest: row for row in rows}
    return found


def images_of_class(session: Session, *, dataset: str, class_name: str) -> list[StoredImage]:
    """Images among those of a class, by digest."""
    query = (
        select(StoredImage)
        .join(ClassImage, ClassImage.image_digest == StoredImage.digest)
        .where(ClassImage.of_class(dataset, class_name))
        .order_by(StoredImage.digest)
    )
    return list(session.scalars(query))


def classes_with_labels(session: Session) -> list[tuple[str, str]]:
    """Data set and class of all images that people label."""
    query = select(ClassImage.dataset, ClassImage.class_name).distinct()
    return sorted((dataset, name) for dataset, name in session.execute(query))


def state_of_class(session: Session, *, dataset: str, class_name: str, model_digest: str) -> tuple[int, int, int]:
    """How many images a class has, the number of its latest decision, and how many scores of a model: all three stay
    while nothing of it changes."""
    of_class = ClassImage.of_class(dataset, class_name)
    images = select(func.count()).select_from(ClassImage).where(of_class)
    latest = (
        select(func.coalesce(func.max(Annotation.id), 0))
        .join(ClassImage, ClassImage.image_digest == Annotation.image_digest)
        .where(of_class)
    )
    scores = (
        select(func.count())
        .select_from(StoredPrediction)
        .join(ClassImage, ClassImage.image_digest == StoredPrediction.image_digest)
        .where(of_class, StoredPrediction.model_digest == model_digest)
    )
    return session.scalar(images) or 0, session.scalar(latest) or 0, session.scalar(scores) or 0


def add_rows(
    session: Session,
    *,
    images: Sequence[Mapping[str, Any]],
    class_images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
) -> None:
    """Add rows, each given by its columns, and bring the images' latest revisions up to date.

    In the ``write`` block in which was read what is known. The annotations of each image follow its latest one, in
    order.
    """
    for table, rows in ((StoredImage, images), (ClassImage, class_images), (Annotation, annotations)):
        if rows:
            session.execute(insert(table), [dict(row) for row in rows])
    latest = {row["image_digest"]: row["revision"] for row in annotations}
    if latest:
        session.execute(update(StoredImage), [{"digest": digest, "revision": at} for digest, at in latest.items()])


def _by_image(rows: Iterator[Annotation]) -> dict[str, list[Revision]]:
    found: dict[str, list[Revision]] = defaultdict(list)
    for row in rows:
        found[row.image_digest].append(Revision.from_row(row))
    return found
