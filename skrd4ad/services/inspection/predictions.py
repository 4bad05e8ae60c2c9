"""What models said of images, kept by model, scoring mask and image content, so that nothing is computed twice.

Scores are in one SQLite file of the workspace's cache, whatever database the workspace has: 5,000 are read in a few
hundredths of a second, and all of it may be deleted. Maps are files of their own, kept only where somebody asks for
them. Both are bounded. Runtimes differ in the last digits, so each has its own scores.
"""

import hashlib
import logging
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skrd4ad.digests import image_digest
from skrd4ad.errors import ImageError, StorageError
from skrd4ad.files import new_file
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import BATCH, Inspection, predict_images
from skrd4ad.inference.scoring import scoring_mask_digest, scoring_mask_of
from skrd4ad.model_folder.info import REFERENCE, ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.regions import ScoringMask
from skrd4ad.task import QUIET, Task
from skrd4ad.types import height_width, size_option
from skrd4ad.visualize import resize_map

FILE = "predictions.sqlite3"
FORMAT = 1
"""Of everything a prediction is computed by: another number makes all that is kept count as unknown."""
AT_ONCE = 32
"""Predictions that are written together."""
MOST_PREDICTIONS = 1_000_000
"""Kept predictions, about 250 MB; the ones written first go first."""
MAP_BYTES = 512 * 2**20
"""All kept maps together; the ones used least lately go first."""
log = logging.getLogger(__name__)
_ASKED_AT_ONCE = 500
"""Parameters of one SQL query."""
_TABLE = """
CREATE TABLE IF NOT EXISTS predictions (
    model TEXT NOT NULL, content TEXT NOT NULL, score REAL NOT NULL, raw_score REAL NOT NULL, view TEXT NOT NULL,
    refusal TEXT, width INTEGER NOT NULL, height INTEGER NOT NULL, UNIQUE (model, content)
)"""


class CachedPrediction(NamedTuple):
    """What a model says of one image, without image and map."""

    content: str
    """SHA-256 of the image file."""
    score: float
    """Under the scoring mask; what limits are compared with."""
    raw_score: float
    view: str
    """How the model saw the image: "resized whole", or such as "tiled 4x3 at 1:1"."""
    refusal: str | None
    """Why a verdict should not be trusted."""
    width: int
    height: int


@dataclass(frozen=True)
class ImageFile:
    """An image to predict."""

    content: str
    name: str
    path: Callable[[], Path]
    """Finds the file when it has to be read; may raise ImageError."""


class PredictionStore:
    """Predictions of one model by one runtime under one scoring mask."""

    def __init__(self, info: ModelInfo, mask: ScoringMask | None = None, *, runtime: str = "torch") -> None:
        """Open the store; nothing is read yet. ``mask`` None stands for the scoring mask of the current calibration."""
        self.info = info
        self.mask = scoring_mask_of(info) if mask is None else mask
        # refusals and tiles depend on the reference
        reference = info.folder / REFERENCE
        parts = (
            *(FORMAT, info.digest, info.teacher_digest, info.model, scoring_mask_digest(self.mask), runtime),
            image_digest(reference) if reference.is_file() else None,
            *([] if info.alignment is None else [repr(info.alignment)]),
        )
        self._key = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]

    def predictions(
        self,
        images: Sequence[ImageFile],
        load: Callable[[], Predictor],
        *,
        keep_maps: bool = False,
        batch: int = BATCH,
        task: Task = QUIET,
    ) -> Iterator[CachedPrediction | ImageError]:
        """Predictions of images in their order, or why an image cannot be read; what is not kept is computed.

        Copies of one image are predicted once; a score that is not a number is given and not kept. ``load`` is called
        only when an image has to be predicted. ``keep_maps`` keeps the maps for :meth:`map_of`, and predicts images
        again whose map is not kept. When ``task`` ends the work, what was computed before is kept.
        """
        contents = [image.content for image in images]
        found: dict[str, CachedPrediction | ImageError] = dict(self.known(contents))
        if keep_maps:
            found = {content: each for content, each in found.items() if self.has_map(content)}
        missing = {image.content: image for image in images if image.content not in found}
        fresh: Iterator[Inspection] = iter(())
        if missing:
            sources = _sources(missing.values())
            fresh = predict_images(load(), sources, limits=None, mask=self.mask, batch=batch, task=task)
            fresh = self.recorded(fresh, keep_maps=keep_maps)
        for content in contents:
            if content not in found:
                inspection = next(fresh)
                found[content] = _row(inspection) or ImageError(str(inspection.error))
            else:
                task.check()
            yield found[content]
        # ends the writing of what was recorded
        next(fresh, None)

    def recorded(self, inspections: Iterable[Inspection], *, keep_maps: bool = False) -> Iterator[Inspection]:
        """The same inspections, whose predictions are kept as they pass; all of them under this store's mask."""
        waiting: list[CachedPrediction] = []
        try:
            for inspection in inspections:
                row = _row(inspection)
                if row is not None and math.isfinite(row.score):
                    waiting.append(row)
                    if keep_maps:
                        self._keep_map(inspection)
                if len(waiting) >= AT_ONCE:
                    self._write(waiting)
                    waiting = []
                yield inspection
        finally:
            self._write(waiting)
            if keep_maps:
                _limit_maps()

    def known(self, contents: Iterable[str]) -> dict[str, CachedPrediction]:
        """What is kept of images, by content."""
        asked = list(dict.fromkeys(contents))
        found: dict[str, CachedPrediction] = {}
        try:
            with closing(_connect()) as connection:
                for begin in range(0, len(asked), _ASKED_AT_ONCE):
                    part = asked[begin : begin + _ASKED_AT_ONCE]
                    rows = connection.execute(
                        "SELECT content, score, raw_score, view, refusal, width, height FROM predictions "
                        f"WHERE model = ? AND content IN ({', '.join('?' * len(part))})",
                        (self._key, *part),
                    )
                    found |= {row[0]: CachedPrediction(*row) for row in rows}
        except (sqlite3.Error, OSError, StorageError) as error:
            _start_anew(error)
        return found

    def map_of(self, content: str) -> NDArray[np.float16] | None:
        """The map of an image, (H, W) at the model's image size, raw scores; None when it is not kept.

        Half precision is enough to rank pixels: it moves a score by less than one part in a thousand.
        """
        path = self._map_file(content)
        try:
            found = np.load(path, allow_pickle=False)
            os.utime(path)
        except (OSError, ValueError, EOFError):  # not there, or cut short: it is made again
            return None
        expected = (height_width(self.info.model.image_size), np.float16)
        return found if isinstance(found, np.ndarray) and (found.shape, found.dtype) == expected else None

    def has_map(self, content: str) -> bool:
        """Whether the map of an image is kept."""
        return self._map_file(content).is_file()

    def _write(self, rows: Sequence[CachedPrediction]) -> None:
        if not rows:
            return
        try:
            with closing(_connect()) as connection, connection:
                connection.executemany(
                    f"INSERT OR REPLACE INTO predictions VALUES ({', '.join('?' * 8)})",
                    [(self._key, *row) for row in rows],
                )
                newest = "SELECT max(rowid) FROM predictions"
                connection.execute(f"DELETE FROM predictions WHERE rowid <= ({newest}) - ?", (MOST_PREDICTIONS,))
        except (sqlite3.Error, OSError, StorageError) as error:
            _start_anew(error)

    def _keep_map(self, inspection: Inspection) -> None:
        assert inspection.prediction is not None and inspection.content is not None
        plane = resize_map(inspection.prediction.anomaly_map, *height_width(self.info.model.image_size))
        path = self._map_file(inspection.content)
        with (
            new_file(path, durable=False, error=StorageError) as temporary,
            temporary.open("wb") as file,
        ):
            np.save(file, plane.astype(np.float16), allow_pickle=False)

    def _map_file(self, content: str) -> Path:
        model = f"{self.info.digest[:16]}-{self.info.teacher_digest}-{size_option(self.info.model.image_size)}"
        return _maps() / model / f"{content}.npy"


def _row(inspection: Inspection) -> CachedPrediction | None:
    """What is kept of an inspection; None when the image cannot be read."""
    prediction, image = inspection.prediction, inspection.image
    if prediction is None or image is None:
        return None
    assert inspection.score is not None and inspection.content is not None
    height, width = image.shape[:2]
    return CachedPrediction(
        content=inspection.content,
        score=inspection.score,
        raw_score=prediction.score,
        view=prediction.view,
        refusal=prediction.refusal,
        width=width,
        height=height,
    )


def _sources(images: Iterable[ImageFile]) -> Iterator[tuple[str, Path | ImageError]]:
    for image in images:
        try:
            yield image.name, image.path()
        except ImageError as error:
            yield image.name, error


def _connect() -> sqlite3.Connection:
    file = workspace() / "cache" / FILE
    file.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(file, timeout=10)
    # a computer that stops at the wrong moment may damage the file: it is a cache, and then begun anew
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(_TABLE)
    return connection


def _start_anew(error: Exception) -> None:
    """Nobody waits for a cache that fails; a file that is no database goes, whatever else is wrong may pass."""
    log.info("Predictions cannot be kept: %s", error)
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        with suppress(OSError):
            (workspace() / "cache" / FILE).unlink()


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
