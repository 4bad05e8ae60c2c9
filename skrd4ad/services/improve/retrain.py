"""Retraining with images that people labelled good: what it would learn from, and the job that does it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from skrd4ad.config import TrainConfig
from skrd4ad.errors import ConfigError, DataError, SkrdError
from skrd4ad.format import plural
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import SeenImages
from skrd4ad.services.access import needs
from skrd4ad.services.datasets import class_of
from skrd4ad.services.improve.agreement import read_book
from skrd4ad.services.improve.retrain_data import (
    FEWEST_ALONE,
    ConfirmedNormal,
    ConfirmedNormals,
    empty_class,
    keep_confirmed,
    role_of,
    start_of,
    too_few_alone,
)
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.services.models.list import list_models, predecessor_digest
from skrd4ad.services.training import TrainingRequest, result_of, run_training, title_of
from skrd4ad.storage.labelled_images import LabelBook
from skrd4ad.task import Task
from skrd4ad.training.warm_start import WarmStart
from skrd4ad.types import DatasetClass

EPOCHS_SHARE = 1 / 3
LEARNING_RATE_SHARE = 0.4

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """What a retraining would learn from; nothing is stored or started."""

    info: ModelInfo
    config: TrainConfig
    confirmed: ConfirmedNormals
    own: int
    """Training images of the model at hand, held-out ones included, without those labelled defective."""
    own_held_out: int
    learn: int
    """Images labelled good that are learnt from besides, and have not been before."""
    limits: int
    compare: int
    """Images labelled good that are kept from both, to compare the models on."""
    tests: int
    """Of those learnt from or held out, test images of the data set: the new model is not evaluated on them."""
    own_defects: int
    """Training images that people labelled defective: they are left out."""
    missing: int

    @property
    def problem(self) -> str | None:
        """Why it cannot be done, in words; None when it can."""
        if not self.own and len(self.confirmed.images) < FEWEST_ALONE:
            return too_few_alone(self.info, len(self.confirmed.images))
        if not self.learn:
            return (
                f"Nothing new would be learnt from: of {plural(len(self.confirmed.images), 'image')} labelled good "
                f"besides the model's own, {self.limits} would set the limits and {self.compare} would be kept for the "
                "comparison. Label more good images."
            )
        if not self.own_held_out + self.limits:
            return (
                "No good image would be held out to choose the epoch and the limits by: the training images changed "
                "since the model was trained, and too few others are labelled good. Label more good images."
            )
        if self.own + self.learn - self.own_held_out < 2:
            return "There are fewer than two good images to learn from. Label more good images."
        return None


def plan_retraining(info: ModelInfo, book: LabelBook, seen: SeenImages) -> RetrainPlan:
    """What retraining a model with the labels as they stand would learn from."""
    good = [book.images[digest] for digest in sorted(book.images) if book.images[digest].label == "good"]
    # what is among the model's own training images is learnt from, or held out, as it was
    new = [image for image in good if image.digest not in seen.train]
    there = [image for image in new if stored_path(image.file).is_file()]
    confirmed = ConfirmedNormals(
        images=tuple(
            ConfirmedNormal(image.digest, image.file, image.name, role_of(image.digest, seen)) for image in there
        ),
        defects=tuple(sorted(digest for digest, image in book.images.items() if image.label == "defect")),
        people=tuple(sorted({image.reviewer for image in there})),
    )
    counts = {role: sum(image.role == role for image in confirmed.images) for role in ("learn", "limits", "compare")}
    is_test = {image.digest: image.split == "test" or image.digest in seen.tests for image in there}
    own = seen.train - set(confirmed.defects)
    return RetrainPlan(
        info=info,
        config=retrain_config(info),
        confirmed=confirmed,
        own=len(own),
        own_held_out=len(own & seen.held_out) if seen.is_exact else 0,
        learn=sum(image.role == "learn" and image.digest not in seen.learnt for image in confirmed.images),
        limits=counts["limits"],
        compare=counts["compare"],
        tests=sum(is_test[image.digest] for image in confirmed.images if image.role != "compare"),
        own_defects=len(seen.train) - len(own),
        missing=len(new) - len(there),
    )


def retrain_config(info: ModelInfo) -> TrainConfig:
    """How a model is retrained: as it was trained, with a third of the epochs at 0.4 of the learning rate.

    Chosen by the error on held-out good images of solar cells (128x128, two seeds, 198 images and 36 new ones of later
    modules, or of another kind of cell): of 0.1 to 1 of the learning rate, this came closest to a training from scratch
    on all images, within about 1 % of its error in a third of its time. Nothing is changed by an optimiser's memory:
    it begins anew.
    """
    base = info.train or TrainConfig()
    return replace(
        base,
        # those of a trained model are what its steps allowed
        epochs=max(1, round(EPOCHS_SHARE * base.epochs)),
        most_steps=None,
        learning_rate=LEARNING_RATE_SHARE * base.learning_rate,
        selection="holdout" if base.holdout > 0 else "last",
    )


def retrain_request(
    plan: RetrainPlan, *, config: TrainConfig | None = None, weights: Path | None = None
) -> TrainingRequest:
    """The training that a plan asks for; its labels are kept, so that it can be resumed as it was."""
    if plan.problem is not None:
        raise DataError(plan.problem)
    info = plan.info
    return TrainingRequest(
        source=str(info.data.get("source") or "") if plan.own else "",
        class_name=info.class_name,
        model=info.model,
        train=config or plan.config,
        layout=str(info.data.get("layout", "auto")),
        weights=None if weights is None else str(weights),
        start_from=str(info.folder),
        confirmed=keep_confirmed(plan.confirmed),
    )


@needs("engineer", "retrain a model")
def submit_retraining(plan: RetrainPlan, *, config: TrainConfig | None = None) -> str:
    """Put a retraining at the end of the background queue; returns the id of its job."""
    if active_retrainings(plan.info):
        raise ConfigError(f"{plan.info.folder.name} is being retrained already. Wait for it, or cancel it first.")
    return TRAINING.submit(retrain_request(plan, config=config))


def start_for(data: DatasetClass, request: TrainingRequest) -> tuple[DatasetClass, WarmStart] | None:
    """What a request goes on from, and the class as it is learnt from then; None where it begins anew."""
    if request.start_from is None:
        return None
    return start_of(data, folder=Path(request.start_from), confirmed=request.confirmed, config=request.train)


def _title(request: TrainingRequest) -> str:
    goes_on = "" if request.start_from is None else f" · goes on from {Path(request.start_from).name}"
    return title_of(request) + goes_on


def _run(request: TrainingRequest, job: JobHandle, *, resume: bool = False) -> Mapping[str, Any]:
    if request.start_from is not None and request.confirmed is not None and not request.source:
        data = empty_class(read_info(Path(request.start_from)))
    else:
        data = job.task.beside(lambda: class_of(request.source, layout=request.layout, class_name=request.class_name))
    # reads all images, to tell which were learnt from
    start = job.task.beside(lambda: start_for(data, request))
    info = run_training(request, job, data=data, start=start, resume=resume)
    if request.confirmed is not None:
        _score_labelled(info, weights=request.weights, task=job.task)
    return result_of(info, request, data)


def _score_labelled(info: ModelInfo, *, weights: str | None, task: Task) -> None:
    """Let the new model look at the labelled images of its class, so that it can be compared and its queue is filled.

    What fails is only logged, a cancel too: the model is there, and a job that is said to have failed would be
    repeated from its first epoch.
    """
    try:
        images = [image for image in read_book(info).images.values() if image.score is None]
        part = task.part(0, 1, "scoring labelled image {done} of {total}")
        score_labelled(info, images, weights=None if weights is None else Path(weights), task=part)
    except SkrdError as error:
        log.warning("%s has not seen all labelled images: %s", info.folder, error)


TRAINING = JobKind(
    name="train",
    lane="long",
    request=TrainingRequest,
    title=_title,
    run=_run,
    again=partial(_run, resume=True),
    once=False,
)
"""Trainings from scratch and those that go on from a model. The result holds ``folder``, ``metrics`` and
``not_measured``: why there are none."""


def active_retrainings(info: ModelInfo) -> list[JobView]:
    """Jobs that run or wait and go on from a model, oldest first."""
    return TRAINING.active(start_from=str(info.folder))


def successors_of(info: ModelInfo, models: Sequence[ModelInfo] | None = None) -> list[ModelInfo]:
    """Models that went on from a model, newest first."""
    there = list_models()[0] if models is None else models
    found = [each for each in there if predecessor_digest(each) == info.digest]
    return sorted(found, key=lambda each: each.created_at, reverse=True)


def predecessor_of(info: ModelInfo, models: Sequence[ModelInfo] | None = None) -> ModelInfo | None:
    """The model that a model went on from; None when it began anew, or that one is gone."""
    there = list_models()[0] if models is None else models
    return next((each for each in there if each.digest and each.digest == predecessor_digest(info)), None)
