"""Scores for the images of a queue: a model looks at those it has not seen, in the background or as they arrive.

A score holds for the calibration it was taken under, and for all versions that count the same pixels. Under a version
that ignores other regions, or counts other sizes, it is as good as none: the image is looked at again.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skrd4ad.errors import ImageError
from skrd4ad.format import fetching_weights
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.inspection.inspect import Inspection, inspect_images
from skrd4ad.services.inspection.verdict import comparable_versions
from skrd4ad.services.jobs.queue import JobHandle, queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.files import checked_path
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.labelled_images import Said, save_predictions
from skrd4ad.storage.predictions import ask_for_reviews, count_without_score, forget_notes, save_look, without_score
from skrd4ad.storage.tables import StoredImage
from skrd4ad.types import Progress

KIND = "score"
"""Kind of the background jobs. Their progress holds ``done``, ``total``, ``share``, ``words`` and ``eta_seconds``,
their result ``scored`` and ``unreadable``."""
AT_ONCE = 32
"""Images whose scores are stored together."""
CHUNK = 256
"""Images that are looked up together."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What came of looking at an image."""

    digest: str
    name: str
    said: Said | None
    """What the model says; None when it could not look."""
    size: tuple[int, int] | None
    """Width and height."""
    note: str | None
    """Why it could not look."""

    @property
    def doubtful(self) -> bool:
        """Whether a person should decide."""
        return self.said is not None and (self.said.verdict != "OK" or self.said.refusal is not None)


def submit_scoring(info: ModelInfo, *, again: bool = False) -> str | None:
    """Let a model look at all images of its class that have no score by it, in the background.

    Args:
        info: the model.
        again: also those that could not be read before.

    Returns:
        Id of the job, that of one which runs or waits already if there is one; None when there is nothing to do.

    Raises:
        CheckpointError: the calibration of the model is damaged.
        StorageError: the database cannot be used.
    """
    if again:
        with workspace_database().write() as session:
            forget_notes(session, dataset=info.dataset, class_name=info.class_name)
    if (known := active_scoring(info)) is not None:
        return known.id
    if not count_unscored(info):
        return None
    folder = info.folder
    return queue().submit(
        kind=KIND,
        title=f"{info.class_name} · scores of the queue",
        request={"model": str(folder)},
        work=lambda handle: _score_all(folder, handle),
    )


def active_scoring(info: ModelInfo) -> JobView | None:
    """The job that scores the images of a model's class, or waits to; None when none does.

    Raises:
        StorageError: the database cannot be read.
    """
    mine = {"model": str(info.folder)}
    jobs = [job for job in queue().active() if job.kind == KIND and job.request == mine and job.wish != "cancel"]
    return jobs[0] if jobs else None


def count_unscored(info: ModelInfo) -> int:
    """How many images of a model's class it would look at now; without those that cannot be read.

    Raises:
        CheckpointError: the calibration of the model is damaged.
        StorageError: the database cannot be read.
    """
    with workspace_database().read() as session:
        return count_without_score(session, **_place_of(info))


def score_images(
    predictor: Predictor,
    images: Sequence[StoredImage],
    *,
    to_review: bool = False,
    check: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> list[Look]:
    """Let a model look at stored images and store what it says, or why it could not look.

    Args:
        predictor: the model; its current calibration says which pixels count.
        images: rows of the database.
        to_review: put those that are not OK into the review queue.
        check: called before each image; may raise to stop, and what was looked at before is stored.
        progress: called with images done and total.

    Raises:
        ConfigError, CheckpointError: the model folder is damaged.
        DataError: the smallest region that counts is larger than the map.
        StorageError: the database cannot be written.
    """
    looks: list[Look] = []
    stored = 0
    try:
        found = inspect_images(predictor, _sources(images), check=check)
        for image, inspection in zip(images, found, strict=True):
            looks.append(_look(image, inspection))
            if len(looks) - stored >= AT_ONCE:
                fresh, stored = looks[stored:], len(looks)
                _store(predictor.info, fresh, to_review=to_review)
            if progress is not None:
                progress(len(looks), len(images))
    finally:
        _store(predictor.info, looks[stored:], to_review=to_review)
    return looks


def _score_all(folder: Path, handle: JobHandle) -> Mapping[str, Any]:
    """The work of the job. New images and another calibration may come while it runs, so it looks again until nothing
    is left."""
    predictor = Predictor.load(folder, progress=lambda done, total: _report_weights(handle, done, total))
    begun = time.monotonic()
    done = unreadable = 0
    while True:
        handle.check()
        predictor = up_to_date(predictor)
        with workspace_database().read() as session:
            place = _place_of(predictor.info)
            left = count_without_score(session, **place)
            images = without_score(session, **place, limit=CHUNK)
        if not images:
            return {"scored": done - unreadable, "unreadable": unreadable}

        def progress(more: int, _: int, before: int = done, total: int = done + left) -> None:
            _report(handle, before + more, total, seconds=time.monotonic() - begun)

        looks = score_images(predictor, images, check=handle.check, progress=progress)
        done += len(looks)
        unreadable += sum(look.said is None for look in looks)


def up_to_date(predictor: Predictor) -> Predictor:
    """A model with its calibration as it is now; loaded anew when its folder holds another one.

    Raises:
        CheckpointError: the folder is gone or damaged.
        WeightsError: the teacher's weights cannot be found, fetched or trusted.
    """
    now = read_info(predictor.info.folder)
    return predictor.with_info(now) if now.digest == predictor.info.digest else Predictor.load(now.folder)


def _place_of(info: ModelInfo) -> dict[str, Any]:
    return {
        "dataset": info.dataset,
        "class_name": info.class_name,
        "model_digest": info.digest,
        "calibrations": comparable_versions(info),
    }


def _sources(images: Sequence[StoredImage]) -> Iterator[tuple[str, Path | ImageError]]:
    for image in images:
        try:
            yield image.name, checked_path(image.file, digest=image.digest, name=image.name)
        except ImageError as error:
            yield image.name, error


def _look(image: StoredImage, seen: Inspection) -> Look:
    note = seen.error
    if seen.score is not None and not math.isfinite(seen.score):
        note = f"{image.name}: the model gives no number for this image. Train the model again."
    if note is not None or seen.image is None or seen.score is None:
        return Look(digest=image.digest, name=image.name, said=None, size=None, note=note)
    said = Said(
        score=seen.score,
        verdict=seen.verdict,
        threshold=seen.threshold,
        calibration=seen.calibration,
        refusal=seen.refusal,
    )
    size = (seen.image.shape[1], seen.image.shape[0])
    return Look(digest=image.digest, name=image.name, said=said, size=size, note=None)


def _store(info: ModelInfo, looks: Sequence[Look], *, to_review: bool) -> None:
    if not looks:
        return
    said = {look.digest: look.said for look in looks if look.said is not None}
    with workspace_database().write() as session:
        save_predictions(session, said, model_digest=info.digest, model_folder=info.folder)
        for look in looks:
            save_look(session, look.digest, size=look.size, note=look.note)
        if to_review:
            doubtful = [look.digest for look in looks if look.doubtful]
            ask_for_reviews(session, doubtful, model_digest=info.digest)


def _report_weights(handle: JobHandle, done: int, total: int) -> None:
    handle.report({"share": 0.0, "words": fetching_weights(done, total)})


def _report(handle: JobHandle, done: int, total: int, *, seconds: float) -> None:
    handle.report(
        {
            "done": done,
            "total": total,
            "share": done / total,
            "words": f"scoring image {done} of {total}",
            "eta_seconds": seconds / done * (total - done),
        }
    )
