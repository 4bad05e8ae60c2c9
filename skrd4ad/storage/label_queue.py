"""Queries on the images of a class that people label: a page of the queue, its counts, one image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, literal, or_, select
from sqlalchemy.orm import Session, aliased

from skrd4ad.storage.annotations import Label, Revision
from skrd4ad.storage.predictions import score_that_holds
from skrd4ad.storage.tables import Annotation, ClassImage, StoredImage, StoredPrediction, utc_now
from skrd4ad.types import GOOD, Verdict

Order = Literal["closest", "highest", "newest", "random"]
Origin = Literal["inspect", "dataset", "watch", "import"]
_UNDECIDED = Revision(label="none")


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """Which images of a class are wanted; an empty field wants all."""

    dataset: str
    class_name: str
    model_digest: str
    reject: float | None = None
    """Its limit; without one there are no verdicts and no closeness."""
    review: float | None = None
    calibrations: tuple[int | None, ...] | None = None
    """Versions whose scores hold, None for a limit by hand; a score under another one counts as none. For all: None."""
    verdicts: tuple[Verdict, ...] = ()
    labels: tuple[Label, ...] = ()
    """``none`` is for images that nobody has decided on."""
    defect_types: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    only_sent: bool = False
    """Only images that a person was asked to decide on."""


@dataclass(frozen=True, kw_only=True)
class QueueItem:
    """An image of a class, what the model says of it, and what people decided."""

    digest: str
    name: str
    file: str
    """Path below the workspace folder, or an absolute one."""
    width: int | None
    height: int | None
    origin: Origin
    split: str | None
    known_type: str | None
    added_at: datetime
    score: float | None
    """None when the model has not seen it, or not with the pixels that count now."""
    refusal: str | None
    latest: Revision = _UNDECIDED
    """What holds; number 0 and the label ``none`` where nobody has decided."""
    note: str | None = None
    """Why no model can look at it; None while nothing is known to be wrong with it."""

    @property
    def label(self) -> Label:
        """Label that holds."""
        return self.latest.label

    @property
    def defect_type(self) -> str | None:
        """Type of defect that holds."""
        return self.latest.defect_type

    @property
    def mask_file(self) -> str | None:
        """Mask that holds: PNG below the workspace folder."""
        return self.latest.mask_file


@dataclass(frozen=True, kw_only=True)
class QueueCounts:
    """How many images of a class there are, under a filter."""

    total: int
    labels: Mapping[Label, int]
    masks: int
    unscored: int
    """Images the model has not seen, those that cannot be read among them."""
    unreadable: int = 0


def save_class_image(
    session: Session,
    *,
    digest: str,
    dataset: str,
    class_name: str,
    origin: Origin,
    split: str | None = None,
    known_type: str | None = None,
) -> bool:
    """Put a stored image among those of a class; False when it is there already, and then nothing changes."""
    if session.get(ClassImage, (dataset, class_name, digest)) is not None:
        return False
    session.add(
        ClassImage(
            dataset=dataset,
            class_name=class_name,
            image_digest=digest,
            origin=origin,
            split=split,
            known_type=known_type,
            added_at=utc_now(),
        )
    )
    session.flush()
    return True


def queue_page(
    session: Session, wanted: QueueFilter, *, order: Order = "closest", limit: int = 50, offset: int = 0
) -> list[QueueItem]:
    """Images under a filter.

    Order: ``closest`` to the limit (without one: highest score), ``highest`` score, ``newest`` first, or ``random``,
    which is the same for everybody. Images without a score come last by the first two.
    """
    query = _rows(wanted).order_by(*_order(wanted, order)).limit(limit).offset(offset)
    return [_item(row) for row in session.execute(query)]


def queue_digests(session: Session, wanted: QueueFilter, *, order: Order = "closest") -> list[str]:
    """Digests of all images under a filter, in order: for the place of one image among them, and for bulk work."""
    query = _rows(wanted).with_only_columns(StoredImage.digest).order_by(*_order(wanted, order))
    return list(session.scalars(query))


def queue_item(session: Session, wanted: QueueFilter, digest: str) -> QueueItem | None:
    """One image of the class, whether or not the rest of the filter lets it through."""
    return next(iter(queue_items(session, wanted, [digest])), None)


def queue_items(session: Session, wanted: QueueFilter, digests: Sequence[str]) -> list[QueueItem]:
    """Images of the class in the order of their digests, whether or not the rest of the filter lets them through."""
    whole_class = replace(wanted, verdicts=(), labels=(), defect_types=(), reviewers=(), origins=(), only_sent=False)
    rows = session.execute(_rows(whole_class).where(StoredImage.digest.in_(digests)))
    found = {item.digest: item for item in map(_item, rows)}
    return [found[digest] for digest in digests if digest in found]


def queue_counts(session: Session, wanted: QueueFilter) -> QueueCounts:
    """Counts under a filter, in one pass."""
    unscored = StoredPrediction.id.is_(None)
    rows = _rows(wanted).with_only_columns(
        Annotation.label,
        func.count().label("n"),
        func.count(Annotation.mask_file).label("masks"),
        func.count(case((unscored, 1))).label("unscored"),
        func.count(case((and_(unscored, StoredImage.note.is_not(None)), 1))).label("unreadable"),
    )
    found = list(session.execute(rows.group_by(Annotation.label)))
    labels: Counter[Label] = Counter()
    for row in found:  # an image without an annotation counts as one whose decision was taken back
        labels[row.label or "none"] += row.n
    return QueueCounts(
        total=sum(row.n for row in found),
        labels=labels,
        masks=sum(row.masks for row in found if row.label == "defect"),
        unscored=sum(row.unscored for row in found),
        unreadable=sum(row.unreadable for row in found),
    )


def names_of_class(session: Session, *, dataset: str, class_name: str) -> tuple[list[str], list[str]]:
    """Names to choose from in a class: defect types and reviewers.

    The types are those in use, the one that was used first first, so that a type keeps its place when others are
    added; then those that only the data set knows. The reviewers are those whose decisions hold, by name.
    """
    of_class, known = ClassImage.of_class(dataset, class_name), ClassImage.known_type
    latest = (
        select(Annotation.defect_type, Annotation.reviewer)
        .join(StoredImage, Annotation.latest())
        .join(ClassImage, ClassImage.image_digest == StoredImage.digest)
        .where(of_class)
        .distinct()
    )
    rows = list(session.execute(latest))
    used = (
        select(Annotation.defect_type)
        .where(Annotation.defect_type.in_({row[0] for row in rows if row[0]}))
        .group_by(Annotation.defect_type)
        .order_by(func.min(Annotation.id))
    )
    of_data_set = select(known).where(of_class, known.is_not(None), known != GOOD).distinct().order_by(known)
    types = dict.fromkeys([*session.scalars(used), *session.scalars(of_data_set)])
    return [name for name in types if name is not None], sorted({row[1] for row in rows if row[1]})


def _rows(wanted: QueueFilter) -> "Select[ClassImage, StoredImage, StoredPrediction, Annotation]":
    query = (
        select(ClassImage, StoredImage, StoredPrediction, Annotation)
        .join(StoredImage, StoredImage.digest == ClassImage.image_digest)
        .outerjoin(StoredPrediction, score_that_holds(wanted.model_digest, wanted.calibrations))
        .outerjoin(Annotation, Annotation.latest())
        .where(ClassImage.of_class(wanted.dataset, wanted.class_name))
    )
    if wanted.verdicts:
        query = query.where(_has_verdict(wanted))
    if wanted.labels:
        query = query.where(func.coalesce(Annotation.label, "none").in_(wanted.labels))
    if wanted.defect_types:
        query = query.where(Annotation.defect_type.in_(wanted.defect_types))
    if wanted.reviewers:
        query = query.where(Annotation.reviewer.in_(wanted.reviewers))
    if wanted.origins:
        query = query.where(ClassImage.origin.in_(wanted.origins))
    if wanted.only_sent:  # by a score that may not hold any more
        asked = aliased(StoredPrediction)
        by_model = and_(asked.image_digest == StoredImage.digest, asked.model_digest == wanted.model_digest)
        query = query.where(exists().where(by_model, asked.review_since.is_not(None)))
    return query


def _has_verdict(wanted: QueueFilter) -> ColumnElement[bool]:
    """The rule of ``calibration.verdict_of``, in SQL."""
    if wanted.reject is None:
        return literal(False)
    score, reject = StoredPrediction.score, wanted.reject
    lower = reject if wanted.review is None else wanted.review
    ranges: Mapping[Verdict, ColumnElement[bool]] = {
        "OK": score <= lower,
        "REVIEW": and_(score > lower, score <= reject),
        "NG": score > reject,
    }
    return or_(*(ranges[verdict] for verdict in wanted.verdicts))


def _order(wanted: QueueFilter, order: Order) -> tuple[Any, ...]:
    score, digest = StoredPrediction.score, StoredImage.digest
    if order == "newest":
        return (ClassImage.added_at.desc(), digest)
    if order == "random":  # a digest has nothing to do with what the image shows
        return (func.substr(digest, 33), digest)
    if order == "closest" and wanted.reject is not None:
        return (score.is_(None), func.abs(score - wanted.reject), digest)
    return (score.is_(None), score.desc(), digest)


def _item(row: Sequence[Any]) -> QueueItem:
    membership, image, said, decided = row
    return QueueItem(
        digest=image.digest,
        name=image.name,
        file=image.file,
        width=image.width,
        height=image.height,
        origin=membership.origin,
        split=membership.split,
        known_type=membership.known_type,
        added_at=membership.added_at,
        score=None if said is None else said.score,
        refusal=None if said is None else said.refusal,
        latest=_UNDECIDED if decided is None else Revision.from_row(decided),
        note=image.note,
    )
