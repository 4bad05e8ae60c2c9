"""Training as a user asks for it: check the data, train, evaluate, record what came out; here or in the background."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skrd4ad import documents
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.errors import ConfigError, SkrdError, TrainingCancelled
from skrd4ad.inference.evaluate import unseen_test_images
from skrd4ad.model_folder.folder import read_info, save_metrics
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.devices import DeviceName
from skrd4ad.paths import checkpoints
from skrd4ad.services.datasets import class_of
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.history import record
from skrd4ad.services.improve.agreement import read_book
from skrd4ad.services.improve.retrain_data import empty_class, start_of
from skrd4ad.services.jobs.queue import JobHandle, queue
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.storage.tables import utc_now
from skrd4ad.training.train import Observer, TrainProgress, train
from skrd4ad.types import DatasetClass

KIND = "train"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """One class to train on, and how. Its JSON form is all that is needed to ask for the same again."""

    source: str
    """``elpv``, ``synthetic`` or a folder; empty to learn from labels alone."""
    class_name: str
    model: ModelConfig
    train: TrainConfig
    layout: str = "auto"
    weights: str | None = None
    """Weights file of the teacher, instead of the usual places."""
    evaluate: bool = True
    """Evaluate on the test set afterwards, when there is one."""
    start_from: str | None = None
    """Model folder whose student the training goes on from; None begins anew."""
    confirmed: str | None = None
    """Labels to learn from besides, as ``retraining_data.keep_confirmed`` named them; only with ``start_from``."""


def train_class(
    data: DatasetClass,
    request: TrainingRequest,
    *,
    out: Path,
    resume: bool = False,
    observer: Observer | None = None,
    job_id: str | None = None,
    device: DeviceName = "auto",
) -> ModelInfo:
    """Train on one class, evaluate on its test set, and record in the history how it ended.

    Args:
        data: the class that the request names.
        request: how to train.
        out: folder of the model folders.
        resume: go on with the newest unfinished training of the same class, data and settings, if there is one.
        observer: is told of the progress, and may stop the training.
        job_id: background job it belongs to.
        device: where it is trained.

    Raises:
        SkrdError: what the training or the evaluation could not do; it is recorded as failed. A model that was trained
            before its evaluation failed stays, and is named in the record.
    """
    observer = observer or Observer()
    asked = _asked(request, job_id=job_id)
    info, start, whole = None, None, data
    try:
        if request.start_from is not None:
            data, start = start_of(
                data, folder=Path(request.start_from), confirmed=request.confirmed, config=request.train
            )
        info = train(
            data,
            model=request.model,
            config=request.train,
            out=out,
            source=request.source or _source_of(request),
            weights=_weights(request),
            resume=resume,
            start=start,
            observer=observer,
            device=device,
        )
        if request.evaluate and not why_not_measured(info, whole) and whole.test:
            info = _evaluate(whole, request, info, observer)
    except BaseException as error:
        cancelled = isinstance(error, TrainingCancelled | KeyboardInterrupt)
        reason = str(error) if isinstance(error, SkrdError) else f"{type(error).__name__}: {error}"
        record(
            "training cancelled" if cancelled else "training failed",
            info,
            dataset=whole.dataset,
            class_name=whole.name,
            details={**asked, "error": reason},
        )
        raise
    record("trained" if request.start_from is None else "retrained", info, details={**asked, "metrics": info.metrics})
    return info


def submit_training(request: TrainingRequest, *, resume: bool = False) -> str:
    """Put a training at the end of the background queue; returns the id of its job.

    Raises:
        StorageError: the job cannot be stored.
    """

    def work(handle: JobHandle) -> Mapping[str, Any]:
        data = _data_of(request)
        info = train_class(
            data, request, out=checkpoints(), resume=resume, observer=_observer_of(handle), job_id=handle.id
        )
        if request.confirmed is not None:
            _show_labelled_images(info, request, _observer_of(handle))
        why_not = why_not_measured(info, data) if request.evaluate else ""
        return {"folder": str(info.folder), "metrics": info.metrics, "not_measured": why_not}

    length = f"{request.train.epochs} epochs"
    if request.train.most_steps is not None:
        length += f", at most {request.train.most_steps} steps"
    title = f"{request.class_name} · {request.model.net} · {length}"
    if request.start_from is not None:
        title += f" · goes on from {Path(request.start_from).name}"
    return queue().submit(kind=KIND, title=title, request=documents.to_plain(request), work=work)


def resume_training(job_id: str) -> str:
    """Submit the request of a job that was interrupted, cancelled or failed again, to go on from its last epoch.

    Raises:
        ConfigError: the job was no training, or has not ended.
        DocumentError: its request is damaged.
        StorageError: there is no such job.
    """
    job = queue().get(job_id)
    if job.kind != KIND or job.active:
        raise ConfigError(
            f"The job {job.title!r} ({job.kind}, {job.state}) cannot be resumed; only a training that ended."
        )
    return submit_training(
        documents.decode(job.request, TrainingRequest, what=f"The request of {job.title!r}"), resume=True
    )


def _observer_of(handle: JobHandle) -> Observer:
    return Observer(
        report=lambda progress: handle.report(asdict(progress)),
        check=handle.check,
        epoch=lambda entry: handle.point(
            entry["epoch"], {name: value for name, value in entry.items() if name != "epoch" and value is not None}
        ),
    )


def _weights(request: TrainingRequest) -> Path | None:
    return None if request.weights is None else Path(request.weights)


def _data_of(request: TrainingRequest) -> DatasetClass:
    """The class to train on; without samples when labels alone are learnt from."""
    if not request.source and request.confirmed is not None and request.start_from is not None:
        return empty_class(read_info(Path(request.start_from)))
    return class_of(request.source, layout=request.layout, class_name=request.class_name)


def _source_of(request: TrainingRequest) -> str:
    """Where the data of the model lies that a training goes on from: it may be brought back there."""
    return "" if request.start_from is None else str(read_info(Path(request.start_from)).data.get("source") or "")


def show_labelled_images(info: ModelInfo, *, weights: Path | None, observer: Observer) -> dict[str, str]:
    """Let a model look at the labelled images of its class, so that it can be compared and its queue is filled.

    Returns:
        Why an image cannot be scored, by its digest.

    Raises:
        CheckpointError: the model folder is damaged.
        StorageError: the database or the workspace cannot be used.
    """
    epochs = 0 if info.train is None else info.train.epochs

    def progress(done: int, total: int) -> None:
        observer.report(TrainProgress(phase="finishing", done=done, total=total, epoch=epochs, epochs=epochs))

    images = [image for image in read_book(info).images.values() if image.score is None]
    return score_labelled(info, images, weights=weights, progress=progress, check=observer.check)


def _show_labelled_images(info: ModelInfo, request: TrainingRequest, observer: Observer) -> None:
    try:
        show_labelled_images(info, weights=_weights(request), observer=observer)
    except SkrdError as error:
        # the model is there: a job that is said to have failed would be repeated from its first epoch
        log.warning("%s has not seen all labelled images: %s", info.folder, error)


def why_not_measured(info: ModelInfo, data: DatasetClass) -> str:
    """Why there is nothing to measure a new model on, although its class has test images; empty otherwise.

    Raises:
        ImageError: an image cannot be read.
    """
    return unseen_test_images(info, data)[1] if data.test else ""


def _evaluate(data: DatasetClass, request: TrainingRequest, info: ModelInfo, observer: Observer) -> ModelInfo:
    epochs = request.train.epochs

    def report(at: Mapping[str, Any]) -> None:
        observer.report(
            TrainProgress(
                phase="finishing",
                done=at["done"],
                total=at["total"],
                epoch=epochs,
                epochs=epochs,
                step=at["words"],
            )
        )

    stored = evaluate_class(
        info.folder,
        data,
        source=request.source or _source_of(request),
        weights=_weights(request),
        save_in_model=False,
        report=report,
        check=observer.check,
    )
    return save_metrics(info.folder, stored.summary.document())


def _asked(request: TrainingRequest, *, job_id: str | None) -> dict[str, Any]:
    """What the history tells of a training that begins now, however it ends."""
    asked = {
        "started_at": utc_now().isoformat(timespec="seconds"),
        "job": job_id,
        "source": request.source,
        "start_from": request.start_from,
        "config": {"model": documents.to_plain(request.model), "train": documents.to_plain(request.train)},
    }
    return {name: value for name, value in asked.items() if value}
