"""A trained model as one object: predict, evaluate, export; and the two ways to one, training and loading."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from skrd4ad.api.result import Result
from skrd4ad.api.sources import Picture, is_one_image, sources_of
from skrd4ad.config import PRESETS, ModelConfig, TrainConfig
from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.doctor.shape import input_size
from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import ConfigError, DataError, ImageError
from skrd4ad.export.certificate import Certificate
from skrd4ad.export.manifest import ExportSettings, Format, Precision
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of, predict_images
from skrd4ad.inference.tiling import Tiling
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import checkpoints
from skrd4ad.services.datasets import require_sound
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.evaluation.result import EvaluationSummary
from skrd4ad.services.improve.retrain_data import own_class
from skrd4ad.services.inspection.runtimes import RuntimeRequest, RuntimeWish, open_predictor
from skrd4ad.services.models.export_job import make_export
from skrd4ad.services.training import TrainingRequest, train_class
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass


@dataclass(frozen=True)
class Exported:
    """A model for other runtimes."""

    folder: Path
    """With the graph, its manifest, and the certificate where there is one."""
    certificate: Certificate | None
    """How far its scores, maps and verdicts differ from the model's; None without images to compare on."""

    @property
    def passed(self) -> bool | None:
        """Whether they differ by no more than is allowed; None when that was not compared."""
        return None if self.certificate is None else self.certificate.passed


class Model:
    """A trained model. Made by :func:`train` and :func:`load`."""

    def __init__(self, folder: Path, wish: RuntimeRequest, *, weights: Path | None) -> None:
        self._wish, self._weights = wish, weights
        self._folder = folder
        read_info(folder)  # what is no model is said at once

    @property
    def info(self) -> ModelInfo:
        """What the model folder says now: class, settings, calibration, metrics."""
        return read_info(self._folder)

    @property
    def folder(self) -> Path:
        """Its model folder."""
        return self._folder

    @cached_property
    def predictor(self) -> Predictor:
        """The network on its runtime; opened once, by the first prediction or here."""
        return open_predictor(self._folder, self._wish, weights=self._weights)

    @overload
    def predict(self, source: str | Path, *, threshold: float | None = ..., tiling: Tiling = ...) -> Any: ...

    @overload  # an array is an iterable of arrays as well, and one image
    def predict(  # type: ignore[overload-overlap]
        self, source: Picture, *, threshold: float | None = ..., tiling: Tiling = ...
    ) -> Result: ...

    @overload
    def predict(
        self, source: Iterable[str | Path | Picture], *, threshold: float | None = ..., tiling: Tiling = ...
    ) -> Iterator[Result]: ...

    def predict(
        self,
        source: str | Path | Picture | Iterable[str | Path | Picture],
        *,
        threshold: float | None = None,
        tiling: Tiling = "auto",
    ) -> Result | Iterator[Result]:
        """Score images, find defects in them, and judge them by the model's limits. Nothing is written.

        Args:
            source: one image: the path of a file, an array (H, W, 3) RGB or (H, W) grey of uint8, a PIL image, a torch
                tensor (3, H, W) RGB of uint8. Or many: the path of a folder, or any iterable of these.
            threshold: NG above this score, in place of the model's limits; then nothing is for review.
            tiling: see large images in tiles at the scale of the training images: ``auto``, ``on`` or ``off``.

        Returns:
            A result for one image. For many an iterator of results in their order; images are read as it is asked for
            them, so that a generator may go on for ever. One that cannot be read has an ``error``; the rest goes on.

        Raises:
            ImageError: the one image cannot be read.
            ConfigError: a picture of another type or shape, or a threshold that is no finite number.
        """
        predictor = self.predictor.with_info(self.info)
        limits = limits_of(predictor.info, threshold)
        found = predict_images(predictor, sources_of(source), limits=limits, tiling=tiling)
        results = (Result(inspection) for inspection in found)
        if not is_one_image(source):
            return results
        [result] = results
        if result.error is not None:
            raise ImageError(result.error)
        return result

    def evaluate(
        self,
        data: str | Path | None = None,
        class_name: str | None = None,
        *,
        layout: str = "auto",
        fresh: bool = False,
        task: Task = QUIET,
    ) -> EvaluationSummary:
        """Measure the model on test images: all metrics with 95 % intervals, by type of defect too.

        What was found is kept in the workspace, where the app shows it, and figures of the model's own test set in its
        folder; the same is not measured twice.

        Args:
            data: a folder in a known layout, ``elpv`` or ``synthetic``; by default what the model was trained on.
            class_name: the class of the data; by default the model's.
            layout: of the folder; by default found out.
            fresh: measure again what is known.
            task: receives progress, and can cancel the work.

        Returns:
            The figures: ``.metrics.image_auroc``, ``.intervals``, ``.by_defect``; ``.document()`` is ready for JSON.

        Raises:
            DataError: the data is not there, or has no such class or no test images.
        """
        info = self.info
        if data is None:
            chosen, source = own_class(info), str(info.data.get("source", ""))
            if chosen is None:
                raise DataError(f"The data that {self._folder} was trained on is not at hand; give the data.")
        else:
            chosen, source = _class_of(data, class_name or info.class_name, layout=layout), str(data)
        stored = evaluate_class(
            self._folder, chosen, source=source, weights=self._weights, wish=self._wish, again=fresh, task=task
        )
        return stored.summary

    def export(
        self,
        format: Format = "onnx",
        *,
        precision: Precision = "fp32",
        batch: int | None = None,
        images: Sequence[str | Path] = (),
        out: str | Path | None = None,
        task: Task = QUIET,
    ) -> Exported:
        """Write the model for other runtimes, from raw RGB pixels to map and score, and compare it with the original.

        Args:
            format: ``onnx`` or ``openvino``.
            precision: ``fp32`` or ``fp16``; with openvino also ``bf16`` and ``int8``, which takes the ranges of values
                from the good images of the model's data.
            batch: images in one call; by default any number.
            images: to compare on; by default the test images of the model's data.
            out: folder of the export, must not exist; by default a new one in the model folder.
            task: receives progress, and can cancel the work.

        Raises:
            ConfigError: a format or precision that is not known.
            DependencyError: what makes the format is not installed.
        """
        settings = ExportSettings(format=format, precision=precision, batch=batch)
        export, certificate = make_export(
            Predictor.load(self._folder, weights=self._weights),
            settings,
            data=own_class(self.info),
            images=[Path(each) for each in images],
            out=None if out is None else Path(out),
            task=task,
        )
        return Exported(export.folder, certificate)

    def __repr__(self) -> str:
        return f"Model({self.info.title}, {self._folder})"


def load(
    folder: str | Path,
    *,
    runtime: RuntimeWish = "auto",
    device: str = "auto",
    weights: str | Path | None = None,
) -> Model:
    """A trained model of its folder, such as ``checkpoints/synthetic/machined_disc/demo``.

    Args:
        folder: the model folder; ``skrd4ad models`` lists those there are.
        runtime: what computes: ``auto`` is the fastest that was found to say the same as torch, see ``skrd4ad
            runtimes``; or ``torch``, ``openvino``, ``onnxruntime``.
        device: where torch computes.
        weights: weights file of the teacher, instead of the usual places.

    Raises:
        CheckpointError: this is no model folder, or it is damaged.
    """
    wish = RuntimeRequest(runtime=runtime, device=device)
    return Model(Path(folder).absolute(), wish, weights=None if weights is None else Path(weights))


def train(
    data: str | Path,
    class_name: str | None = None,
    *,
    preset: str = "fast",
    model: ModelConfig | None = None,
    config: TrainConfig | None = None,
    epochs: int | None = None,
    layout: str = "auto",
    out: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    check: bool = True,
    task: Task = QUIET,
) -> Model:
    """Learn what good parts look like from the good images of a class; limits come from good images held out of it.

    The training is in the history of the workspace. It does not wait for jobs of the app.

    Args:
        data: a folder in a known layout, or ``elpv`` or ``synthetic``, which need no download.
        class_name: a class of the data; may be left out where there is only one.
        preset: of the settings that are not given: ``fast``, or one of ``skrd4ad.config.PRESETS``.
        model: teacher, skip connections, image size and so on, in place of the preset's; without it the shape of the
            images chooses the image size, but for ``paper``.
        config: epochs, batch size, seed and so on, in place of the preset's.
        epochs: in place of those of ``config`` or the preset.
        layout: of the folder; by default found out.
        out: folder of the model folders; by default that of the app (``SKRD4AD_CHECKPOINTS``, ``./checkpoints``).
        weights: weights file of the teacher, instead of the usual places.
        device: where it is trained.
        check: examine the images first, as ``skrd4ad doctor`` does.
        task: receives progress, and can cancel the work.

    Raises:
        DataError: the data is not there, has no such class, or would train or measure wrongly.
        ConfigError: a setting is outside what is allowed.
        WeightsError: the teacher's weights are not at hand.
    """
    if preset not in PRESETS:
        raise ConfigError(f"The preset is {preset!r}; allowed: {', '.join(PRESETS)}.")
    by_shape = model is None and not PRESETS[preset].keeps_size
    model, config = model or PRESETS[preset].model, config or PRESETS[preset].train
    if epochs is not None:
        config = replace(config, epochs=epochs)
    chosen = _class_of(data, class_name, layout=layout)
    if by_shape:
        model = replace(model, image_size=input_size(chosen.train, config.align))
    if check:
        report = examine(
            [chosen], image_size=model.image_size, align=config.align, task=task.part(0, 0.05, "examining images")
        )
        require_sound(report, advice="check=False trains all the same.")
    request = TrainingRequest(
        source=str(data),
        class_name=chosen.name,
        model=model,
        train=config,
        layout=layout,
        weights=None if weights is None else str(weights),
        evaluate=False,
    )
    folder = checkpoints() if out is None else Path(out)
    info = train_class(chosen, request, out=folder, device=device, task=task.part(0.05, 1))
    return load(info.folder, device=device, weights=weights)


def _class_of(data: str | Path, class_name: str | None, *, layout: str) -> DatasetClass:
    classes = open_dataset(str(data), layout=layout, class_name=class_name)
    if len(classes) > 1:
        raise DataError(f"{data} has several classes; name one of: {', '.join(each.name for each in classes)}.")
    return classes[0]
