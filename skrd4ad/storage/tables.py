"""The tables of the workspace database. Every change here needs a migration (see ``migrations/env.py``)."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    and_,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

AT_ONCE = 500
"""Rows that one query names, and one transaction writes."""
T = TypeVar("T")


def utc_now() -> datetime:
    """Now, with its time zone (UTC)."""
    return datetime.now(UTC)


def parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Values in pieces that one statement may name; databases limit them."""
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone, so it is taken off on the way in and put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Moment in UTC, without its zone for SQLite; a ValueError without a zone, as nobody can tell when it was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give a moment with one, such as datetime.now(UTC).")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Moment with its zone, UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Common metadata; constraints have names so that later migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (read by SQLAlchemy, never changed)
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
    }


class Job(Base):
    """A piece of work in the background: its request, its latest progress and how it ended."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "created_at"), Index(None, "created_at"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    title: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    """queued, running, done, failed, cancelled or interrupted."""
    wish: Mapped[str] = mapped_column(String(16))
    """run, pause or cancel. The owner reads it, so any process may set it."""
    request: Mapped[dict[str, Any]]
    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    details: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(255))
    """Process that runs it, ``host:pid:start time``; of a waiting job the only one that may, empty for any worker."""
    lane: Mapped[str] = mapped_column(String(16), server_default="long")
    """Its queue: of each lane one job runs at a time."""
    who: Mapped[str] = mapped_column(Text, server_default=text("''"))
    """User who asked for it; empty where that was not recorded."""
    role: Mapped[str] = mapped_column(String(16), server_default="admin")
    """What they might do when they asked for it: it is done with this role."""
    again: Mapped[bool] = mapped_column(server_default=false())
    """Whether it goes on with what an earlier job began."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime]


class JobWorker(Base):
    """The process that runs the jobs of a lane; ``supervisor`` is the app that it ends with, empty for none."""

    __tablename__ = "job_workers"
    lane: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    supervisor: Mapped[str] = mapped_column(String(255))
    heartbeat_at: Mapped[datetime]


class JobPoint(Base):
    """One point of a job's live curve; points are only ever appended."""

    __tablename__ = "job_points"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    step: Mapped[int]
    values: Mapped[dict[str, Any]]


class HistoryEntry(Base):
    """Who did what to which model or labels, and when. Rows are only ever added; see ``storage.history``.

    All values that the hash covers are text, so that a row is hashed as it is stored, whatever the database.
    """

    __tablename__ = "history"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1, 2, 3, … without a gap."""
    at: Mapped[str] = mapped_column(String(32))
    """ISO 8601 in UTC with microseconds, so that text order is time order."""
    who: Mapped[str] = mapped_column(Text)
    what: Mapped[str] = mapped_column(String(32))
    dataset: Mapped[str] = mapped_column(Text)
    class_name: Mapped[str] = mapped_column(Text)
    model_folder: Mapped[str] = mapped_column(Text)
    """Empty where it is not about a model."""
    model_digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of its ``model.safetensors``; empty where it is not known."""
    details: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the canonical JSON of all other columns."""


class StoredImage(Base):
    """An image that was kept in the workspace, by its content."""

    __tablename__ = "images"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of its file, in hexadecimal."""
    name: Mapped[str] = mapped_column(Text)
    file: Mapped[str] = mapped_column(Text)
    """Path below the workspace folder; an absolute one for an image that stays in its data set."""
    added_at: Mapped[datetime]
    width: Mapped[int | None]
    height: Mapped[int | None]
    """Pixels as the image is shown, after the camera's rotation; None until it was read."""
    revision: Mapped[int] = mapped_column(default=0, server_default="0")
    """Number of its latest annotation, 0 for none. Whoever adds one must know it: see ``annotations.add_revision``."""
    note: Mapped[str | None] = mapped_column(Text)
    """Why no model can look at it, in words for people; None while nothing is known to be wrong with it."""


class StoredPrediction(Base):
    """What a model said of an image, the latest time it was asked."""

    __tablename__ = "predictions"
    __table_args__ = (UniqueConstraint("image_digest", "model_digest"), Index(None, "model_digest", "made_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    image_digest: Mapped[str] = mapped_column(ForeignKey("images.digest"))
    model_digest: Mapped[str] = mapped_column(String(64))
    model_folder: Mapped[str] = mapped_column(Text)
    calibration: Mapped[int | None]
    """Version the verdict was made with; None for a limit by hand."""
    threshold: Mapped[float | None]
    score: Mapped[float]
    verdict: Mapped[str | None] = mapped_column(String(16))
    refusal: Mapped[str | None] = mapped_column(Text)
    made_at: Mapped[datetime]
    review_since: Mapped[datetime | None] = mapped_column(index=True)
    """When a person was asked to decide; None when nobody is."""

    @classmethod
    def by_model(cls, model_digest: str) -> ColumnElement[bool]:
        """Joins to an image what a model said of it."""
        return and_(cls.image_digest == StoredImage.digest, cls.model_digest == model_digest)


class ClassImage(Base):
    """An image among those of a class that people label."""

    __tablename__ = "class_images"
    __table_args__ = (Index(None, "image_digest"),)

    dataset: Mapped[str] = mapped_column(Text, primary_key=True)
    class_name: Mapped[str] = mapped_column(Text, primary_key=True)
    image_digest: Mapped[str] = mapped_column(ForeignKey("images.digest"), primary_key=True)
    origin: Mapped[str] = mapped_column(String(16))
    split: Mapped[str | None] = mapped_column(String(16))
    known_type: Mapped[str | None] = mapped_column(Text)
    """Label that the data set gives it: ``good`` or the name of the defect; None where it says nothing."""
    added_at: Mapped[datetime]

    @classmethod
    def of_class(cls, dataset: str, class_name: str) -> ColumnElement[bool]:
        """Whether a row is of a class."""
        return and_(cls.dataset == dataset, cls.class_name == class_name)


class Annotation(Base):
    """What a person decided on an image. Rows are only ever added: the highest revision is what holds."""

    __tablename__ = "annotations"
    __table_args__ = (UniqueConstraint("image_digest", "revision"), Index(None, "reviewer"), Index(None, "defect_type"))

    id: Mapped[int] = mapped_column(primary_key=True)
    image_digest: Mapped[str] = mapped_column(ForeignKey("images.digest"))
    revision: Mapped[int]
    label: Mapped[str] = mapped_column(String(16))
    """good, defect, unsure, or none when a decision was taken back."""
    defect_type: Mapped[str | None] = mapped_column(Text)
    mask_file: Mapped[str | None] = mapped_column(Text)
    """PNG below the workspace folder, 255 where the part is defective, at the size of the image; None for no mask."""
    reviewer: Mapped[str] = mapped_column(Text)
    comment: Mapped[str] = mapped_column(Text, default="")
    undoes: Mapped[int | None]
    made_at: Mapped[datetime]

    @classmethod
    def latest(cls) -> ColumnElement[bool]:
        """Joins to an image the annotation that holds."""
        return and_(cls.image_digest == StoredImage.digest, cls.revision == StoredImage.revision)


class WatchedFolder(Base):
    """A folder whose new images are put into the queue of a model."""

    __tablename__ = "watched_folders"
    __table_args__ = (UniqueConstraint("folder", "model_folder"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    folder: Mapped[str] = mapped_column(Text)
    model_folder: Mapped[str] = mapped_column(Text)
    active: Mapped[bool]
    owner: Mapped[str | None] = mapped_column(String(255))
    """Process that watches it, ``host:pid:start time``."""
    heartbeat_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    note: Mapped[str | None] = mapped_column(Text)


class WatchedFile(Base):
    """A file that was seen in a watched folder. As long as its size and time of change stay, it is not looked at again.

    Neither image nor note: it was there when the watch began, and was to be left out.
    """

    __tablename__ = "watched_files"
    __table_args__ = (UniqueConstraint("watch_id", "name"), Index(None, "watch_id", "taken_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    watch_id: Mapped[int] = mapped_column(ForeignKey("watched_folders.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[int] = mapped_column(BigInteger)
    """Nanoseconds."""
    image_digest: Mapped[str | None] = mapped_column(ForeignKey("images.digest"))
    note: Mapped[str | None] = mapped_column(Text)
    taken_at: Mapped[datetime]
