"""Training of a student from good images only."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from skrd4ad.config import ModelConfig, TrainConfig, to_dict
from skrd4ad.data.images import content_hash
from skrd4ad.engine.calibration import calibrate
from skrd4ad.engine.checkpoint import ModelInfo, run_folder, save_model
from skrd4ad.engine.evaluate import evaluate_model
from skrd4ad.engine.features import FeatureCache, cache_features
from skrd4ad.engine.predict import Predictor, maps_of
from skrd4ad.engine.training_state import Record, read_record, restore_state, save_state, state_file, unfinished_runs
from skrd4ad.errors import DataError
from skrd4ad.losses import distillation_loss, total_loss
from skrd4ad.models.skrd import SKRD4AD, Student, build_student
from skrd4ad.models.teachers import Teacher, build_teacher
from skrd4ad.models.weights import weights_digest
from skrd4ad.types import DatasetClass, Sample

Phase = Literal["weights", "reading", "training", "finishing"]
EVALUATION_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where a training stands."""

    phase: Phase
    done: int = 0
    """Bytes of weights, images read, or steps of this epoch."""
    total: int = 0
    epoch: int = 0
    """Epochs done."""
    epochs: int = 0
    loss: float | None = None
    """Mean training loss of this epoch so far."""
    holdout_score: float | None = None
    """Distillation loss on the held-out good images after the last epoch; lower is better."""
    images_per_second: float | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Observer:
    """How a training talks to whoever started it."""

    report: Callable[[TrainProgress], None] = lambda _progress: None
    check: Callable[[], None] = lambda: None
    """Called between steps; may wait, or raise to stop (what was done until the last full epoch is kept)."""
    epoch: Callable[[dict[str, Any]], None] = lambda _entry: None
    """Called after each epoch with its entry of the history."""


def train(
    data: DatasetClass,
    *,
    model: ModelConfig,
    config: TrainConfig,
    out: Path,
    source: str,
    weights: Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
) -> ModelInfo:
    """Train a student on the good images of a class and write its model folder.

    The state is stored after every epoch. The same seed, data and settings give the same weights, also when the
    training was stopped and resumed in between (on one kind of machine, with the same number of threads).

    Args:
        data: the class; only ``train`` good images are learnt from.
        model: what the model is made of.
        config: how it is trained.
        out: folder of the model folders; the new one is ``<out>/<dataset>/<class>/<run>``.
        source: what was given as the data, for the record: a path, ``elpv`` or ``synthetic``.
        weights: weights file of the teacher to use instead of the usual places.
        resume: go on with the newest unfinished training of the same class, data and settings, if there is one.
        observer: is told of the progress, and may stop the training.

    Raises:
        DataError: there are too few good images, or one cannot be read.
        WeightsError: the teacher's weights cannot be found, fetched or trusted.
        CheckpointError: the model folder or the training state cannot be written or read.
        TrainingCancelled: the observer stopped it.
    """
    observer = observer or Observer()
    learn, held_out = split_holdout(data.train, share=config.holdout, seed=config.seed)
    teacher = build_teacher(
        model.net,
        weights=weights,
        progress=lambda n, m: observer.report(TrainProgress(phase="weights", done=n, total=m)),
    )
    record = Record(
        settings={
            "model": to_dict(model),
            "train": to_dict(config),
            "data_digest": data_digest(learn + held_out),
            "teacher_digest": weights_digest(teacher),
        }
    )
    run = run_folder(out, dataset=data.dataset, class_name=data.name, model=model)
    student = build_student(model, seed=config.seed)
    optimizer = torch.optim.Adam(student.parameters(), lr=config.learning_rate, betas=(0.5, 0.999))
    best: dict[str, Tensor] = {}
    if resume and (unfinished := _unfinished(run.parent, record)):
        run = unfinished
        record, best = restore_state(state_file(run), student=student, optimizer=optimizer)

    def on_image(done: int) -> None:
        observer.check()
        observer.report(TrainProgress(phase="reading", done=done, total=len(data.train), epochs=config.epochs))

    with (
        cache_features(teacher, learn, image_size=model.image_size, on_image=on_image) as learning,
        _held_out_cache(
            teacher, held_out, image_size=model.image_size, on_image=lambda n: on_image(len(learn) + n)
        ) as holding,
    ):
        loop = _Loop(data, model, config, teacher, student, optimizer, learning, holding, record, best, observer)
        loop.run(state_file(run))
        observer.report(
            TrainProgress(phase="finishing", epoch=config.epochs, epochs=config.epochs, total=1, eta_seconds=0.0)
        )
        if loop.best:
            student.load_state_dict(loop.best)
        scores = [] if holding is None else _scores(student.eval(), holding, size=model.image_size)

    info = ModelInfo(
        dataset=data.dataset,
        class_name=data.name,
        model=model,
        train=config,
        teacher_digest=record.settings["teacher_digest"],
        data={
            "source": source,
            "layout": data.layout,
            "n_train": len(learn),
            "n_holdout": len(held_out),
            "digest": record.settings["data_digest"],
            "licence": data.licence,
            "note": data.note,
        },
        history=tuple(record.history),
        selected_epoch=record.best_epoch if loop.best else config.epochs,
        test_selected=config.selection == "test",
        training_seconds=round(record.seconds, 1),
        calibration=calibrate(scores) if scores else None,
    )
    saved = save_model(run, info=info, student=student.state_dict())
    state_file(run).unlink(missing_ok=True)
    return saved


def split_holdout(
    samples: Sequence[Sample], *, share: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Good images to learn from and to hold out, drawn with the seed; each in the order of the samples.

    At least one is held out when the share is above 0.

    Raises:
        DataError: fewer than two images would be left to learn from.
    """
    n_out = max(1, round(share * len(samples))) if share > 0 else 0
    if len(samples) - n_out < 2:
        raise DataError(
            f"There are {len(samples)} good images to train on, and {n_out} would be held out; training needs at least "
            "2 besides those (20 or more are advisable). Add good images to the class."
        )
    drawn = set(np.random.default_rng(seed).permutation(len(samples))[:n_out].tolist())
    learn = tuple(s for place, s in enumerate(samples) if place not in drawn)
    held_out = tuple(s for place, s in enumerate(samples) if place in drawn)
    return learn, held_out


def data_digest(samples: Sequence[Sample]) -> str:
    """SHA-256 over the contents of image files, in hexadecimal; their names and order do not matter."""
    return hashlib.sha256("".join(sorted(content_hash(s.path) for s in samples)).encode()).hexdigest()


def epoch_batches(n: int, *, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Places of the images of each step of an epoch, shuffled anew every epoch; only seed and epoch decide.

    A last batch of one image joins the one before, as batch normalisation needs two.
    """
    generator = torch.Generator().manual_seed((seed << 20) + epoch)
    batches = list(torch.randperm(n, generator=generator).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


class _Loop:
    """The epochs of one training."""

    def __init__(
        self,
        data: DatasetClass,
        model: ModelConfig,
        config: TrainConfig,
        teacher: Teacher,
        student: Student,
        optimizer: torch.optim.Optimizer,
        learning: FeatureCache,
        holding: FeatureCache | None,
        record: Record,
        best: dict[str, Tensor],
        observer: Observer,
    ) -> None:
        self.data, self.model, self.config, self.teacher = data, model, config, teacher
        self.student, self.optimizer = student, optimizer
        self.learning, self.holding = learning, holding
        self.record, self.best, self.observer = record, best, observer
        self._first = record.epoch

    def run(self, state: Path) -> None:
        begun, before = time.monotonic(), self.record.seconds
        for epoch in range(self.record.epoch + 1, self.config.epochs + 1):
            loss = self._epoch(epoch, begun)
            holdout = None if self.holding is None else _holdout_score(self.student, self.holding, self.config)
            self._select(epoch, holdout)
            self.record.epoch = epoch
            self.record.seconds = before + time.monotonic() - begun
            entry = {"epoch": epoch, "loss": loss, "holdout_score": holdout}
            self.record.history.append(entry)
            save_state(state, record=self.record, student=self.student, optimizer=self.optimizer, best=self.best)
            self.observer.epoch(entry)

    def _epoch(self, epoch: int, begun: float) -> float:
        self.student.train()
        config, losses, seen = self.config, 0.0, 0
        batches = epoch_batches(len(self.learning), batch_size=config.batch_size, seed=config.seed, epoch=epoch)
        for step, places in enumerate(batches, start=1):
            self.observer.check()
            features = self.learning.batch(places)
            loss = total_loss(features, self.student(features), config=config)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            losses += loss.item() * len(places)
            seen += len(places)
            self._report(epoch, step, len(batches), seen, losses / seen, begun)
        return losses / seen

    def _report(self, epoch: int, step: int, steps: int, seen: int, loss: float, begun: float) -> None:
        epochs = epoch - 1 - self._first + step / steps
        elapsed = time.monotonic() - begun
        last = self.record.history[-1]["holdout_score"] if self.record.history else None
        self.observer.report(
            TrainProgress(
                phase="training",
                done=step,
                total=steps,
                epoch=epoch - 1,
                epochs=self.config.epochs,
                loss=loss,
                holdout_score=last,
                images_per_second=((epoch - 1 - self._first) * len(self.learning) + seen) / elapsed,
                eta_seconds=elapsed / epochs * (self.config.epochs - self._first - epochs),
            )
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
        if score < self.record.best_score:
            self.record.best_score, self.record.best_epoch = score, epoch
            self.best = {name: tensor.clone() for name, tensor in self.student.state_dict().items()}

    def _test_score(self) -> float:
        """The original code's criterion: mean of pixel AUROC and AUPRO, or image AUROC without masks."""
        info = ModelInfo(
            dataset=self.data.dataset, class_name=self.data.name, model=self.model, train=self.config, teacher_digest=""
        )
        model = SKRD4AD(self.teacher, self.student)
        metrics = evaluate_model(Predictor(model, info), self.data, check=self.observer.check).metrics
        if metrics.pixel_auroc is not None and metrics.aupro_paper is not None:
            return (metrics.pixel_auroc + metrics.aupro_paper) / 2
        if metrics.image_auroc is None:
            raise DataError(
                f"The test set of {self.data.name} has {metrics.n_good} good and {metrics.n_defect} defective images; "
                "choosing the epoch on it needs both. Choose selection 'last' or 'holdout'."
            )
        return metrics.image_auroc


def _unfinished(parent: Path, record: Record) -> Path | None:
    runs = unfinished_runs(parent)
    return next((run for run in runs if read_record(state_file(run)).settings == record.settings), None)


class _NoCache:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _held_out_cache(
    teacher: Teacher, samples: Sequence[Sample], *, image_size: int, on_image: Callable[[int], None]
) -> "FeatureCache | _NoCache":
    return cache_features(teacher, samples, image_size=image_size, on_image=on_image) if samples else _NoCache()


def _batches(cache: FeatureCache) -> list[list[Tensor]]:
    return [cache.batch(places) for places in torch.arange(len(cache)).split(EVALUATION_BATCH)]


def _holdout_score(student: nn.Module, holding: FeatureCache, config: TrainConfig) -> float:
    student.eval()
    total = 0.0
    with torch.inference_mode():
        for features in _batches(holding):
            total += distillation_loss(features, student(features), kind=config.loss).item() * len(features[0])
    return total / len(holding)


def _scores(student: nn.Module, holding: FeatureCache, *, size: int) -> list[float]:
    with torch.inference_mode():
        found = [maps_of(features, student(features), size=size).scores for features in _batches(holding)]
    return [float(score) for score in np.concatenate(found)]
