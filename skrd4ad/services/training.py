"""Training as a user asks for it: check the data, train, evaluate, record what came out; here or in the background."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from skrd4ad import documents
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.errors import ConfigError, SkrdError, TrainingCancelled
from skrd4ad.inference.evaluate import unseen_test_images
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import read_info, save_metrics
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.unfinished import finish
from skrd4ad.models.installed import require_torch
from skrd4ad.paths import checkpoints
from skrd4ad.services.access import needs
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.evaluation.pictures import draw_pictures
from skrd4ad.services.history import record
from skrd4ad.services.inspection.runtimes import Background, give_graph
from skrd4ad.services.inspection.runtimes import background as shared_background
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.storage.tables import utc_now
from skrd4ad.task import QUIET, Task
from skrd4ad.training.warm_start import WarmStart
from skrd4ad.types import DatasetClass, Levels


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """One class to train on, and how. Its JSON form is all that is needed to ask for the same again."""

    source: str
    """``elpv``, ``synthetic`` or a folder; empty to learn from labels alone."""
    class_name: str
    model: ModelConfig
    train: TrainConfig
    levels: Levels | None = None
    """Black and white of images above 8 bit; None takes them from the training images."""
    layout: str = "auto"
    weights: str | None = None
    """Weights file of the teacher, instead of the usual places."""
    evaluate: bool = True
    """Evaluate on the test set afterwards, when there is one."""
    start_from: str | None = None
    """Model folder whose student the training goes on from; None begins anew."""
    confirmed: str | None = None
    """Labels to learn from besides, as ``retraining_data.keep_confirmed`` named them; only with ``start_from``."""
    insisted: str = ""
    """What the doctor asks and the user insisted on, for the note of the model's data."""


@needs("engineer", "train a model")
def train_class(
    data: DatasetClass,
    request: TrainingRequest,
    *,
    out: Path,
    start: tuple[DatasetClass, WarmStart] | None = None,
    resume: bool = False,
    background: Background | None = None,
    task: Task = QUIET,
    job_id: str | None = None,
    device: str = "auto",
) -> ModelInfo:
    """Train on one class, give the model its converted graph, evaluate it on its test set, and record in the history
    how it ended.

    Args:
        data: the class that the request names.
        request: how to train.
        out: folder of the model folders.
        start: what the training goes on from, and the class as it is learnt from then; None begins anew.
        resume: go on with the newest unfinished training of the same class, data and settings, if there is one.
        background: looks for the fastest runtime beside the evaluation; None to look for it there, when it pays.
        task: see :func:`skrd4ad.training.train.train`.
        job_id: background job it belongs to.
        device: where it is trained.

    Raises:
        SkrdError: what the training or the evaluation could not do; it is recorded as failed. A model that was trained
            before its evaluation failed stays, and is named in the record.
    """
    if (start is None) != (request.start_from is None):
        raise ConfigError(
            f"The training request goes on from {request.start_from}, and its start is {start}; give the start of "
            "skrd4ad.services.improve.retrain.start_for."
        )
    learnt_from, begun = (data, None) if start is None else start
    require_torch("Training")
    from skrd4ad.training.train import train

    if request.insisted:
        note = f"{learnt_from.note.rstrip('. ')}. {request.insisted}" if learnt_from.note else request.insisted
        learnt_from = replace(learnt_from, note=note)
    asked = _asked(request, job_id=job_id)
    info = None
    try:
        info = train(
            learnt_from,
            model=request.model,
            config=request.train,
            out=out,
            source=request.source or _source_of(request),
            weights=_weights(request),
            resume=resume,
            start=begun,
            levels=request.levels,
            complete=False,
            task=task.part(0, 0.8),
            device=device,
        )
        info = _completed(data, learnt_from, request, info, background=background, task=task.part(0.8, 1))
    except BaseException as error:
        cancelled = isinstance(error, TrainingCancelled | KeyboardInterrupt)
        reason = str(error) if isinstance(error, SkrdError) else f"{type(error).__name__}: {error}"
        record(
            "training cancelled" if cancelled else "training failed",
            info,
            dataset=data.dataset,
            class_name=data.name,
            details={**asked, "error": reason},
        )
        raise
    record("trained" if request.start_from is None else "retrained", info, details={**asked, "metrics": info.metrics})
    return info


def run_training(
    request: TrainingRequest,
    job: JobHandle,
    *,
    data: DatasetClass,
    start: tuple[DatasetClass, WarmStart] | None = None,
    resume: bool = False,
) -> ModelInfo:
    """Train on a class as a background job; see :func:`train_class`."""
    return train_class(
        data,
        request,
        out=checkpoints(),
        start=start,
        resume=resume,
        background=shared_background(),
        task=job.task,
        job_id=job.id,
    )


def title_of(request: TrainingRequest) -> str:
    """A training in one line: the class, the teacher and how long."""
    length = f"{request.train.epochs} epochs"
    if request.train.most_steps is not None:
        length += f", at most {request.train.most_steps} steps"
    return f"{request.class_name} · {request.model.net} · {length}"


def result_of(info: ModelInfo, request: TrainingRequest, data: DatasetClass) -> dict[str, Any]:
    """The result of a training's job."""
    why_not = why_not_measured(info, data) if request.evaluate else ""
    return {"folder": str(info.folder), "metrics": info.metrics, "not_measured": why_not}


def _weights(request: TrainingRequest) -> Path | None:
    return None if request.weights is None else Path(request.weights)


def _source_of(request: TrainingRequest) -> str:
    """Where the data of the model lies that a training goes on from: it may be brought back there."""
    return "" if request.start_from is None else str(read_info(Path(request.start_from)).data.get("source") or "")


def why_not_measured(info: ModelInfo, data: DatasetClass) -> str:
    """Why there is nothing to measure a new model on, although its class has test images; empty otherwise.

    Raises:
        ImageError: an image cannot be read.
    """
    return unseen_test_images(info, data)[1] if data.test else ""


def _completed(
    data: DatasetClass,
    learnt_from: DatasetClass,
    request: TrainingRequest,
    info: ModelInfo,
    *,
    background: Background | None,
    task: Task,
) -> ModelInfo:
    """The model with its converted graph and, where there are images to measure it on, its figures.

    The model is listed from here on, also without either when that fails. Only a process that dies leaves it unlisted,
    for a resumed training to go on with.
    """
    try:
        converting = task.part(0, 0.2, "converting for inspection without torch")
        give_graph(Predictor.load(info.folder, weights=_weights(request)), learnt_from, task=converting)
        if not (request.evaluate and data.test) or task.beside(partial(why_not_measured, info, data)):
            return info
        stored = evaluate_class(
            info.folder,
            data,
            source=request.source or _source_of(request),
            weights=_weights(request),
            save_in_model=False,
            background=background,
            task=task.part(0.2, 1),
        )
        draw_pictures(stored)
        return save_metrics(info.folder, stored.summary.document())
    finally:
        finish(info.folder)


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
