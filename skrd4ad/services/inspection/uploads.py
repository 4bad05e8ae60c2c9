"""Images that were dropped into the app to be inspected: kept by their content in the workspace until they are deleted.

``inspected/images`` holds the files, named by their SHA-256; ``inspected`` a JSON file for each batch, named by what is
in it, so that the same files dropped again are the same batch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from skrd4ad import documents
from skrd4ad.data.images.read import IMAGE_SUFFIXES
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, DataError, ImageError, StorageError
from skrd4ad.files import locked, new_file, write_json
from skrd4ad.model_folder.calibration import this_moment
from skrd4ad.paths import workspace
from skrd4ad.services.access import acting, needs
from skrd4ad.task import QUIET, Task

FORMAT = 1
MOST_BATCHES = 50
"""The oldest goes when another one comes."""


@dataclass(frozen=True, kw_only=True)
class UploadedImage:
    """An image of a batch."""

    name: str
    """As it was called where it came from, with its folders."""
    digest: str
    """SHA-256 of the file; empty where it could not be had."""
    problem: str = ""
    """Why it could not be had, such as a name in a ZIP that leads out of it."""

    @property
    def source(self) -> Path | ImageError:
        """Where it is kept, or why it is not."""
        return ImageError(self.problem) if self.problem else self.path

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return _images() / f"{self.digest}{_suffix(self.name)}"


@dataclass(frozen=True, kw_only=True)
class UploadedBatch:
    """Images that were dropped together."""

    key: str
    kept_at: str
    """ISO 8601, UTC."""
    who: str
    images: tuple[UploadedImage, ...] = field(default=())


@needs("inspector", "keep what was inspected")
def keep_batch(files: Sequence[tuple[str, bytes | ImageError]], task: Task = QUIET) -> UploadedBatch:
    """Keep files, each with its name, as one batch; the newest one of all.

    Raises:
        DataError: there are none.
        StorageError: they cannot be written.
    """
    if not files:
        raise DataError("There are no images to keep. Choose at least one.")
    folder = _folder()
    images = []
    try:
        with locked(folder):
            for done, (name, content) in enumerate(files, start=1):
                images.append(_keep(name, content))
                task.report(done, len(files))
            key = content_digest(*(f"{image.digest} {image.name}\n" for image in images))[:16]
            batch = UploadedBatch(key=key, kept_at=this_moment(), who=acting().name or "", images=tuple(images))
            write_json(_file(key), batch, format=FORMAT)
            for old in recent_batches()[MOST_BATCHES:]:
                _remove(old)
    except CheckpointError as error:
        raise StorageError(f"The images cannot be kept: {error}") from error
    return batch


def recent_batches() -> list[UploadedBatch]:
    """All batches, the newest first; damaged ones are left out."""
    found = [batch for path in _folder().glob("*.json") if (batch := read_batch(path.stem)) is not None]
    return sorted(found, key=lambda batch: batch.kept_at, reverse=True)


def read_batch(key: str) -> UploadedBatch | None:
    """A batch by its key, which may come from anywhere; None when there is none, or when it is damaged."""
    if not re.fullmatch(r"[0-9a-f]{16}", key) or not _file(key).is_file():
        return None
    try:
        batch = documents.read(_file(key), UploadedBatch, format=FORMAT)
    except (CheckpointError, OSError):
        return None
    fine = batch.key == key and all(
        re.fullmatch(r"[0-9a-f]{64}", image.digest) or image.problem for image in batch.images
    )
    return batch if fine and documents.is_moment(batch.kept_at) else None


@needs("inspector", "delete what was inspected")
def delete_batch(key: str) -> None:
    """Delete a batch, and those of its images that no other batch holds. What was sent to review is kept elsewhere.

    Raises:
        StorageError: it cannot be deleted.
    """
    batch = read_batch(key)
    if batch is not None:
        try:
            with locked(_folder()):
                _remove(batch)
        except (CheckpointError, OSError) as error:
            raise StorageError(f"The images cannot be deleted: {error}") from error


def _keep(name: str, content: bytes | ImageError) -> UploadedImage:
    if isinstance(content, ImageError):
        return UploadedImage(name=name, digest="", problem=str(content))
    image = UploadedImage(name=name, digest=content_digest(content))
    if not image.path.is_file():
        with new_file(image.path, durable=False) as temporary:
            temporary.write_bytes(content)
    return image


def _remove(batch: UploadedBatch) -> None:
    _file(batch.key).unlink(missing_ok=True)
    still = {image.path for other in recent_batches() for image in other.images}
    for path in {image.path for image in batch.images if image.digest} - still:
        path.unlink(missing_ok=True)


def _file(key: str) -> Path:
    return _folder() / f"{key}.json"


def _folder() -> Path:
    _images()
    return workspace() / "inspected"


def _images() -> Path:
    folder = workspace() / "inspected" / "images"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The folder {folder} cannot be made: {error.strerror}. Set SKRD4AD_HOME to a folder that can be written."
        ) from error
    return folder


def _suffix(name: str) -> str:
    suffix = PurePath(name).suffix.lower()
    return suffix if suffix in IMAGE_SUFFIXES else ""
