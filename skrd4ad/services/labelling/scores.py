"""What a model says of labelled images: scores in the database, for every page; maps on the disk, for pixel figures."""

import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ImageError, StorageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services.inspection.inspect import Inspection, inspect_images
from skrd4ad.services.labelling.files import checked_path
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.labelled_images import LabelledImage, Said, save_predictions
from skrd4ad.types import Progress
from skrd4ad.visualize import resize_map

AT_ONCE = 32
"""Images whose scores are stored together."""
MAP_BYTES = 512 * 2**20
"""All kept maps together; the ones used least lately go first."""


def score_labelled(
    info: ModelInfo,
    images: Sequence[LabelledImage],
    *,
    weights: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> dict[str, str]:
    """Let a model look at labelled images, and keep what it says of each: its score in the database, its map on disk.

    Args:
        info: the model; its current calibration says which pixels count.
        images: labelled images.
        weights: weights file of the teacher to use instead of the usual places.
        progress: called with images done and total.
        check: called before each image; may raise to stop.

    Returns:
        Why an image cannot be scored, by its digest; the others were.

    Raises:
        CheckpointError: the model folder is damaged.
        WeightsError: the teacher's weights cannot be found, fetched or trusted.
        StorageError: the database or the workspace cannot be written.
    """
    if not images:
        return {}
    predictor = Predictor.load(info.folder, weights=weights)
    problems: dict[str, str] = {}
    said: dict[str, Said] = {}
    for done, seen in enumerate(inspect_images(predictor, _sources(images), check=check), start=1):
        if seen.error is not None:
            problems[seen.name] = seen.error
        elif seen.score is None or not math.isfinite(seen.score):
            problems[seen.name] = (
                f"{images[done - 1].name}: the model gives no number for this image. Train the model again."
            )
        else:
            said[seen.name] = _said(seen)
            _keep_map(info, seen)
        if len(said) >= AT_ONCE:
            _store(info, said)
            said = {}
        if progress is not None:
            progress(done, len(images))
    _store(info, said)
    _limit_maps()
    return problems


def kept_map(info: ModelInfo, digest: str) -> NDArray[np.float16] | None:
    """The map a model made of an image, (S, S) at its image size, raw scores; None when it is not kept.

    Half precision is enough to rank pixels: it moves a score by less than one part in a thousand.
    """
    path = _map_file(info, digest)
    try:
        found = np.load(path, allow_pickle=False)
        os.utime(path)
    except (OSError, ValueError, EOFError):  # not there, or cut short: it is made again
        return None
    size = info.model.image_size
    return found if isinstance(found, np.ndarray) and (found.shape, found.dtype) == ((size, size), np.float16) else None


def has_map(info: ModelInfo, digest: str) -> bool:
    """Whether a map of an image is kept."""
    return _map_file(info, digest).is_file()


def _sources(images: Iterable[LabelledImage]) -> Iterator[tuple[str, Path | ImageError]]:
    for image in images:
        try:
            yield image.digest, checked_path(image.file, digest=image.digest, name=image.name)
        except ImageError as error:
            yield image.digest, error


def _said(seen: Inspection) -> Said:
    assert seen.score is not None, "an image that could be read has a score"
    return Said(
        score=seen.score,
        verdict=seen.verdict,
        threshold=seen.threshold,
        calibration=seen.calibration,
        refusal=seen.refusal,
    )


def _store(info: ModelInfo, said: dict[str, Said]) -> None:
    if said:
        with workspace_database().write() as session:
            save_predictions(session, said, model_digest=info.digest, model_folder=info.folder)


def _keep_map(info: ModelInfo, seen: Inspection) -> None:
    assert seen.prediction is not None, "an image that could be read has a map"
    size = info.model.image_size
    plane = seen.prediction.anomaly_map
    if plane.shape != (size, size):  # seen in tiles
        plane = resize_map(plane, height=size, width=size)
    path = _map_file(info, seen.name)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, plane.astype(np.float16), allow_pickle=False)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"Maps cannot be kept in {path.parent}: {error.strerror or error}. Free some space, or set SKRD4AD_HOME to "
            "another folder."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _map_file(info: ModelInfo, digest: str) -> Path:
    return _maps() / f"{info.digest[:16]}-{info.teacher_digest}-{info.model.image_size}" / f"{digest}.npy"


def _maps() -> Path:
    return workspace() / "cache" / "maps"


def _limit_maps() -> None:
    """Remove the maps that were used least lately until the rest is within bounds."""
    kept = []
    for file in _maps().glob("*/*.npy"):
        with suppress(OSError):  # another process may tidy up as well
            state = file.stat()
            kept.append((state.st_mtime, state.st_size, file))
    total = sum(size for _, size, _ in kept)
    for _, size, file in sorted(kept):
        if total <= MAP_BYTES:
            return
        with suppress(OSError):
            file.unlink()
        total -= size
