"""Scores for the images of a queue: a model looks at those it has not seen, in the background or as they arrive.

A score holds for the calibration it was taken under, and for all versions that count the same pixels. Under a version
that ignores other regions, or counts other sizes, it is as good as none: the image is looked at again.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from skrd4ad.errors import ImageError
from skrd4ad.export.runtimes import RuntimeChoice, load_runtime
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import STREAMS, Limits, limits_of
from skrd4ad.inference.scoring import comparable_versions
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import needs
from skrd4ad.services.inspection.predictions import CachedPrediction, ImageFile, PredictionStore
from skrd4ad.services.inspection.runtimes import runtime_now
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.files import checked_path
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.labelled_images import LabelledImage, PredictionRow, save_predictions
from skrd4ad.storage.predictions import ask_for_review, count_images, forget_notes, save_look, without_score
from skrd4ad.storage.tables import StoredImage
from skrd4ad.task import QUIET, Status, Task

AT_ONCE = 32
"""Images whose scores are stored together."""
CHUNK = 256
"""Images that are looked up together."""


@dataclass(frozen=True)
class QueueScore:
    """What a model says of an image of the queue, or why it cannot say anything."""

    digest: str
    said: PredictionRow | None = None
    size: tuple[int, int] | None = None
    """Width and height."""
    note: str | None = None

    @property
    def doubtful(self) -> bool:
        """Whether a person should decide."""
        return self.said is not None and self.said.verdict != "OK"


@dataclass(frozen=True, kw_only=True)
class ScoringRequest:
    """A model folder, whose model is to look at the images of its class that it has not seen."""

    model: str


@needs("inspector", "score the images of the queue")
def submit_scoring(info: ModelInfo, *, again: bool = False) -> str | None:
    """Let a model score the images of its class that it has not seen, in the background; ``again`` unreadable ones too.

    Returns the id of the job, or of one that runs or waits already; None when there is nothing to do.
    """
    if again:
        with workspace_database().write() as session:
            forget_notes(session, dataset=info.dataset, class_name=info.class_name)
    if (known := active_scoring(info)) is not None:
        return known.id
    return SCORING.submit(ScoringRequest(model=str(info.folder))) if count_unscored(info) else None


def active_scoring(info: ModelInfo) -> JobView | None:
    """The job that scores the images of a model's class, or waits to; None when none does."""
    return next((job for job in SCORING.active(model=str(info.folder)) if job.wish != "cancel"), None)


def count_unscored(info: ModelInfo) -> int:
    """How many images of a model's class it would look at now; without those that cannot be read."""
    with workspace_database().read() as session:
        return count_images(session, _unseen(info))


@needs("inspector", "score the images of the queue")
def score_images(
    predictor: Predictor, images: Sequence[StoredImage], *, to_review: bool = False, task: Task = QUIET
) -> list[QueueScore]:
    """Score stored images and store what the model says, or why it cannot say anything.

    The predictor's calibration says which pixels count. ``to_review`` puts images that are not OK into the review
    queue. When ``task`` ends the work, what was scored before is stored.
    """
    store = PredictionStore(predictor.info, runtime=predictor.runtime)

    def save(session: Session, scores: Sequence[QueueScore]) -> None:
        for each in scores:
            save_look(session, each.digest, size=each.size, note=each.note)
        if to_review:
            doubtful = [each.digest for each in scores if each.doubtful]
            ask_for_review(session, doubtful, model_digest=predictor.info.digest)

    return _score(store, images, lambda: predictor, save=save, task=task)


@needs("inspector", "score labelled images")
def score_labelled(
    info: ModelInfo, images: Sequence[LabelledImage], *, weights: Path | None = None, task: Task = QUIET
) -> dict[str, str]:
    """Score labelled images, and keep their maps for pixel figures; returns why an image cannot be scored, by digest.

    When ``task`` ends the work, what was scored before is stored.
    """
    choice = runtime_now(info) if images else RuntimeChoice("torch")
    load = partial(load_runtime, info.folder, choice, streams=STREAMS, weights=weights)
    scores = _score(PredictionStore(info, runtime=choice.text), images, load, keep_maps=True, task=task)
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
    task = job.task
    predictor = task.beside(lambda: open_model(Path(request.model), task=task.part(0, 0)))
    begun = time.monotonic()
    done = unreadable = 0
    while True:  # new images and another calibration may come meanwhile
        task.check()
        predictor = up_to_date(predictor)
        with workspace_database().read() as session:
            unseen = _unseen(predictor.info)
            left = count_images(session, unseen)
            images = list(session.scalars(unseen.limit(CHUNK)))
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
    return predictor.with_info(now) if now.digest == predictor.info.digest else open_model(now.folder)


def open_model(folder: Path, *, task: Task = QUIET) -> Predictor:
    """A model by its usual runtime, for the two threads that score."""
    return load_runtime(folder, runtime_now(read_info(folder)), streams=STREAMS, task=task)


def _unseen(info: ModelInfo) -> Select[StoredImage]:
    return without_score(info.dataset, info.class_name, info.digest, comparable_versions(info))


def _queue_score(
    image: StoredImage | LabelledImage, found: CachedPrediction | ImageError, limits: Limits | None
) -> QueueScore:
    if isinstance(found, ImageError):
        return QueueScore(image.digest, note=str(found))
    if not math.isfinite(found.score):
        note = f"{image.name}: the model gives no number for this image. Train the model again."
        return QueueScore(image.digest, note=note)
    said = PredictionRow(found.score, refusal=found.refusal)
    if limits is not None:
        verdict = limits.verdict(found.score, found.refusal)
        said = replace(said, verdict=verdict, threshold=limits.reject, calibration=limits.calibration)
    return QueueScore(image.digest, said, (found.width, found.height))
