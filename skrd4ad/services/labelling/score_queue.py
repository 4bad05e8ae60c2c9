"""Scores for the images of a queue: a model looks at those it has not seen, in the background or as they arrive.

A score holds for the calibration it was taken under, and for all versions that count the same pixels. Under a version
that ignores other regions, or counts other sizes, it is as good as none: the image is looked at again.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from skrd4ad.errors import ImageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import Limits, limits_of
from skrd4ad.inference.scoring import comparable_versions
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.inspection.predictions import CachedPrediction, ImageFile, PredictionStore
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.files import checked_path
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.labelled_images import LabelledImage, PredictionRow, save_predictions
from skrd4ad.storage.predictions import ask_for_reviews, count_without_score, forget_notes, save_look, without_score
from skrd4ad.storage.tables import StoredImage
from skrd4ad.task import QUIET, Status, Task

AT_ONCE = 32
"""Images whose scores are stored together."""
CHUNK = 256
"""Images that are looked up together."""


@dataclass(frozen=True, kw_only=True)
class QueueScore:
    """What a model says of an image of the queue, or why it cannot say anything."""

    digest: str
    name: str
    said: PredictionRow | None
    """None when the image has no score."""
    size: tuple[int, int] | None
    """Width and height."""
    note: str | None
    """Why it has none."""

    @property
    def doubtful(self) -> bool:
        """Whether a person should decide."""
        return self.said is not None and (self.said.verdict != "OK" or self.said.refusal is not None)


@dataclass(frozen=True, kw_only=True)
class ScoringRequest:
    """A model that is to look at the images of its class that it has not seen."""

    model: str
    """Model folder."""


def submit_scoring(info: ModelInfo, *, again: bool = False) -> str | None:
    """Let a model look at all images of its class that have no score by it, in the background.

    Args:
        info: the model.
        again: also those that could not be read before.

    Returns:
        Id of the job, that of one which runs or waits already if there is one; None when there is nothing to do.
    """
    if again:
        with workspace_database().write() as session:
            forget_notes(session, dataset=info.dataset, class_name=info.class_name)
    if (known := active_scoring(info)) is not None:
        return known.id
    if not count_unscored(info):
        return None
    return SCORING.submit(ScoringRequest(model=str(info.folder)))


def active_scoring(info: ModelInfo) -> JobView | None:
    """The job that scores the images of a model's class, or waits to; None when none does."""
    jobs = [job for job in SCORING.active(model=str(info.folder)) if job.wish != "cancel"]
    return jobs[0] if jobs else None


def count_unscored(info: ModelInfo) -> int:
    """How many images of a model's class it would look at now; without those that cannot be read."""
    with workspace_database().read() as session:
        return count_without_score(session, **_place_of(info))


def score_images(
    predictor: Predictor,
    images: Sequence[StoredImage],
    *,
    to_review: bool = False,
    task: Task = QUIET,
) -> list[QueueScore]:
    """Score stored images and store what the model says, or why it cannot say anything.

    Args:
        predictor: the model; its current calibration says which pixels count.
        images: rows of the database.
        to_review: put those that are not OK into the review queue.
        task: asked before each image; when it ends the work, what was scored before is stored.
    """
    store = PredictionStore(predictor.info, runtime=predictor.runtime)

    def save(session: Session, scores: Sequence[QueueScore]) -> None:
        for each in scores:
            save_look(session, each.digest, size=each.size, note=each.note)
        if to_review:
            doubtful = [each.digest for each in scores if each.doubtful]
            ask_for_reviews(session, doubtful, model_digest=predictor.info.digest)

    return _score(store, images, lambda: predictor, save=save, task=task)


def score_labelled(
    info: ModelInfo,
    images: Sequence[LabelledImage],
    *,
    weights: Path | None = None,
    task: Task = QUIET,
) -> dict[str, str]:
    """Score labelled images, and keep their maps for pixel figures; returns why an image cannot be scored, by digest.

    Args:
        info: the model; its current calibration says which pixels count.
        images: labelled images.
        weights: weights file of the teacher to use instead of the usual places.
        task: asked before each image; when it ends the work, what was scored before is stored.
    """
    load = partial(Predictor.load, info.folder, weights=weights)
    scores = _score(PredictionStore(info), images, load, keep_maps=True, task=task)
    return {each.digest: each.note for each in scores if each.note is not None}


def _score(
    store: PredictionStore,
    images: Sequence[StoredImage | LabelledImage],
    load: Callable[[], Predictor],
    *,
    keep_maps: bool = False,
    save: Callable[[Session, Sequence[QueueScore]], None] = lambda _session, _scores: None,
    task: Task,
) -> list[QueueScore]:
    """Scores in the order of the images, stored ``AT_ONCE`` at a time; ``save`` stores what else there is of them."""
    info, limits = store.info, limits_of(store.info)
    scores: list[QueueScore] = []
    stored = 0

    def write() -> None:
        fresh = scores[stored:]
        if fresh:
            said = {each.digest: each.said for each in fresh if each.said is not None}
            with workspace_database().write() as session:
                save_predictions(session, said, model_digest=info.digest, model_folder=info.folder)
                save(session, fresh)

    files = [
        ImageFile(each.digest, each.name, partial(checked_path, each.file, digest=each.digest, name=each.name))
        for each in images
    ]
    predictions = store.predictions(files, load, keep_maps=keep_maps, task=task)
    try:
        for image, prediction in zip(images, predictions, strict=True):
            scores.append(_queue_score(image, prediction, limits))
            if len(scores) - stored >= AT_ONCE:
                write()
                stored = len(scores)
            task.report(len(scores), len(images))
    finally:
        write()
    return scores


def _run(request: ScoringRequest, job: JobHandle) -> Mapping[str, Any]:
    """The work of the job. New images and another calibration may come while it runs, so it looks again until nothing
    is left."""
    task, folder = job.task, Path(request.model)
    predictor = task.beside(lambda: Predictor.load(folder, task=task.part(0, 0)))
    begun = time.monotonic()
    done = unreadable = 0
    while True:
        task.check()
        predictor = up_to_date(predictor)
        with workspace_database().read() as session:
            place = _place_of(predictor.info)
            left = count_without_score(session, **place)
            images = without_score(session, **place, limit=CHUNK)
        if not images:
            return {"scored": done - unreadable, "unreadable": unreadable}

        def show(at: Status, before: int = done, total: int = done + left) -> None:
            so_far = before + at.done
            eta = (time.monotonic() - begun) / so_far * (total - so_far)
            task.report(so_far, total, f"scoring image {so_far} of {total}", eta_seconds=eta)

        scores = score_images(predictor, images, task=Task(show=show, check=task.check))
        done += len(scores)
        unreadable += sum(each.said is None for each in scores)


def _title(request: ScoringRequest) -> str:
    return f"{read_info(Path(request.model)).class_name} · scores of the queue"


SCORING = JobKind(name="score", lane="short", request=ScoringRequest, title=_title, run=_run)
"""Its result holds ``scored`` and ``unreadable``."""


def up_to_date(predictor: Predictor) -> Predictor:
    """A model with its calibration as it is now; loaded anew when its folder holds another one."""
    now = read_info(predictor.info.folder)
    return predictor.with_info(now) if now.digest == predictor.info.digest else Predictor.load(now.folder)


def _place_of(info: ModelInfo) -> dict[str, Any]:
    return {
        "dataset": info.dataset,
        "class_name": info.class_name,
        "model_digest": info.digest,
        "calibrations": comparable_versions(info),
    }


def _queue_score(
    image: StoredImage | LabelledImage, found: CachedPrediction | ImageError, limits: Limits | None
) -> QueueScore:
    if isinstance(found, ImageError):
        return QueueScore(digest=image.digest, name=image.name, said=None, size=None, note=str(found))
    if not math.isfinite(found.score):
        note = f"{image.name}: the model gives no number for this image. Train the model again."
        return QueueScore(digest=image.digest, name=image.name, said=None, size=None, note=note)
    said = PredictionRow(
        score=found.score,
        verdict=None if limits is None else limits.verdict(found.score),
        threshold=None if limits is None else limits.reject,
        calibration=None if limits is None else limits.calibration,
        refusal=found.refusal,
    )
    return QueueScore(digest=image.digest, name=image.name, said=said, size=(found.width, found.height), note=None)
