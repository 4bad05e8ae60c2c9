"""The epochs of a training: steps, the held-out score, the choice of the epoch, the state after each."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from skrd4ad.config import ModelConfig, Schedule, TrainConfig
from skrd4ad.data.images.find_part import AlignedImage
from skrd4ad.errors import DataError, TrainingError
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.feature_cache import FeatureCache
from skrd4ad.inference.network import by_network, maps_of
from skrd4ad.inference.predict import Predictor, on_photograph
from skrd4ad.losses import distillation_loss, total_loss
from skrd4ad.model_folder.info import EpochEntry, ModelInfo
from skrd4ad.model_folder.resume_state import TrainState, save_state
from skrd4ad.models.devices import ahead_on
from skrd4ad.models.normality import Normality
from skrd4ad.models.skrd import SKRD4AD, Student
from skrd4ad.models.teachers import Teacher
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Alignment, DatasetClass, ImageSize, Levels

EVALUATION_BATCH = 32
WARM_UP = 0.05
"""Share of the steps in which the learning rate of the cosine schedule rises."""


Phase = Literal["weights", "reading", "training", "finishing"]


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where a training stands; the record of its reports."""

    phase: Phase
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    """Mean training loss of this epoch so far."""
    holdout_score: float | None = None
    """Distillation loss on the held-out good images after the last epoch; lower is better."""
    images_per_second: float | None = None
    first_look: str | None = None
    """Folder of a model of the memory bank alone, once there is one to inspect with meanwhile."""

    def __str__(self) -> str:
        """The figures that are known, for the command line."""
        parts = []
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4f}")
        if self.holdout_score is not None:
            parts.append(f"held out {self.holdout_score:.4f}")
        if self.images_per_second is not None:
            parts.append(f"{self.images_per_second:.0f} images/s")
        return ", ".join(parts)


def epoch_batches(n: int, *, batch_size: ImageSize, seed: int, epoch: int) -> list[Tensor]:
    """Indices of the images of each step of an epoch, shuffled anew every epoch; only seed and epoch decide. A last
    batch of one image joins the one before, as batch normalisation needs two."""
    generator = torch.Generator().manual_seed((seed << 20) + epoch)
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def rate_factor(schedule: Schedule, done: float) -> float:
    """Factor of the learning rate when a share of the steps, 0 to below 1, is done. ``cosine`` rises over the first 5 %
    of the steps, and falls with half a cosine from 1 at the start to 0 at the end."""
    if schedule == "constant":
        return 1.0
    return max(min(1.0, done / WARM_UP), 0.01) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(kw_only=True, eq=False)
class Loop:
    """The epochs of one training."""

    data: DatasetClass
    model: ModelConfig
    config: TrainConfig
    teacher: Teacher
    student: Student
    optimizer: torch.optim.Optimizer
    learning: FeatureCache
    holding: FeatureCache | None
    record: TrainState
    best: dict[str, Tensor]
    """State dict of the epoch selected so far; empty while the last is kept."""
    task: Task
    first_look: str | None = None
    """As in :class:`TrainProgress`."""
    levels: Levels | None = None
    """Of images above 8 bit."""
    alignment: Alignment | None = None
    """Of the photographs to the part."""

    def __post_init__(self) -> None:
        self._asked = self.task.check
        self.task = replace(self.task, check=self._check)
        self._first = self.record.epoch
        self._waited = 0.0

    def run(self, state: Path) -> None:
        """Train the epochs that are missing; the state is stored in ``state`` after each."""
        begun, before = time.monotonic(), self.record.seconds
        for epoch in range(self.record.epoch + 1, self.config.epochs + 1):
            loss = self._epoch(epoch, begun)
            holdout = None
            if self.holding is not None:
                holdout = _holdout_score(self.student, self.holding, self.config, self.task)
                self._require_finite(holdout, epoch)
            self._select(epoch, holdout)
            self.record.epoch = epoch
            self.record.seconds = before + self._elapsed(begun)
            entry = EpochEntry(epoch=epoch, loss=loss, holdout_score=holdout)
            self.record.history.append(entry)
            save_state(state, record=self.record, student=self.student, optimizer=self.optimizer, best=self.best)
            self.task.point(
                epoch, {name: value for name, value in entry.items() if name != "epoch" and value is not None}
            )

    def _epoch(self, epoch: int, begun: float) -> float:
        self.student.train()
        config, losses, seen = self.config, 0.0, 0
        pending: list[tuple[Tensor, int]] = []
        batches = epoch_batches(len(self.learning), batch_size=config.batch_size, seed=config.seed, epoch=epoch)
        ahead = self.learning.batches(batches)
        for step, (indices, cached) in enumerate(zip(batches, ahead, strict=True), start=1):
            self.task.check()
            done = ((epoch - 1) * len(batches) + step - 1) / (self.config.epochs * len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = config.learning_rate * rate_factor(config.schedule, done)
            loss = self._loss(cached)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            pending.append((loss.detach(), len(indices)))
            # an accelerator that is asked for a number does all that it was given before
            if self.learning.device.type == "cpu" or step == len(batches):
                for value, count in pending:
                    self._require_finite(number := value.item(), epoch)
                    losses, seen = losses + number * count, seen + count
                pending.clear()
            shown = seen + sum(count for _, count in pending)
            self._report(epoch, step, len(batches), shown, losses / seen if seen else None, begun)
        return losses / seen

    def _loss(self, cached: list[Tensor]) -> Tensor:
        with torch.autocast(cached[0].device.type, torch.bfloat16, enabled=cached[0].dtype == torch.bfloat16):
            restored = self.student(cached)
        return total_loss(cached, restored, config=self.config)

    def _report(self, epoch: int, step: int, steps: int, seen: int, loss: float | None, begun: float) -> None:
        self.task.check()  # a pause is not to count as time of work
        epochs = epoch - 1 - self._first + step / steps
        elapsed = max(self._elapsed(begun), 1e-9)
        last = self.record.history[-1]["holdout_score"] if self.record.history else None
        self.task.report(
            (epoch - 1) * steps + step,
            self.config.epochs * steps,
            f"epoch {epoch} of {self.config.epochs}",
            eta_seconds=elapsed / epochs * (self.config.epochs - self._first - epochs),
            record=TrainProgress(
                phase="training",
                epoch=epoch - 1,
                epochs=self.config.epochs,
                loss=loss,
                holdout_score=last,
                images_per_second=((epoch - 1 - self._first) * len(self.learning) + seen) / elapsed,
                first_look=self.first_look,
            ),
        )

    def _select(self, epoch: int, holdout: float | None) -> None:
        if self.config.selection == "last":
            return
        if self.config.selection == "test":
            due = epoch % self.config.evaluate_every == 0 or epoch == self.config.epochs
            score = -self._test_score() if due else float("inf")
        else:
            assert holdout is not None, "the config does not allow selection on nothing held out"
            score = holdout
        best = self.record.best_score
        if score < (float("inf") if best is None else best):
            self.record.best_score, self.record.best_epoch = score, epoch
            self.best = {name: tensor.clone() for name, tensor in self.student.state_dict().items()}

    def _test_score(self) -> float:
        """The original code's criterion: mean of pixel AUROC and AUPRO, or image AUROC without masks."""
        info = ModelInfo(
            dataset=self.data.dataset,
            class_name=self.data.name,
            model=self.model,
            train=self.config,
            teacher_digest="",
            levels=self.levels,
            alignment=self.alignment,
        )
        model = SKRD4AD(self.teacher, self.student)
        look = by_network(
            lambda images: model(ahead_on(images, self.learning.device)), size=self.model.image_size, normality=None
        )
        predictor = Predictor(model, info, look=look)
        metrics = evaluate_model(predictor, self.data, task=Task(check=self._check)).metrics
        if metrics.pixel_auroc is not None and metrics.aupro_paper is not None:
            return (metrics.pixel_auroc + metrics.aupro_paper) / 2
        assert metrics.image_auroc is not None, "the test set was found to hold both classes before the first epoch"
        return metrics.image_auroc

    def _require_finite(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} in epoch {epoch} with learning rate {self.config.learning_rate:g}. Train anew "
                "with a lower learning rate, such as a tenth of it."
            )

    def _check(self) -> None:
        before = time.monotonic()
        self._asked()
        self._waited += time.monotonic() - before

    def _elapsed(self, begun: float) -> float:
        """Seconds of work: time in which the training was paused does not count."""
        return time.monotonic() - begun - self._waited


def require_both_classes(data: DatasetClass) -> None:
    """See that the epoch can be chosen on the test set of a class."""
    defects = sum(sample.label for sample in data.test)
    if defects in (0, len(data.test)):
        raise DataError(
            f"The test set of {data.name} has {len(data.test) - defects} good and {defects} defective images; "
            "choosing the epoch on it needs both. Choose selection 'last' or 'holdout'."
        )


def _batches(cache: FeatureCache, task: Task) -> Iterator[list[Tensor]]:
    for features in cache.batches(torch.arange(len(cache)).split(EVALUATION_BATCH)):
        task.check()
        yield features


def _holdout_score(student: Student, holding: FeatureCache, config: TrainConfig, task: Task) -> float:
    student.eval()
    total = 0.0
    with torch.inference_mode():
        for features in _batches(holding, task):
            total += distillation_loss(features, student(features), kind=config.loss).item() * len(features[0])
    return total / len(holding)


def holdout_scores(
    student: Student,
    holding: FeatureCache,
    *,
    size: ImageSize,
    normality: Normality | None = None,
    aligned: Sequence[AlignedImage | None] = (),
    task: Task = QUIET,
) -> list[float]:
    """Image scores of the held-out good images; puts the student into evaluation mode. ``aligned``: how each of them
    was aligned, empty where all were seen whole."""
    student.eval()
    with torch.inference_mode():
        found = [
            maps_of(features, student(features), size=size, normality=normality) for features in _batches(holding, task)
        ]
    if not aligned:
        return [float(score) for score in np.concatenate([maps.scores for maps in found])]
    predictions = (maps.prediction(row) for maps in found for row in range(len(maps.scores)))
    return [on_photograph(*each).score for each in zip(predictions, aligned, strict=True)]
