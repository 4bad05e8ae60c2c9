"""What is kept of an evaluation: a summary, its images, its curves, and maps and masks that are read when looked at.

:mod:`skrd4ad.services.evaluation.store` writes and reads it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.documents import Count, Positive, StoredSize
from skrd4ad.errors import CheckpointError, StorageError
from skrd4ad.inference.scoring import scoring_mask_digest, scoring_mask_of
from skrd4ad.metrics.bootstrap import Bootstrap, Interval
from skrd4ad.metrics.curves import Curve, CurveName
from skrd4ad.metrics.evaluation import Metrics
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.info import ModelInfo, read_info
from skrd4ad.paths import inside_data_roots
from skrd4ad.services.datasets import is_embedded
from skrd4ad.task import Task
from skrd4ad.types import EvaluationSet, ImageSize, Levels, height_width
from skrd4ad.visualize import resize_map

MAPS, MASKS, IGNORED, IGNORED_BY_MASKS = "maps.npy", "masks.npy", "ignored.npy", "ignored_by_masks.npy"
SMALL_MAPS, SMALL = "small_maps.npy", 4
"""Maps to look at and not to measure by, in place of ``MAPS``; each side is so much smaller."""
DATA_SETTINGS = ("source", "layout", "n_train", "n_holdout", "digest", "started_from", "note")
"""What is kept of what a model records of its training data."""


class EvaluatedSettings(TypedDict):
    """How the model of an evaluation was made."""

    model: ModelConfig
    train: TrainConfig | None
    data: dict[str, Any]
    origin: NotRequired[str]
    selected_epoch: NotRequired[int | None]
    levels: NotRequired[Levels]


def settings_of(info: ModelInfo) -> EvaluatedSettings:
    """How a model was made, as far as comparisons tell."""
    settings: EvaluatedSettings = {
        "model": info.model,
        "train": info.train,
        "data": {name: info.data.get(name) for name in DATA_SETTINGS},
        "origin": info.origin,
        "selected_epoch": info.selected_epoch,
    }
    return settings if info.levels is None else {**settings, "levels": info.levels}


@dataclass(frozen=True, kw_only=True)
class MeasuredModel:
    """A model, the images it was measured on, and the figures: what a comparison names and explains."""

    key: str
    """Name of the evaluation: a digest of model, teacher, what counts of the maps, and data."""
    model_folder: Path
    model_title: str
    model_digest: str
    teacher_digest: str
    settings: EvaluatedSettings
    dataset: str
    class_name: str
    data_digest: str
    """Of contents, labels, types and masks of the images."""
    surface_digest: str
    """Of what counted of the maps."""
    test_selected: bool
    """The model's epoch was chosen on its test set, so figures are optimistic: to be badged."""
    image_size: StoredSize
    """Of the maps."""
    calibration: int | None
    """Version of the calibration whose ignored pixels and smallest region were in force."""
    ignores_pixels: bool
    min_area: Positive
    metrics: Metrics

    @property
    def title(self) -> str:
        """One line for people: data set, class and model."""
        own = self.model_title.startswith(f"{self.class_name} · ")
        return f"{self.dataset}/{self.model_title if own else f'{self.class_name} · {self.model_title}'}"


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary(MeasuredModel):
    """What a finished evaluation found, without its images and curves."""

    created_at: str
    """ISO 8601, UTC."""
    source: str
    """``elpv``, ``synthetic`` or a folder; with ``layout`` and ``class_name`` it opens the data again."""
    layout: str
    root: Path
    note: str
    """What a reader must know of the data, such as "synthetic images"."""
    own_test_set: bool
    """The data is the test set that belongs to the model's training data."""
    by_defect: dict[str, Metrics]
    intervals: Bootstrap
    protocol: str
    vanished: tuple[str, ...]
    """Images whose mask has nothing left at the size of the maps."""
    vanished_regions: Count
    left_out: Count
    """Test images that the model has learnt from, or takes its limits from, and was not measured on."""
    n_images: Count
    size_bytes: Count
    by_mask_class: dict[str, Metrics] = field(default_factory=dict)
    """Of each class of defect that the masks tell apart."""
    authors: dict[str, float] = field(default_factory=dict)
    """Metrics that the authors of the data set use, by their names."""

    def document(self) -> dict[str, Any]:
        """The figures as a model folder and ``skrd4ad evaluate`` give them: at the top, with 95 % intervals as
        ``[low, high]`` by metric; then by type of defect, and how they were measured."""
        drawn = self.intervals
        return {
            **asdict(self.metrics),
            "intervals": _pairs(drawn.intervals),
            "by_defect": {
                name: {**asdict(metrics), "intervals": _pairs(drawn.by_type.get(name, {}))}
                for name, metrics in self.by_defect.items()
            },
            "by_mask_class": {name: asdict(metrics) for name, metrics in self.by_mask_class.items()},
            "authors": self.authors,
            "dataset": self.dataset,
            "class_name": self.class_name,
            "image_size": self.image_size,
            "vanished": list(self.vanished),
            "vanished_regions": self.vanished_regions,
            "left_out": self.left_out,
            "test_selected": self.test_selected,
            "calibration": self.calibration,
            "protocol": self.protocol,
            "evaluated_at": self.created_at,
            "bootstrap": {"replicates": drawn.replicates, "seed": drawn.seed, "bin_errors": drawn.bin_errors},
        }


@dataclass(frozen=True, kw_only=True)
class EvaluatedImage:
    """One test image and what the model says of it."""

    place: Count
    """In the test set; row of the maps and masks."""
    path: Path
    name: str
    """Path below the class's folder, for people."""
    label: Annotated[int, Meta(ge=0, le=1)]
    """0 good, 1 defect."""
    defect_type: str
    mask_path: Path | None
    score: float
    """Highest value of the map, without ignored pixels: what the metrics rank by."""
    verdict_score: float
    """What limits are compared with: as ``score``, but regions below the smallest that counts do not. Both are the same
    unless the calibration has a smallest region above one pixel."""
    mask_area: Count | None
    """Pixels of the map inside the mask; 0 when it vanished at that size; None without a mask."""
    content: str
    """SHA-256 of the image file."""
    mask_content: str | None
    """SHA-256 of the mask file."""
    refused: bool | None = None
    """Cannot be judged: it is unlike the training images. None where an earlier build measured, which did not ask."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredImages(ABC):
    """Images with labels and what a model says of them: what two models are compared on."""

    summary: MeasuredModel
    images: tuple[EvaluatedImage, ...]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) 0 good, 1 defect."""
        return np.array([image.label for image in self.images], np.int64)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """(N,) what the metrics rank by."""
        return np.array([image.score for image in self.images], np.float32)

    @cached_property
    def verdict_scores(self) -> NDArray[np.float64]:
        """(N,) what limits are compared with."""
        return np.array([image.verdict_score for image in self.images], np.float64)

    @abstractmethod
    def limits(self) -> tuple[Calibration | None, str]:
        """The calibration that judges these scores now, and why there is none; one of both is empty."""

    @abstractmethod
    def measured(self, task: Task) -> tuple[EvaluationSet, Metrics]:
        """All that a metric needs, and the figures of all images."""

    @abstractmethod
    def file_of(self, index: int) -> Path:
        """Where the file of an image is."""

    @abstractmethod
    def map_of(self, index: int) -> NDArray[np.float32]:
        """(H, W) raw scores of one image; DataError when its map is not kept."""

    @abstractmethod
    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """(H, W) mask of one image at the size of its map; None without a mask, all false for a good image."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredEvaluation(MeasuredImages):
    """A finished evaluation, ready for charts; maps and masks are read only when asked for."""

    summary: EvaluationSummary
    curves: dict[CurveName, Curve]
    stale: tuple[str, ...] = ()
    """Why it does not describe the model and the data as they are now, in words; empty when it does."""
    folder: Path

    @property
    def is_current(self) -> bool:
        """Whether it describes model and data as they are, as far as was looked."""
        return not self.stale

    @property
    def has_maps(self) -> bool:
        """Whether the maps are kept as they were measured, not only small ones to look at."""
        return (self.folder / MAPS).is_file()

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask."""
        return (self.folder / MASKS).is_file()

    def limits(self) -> tuple[Calibration | None, str]:
        """The calibration that the model has now; there is none to judge these scores by when the model is gone, was
        replaced, has no calibration, or now counts other pixels."""
        summary = self.summary
        try:
            info = read_info(summary.model_folder)
            surface = scoring_mask_digest(scoring_mask_of(info))
        except CheckpointError as error:
            return None, f"There are no limits to show: {error}"
        if info.digest != summary.model_digest:
            return None, f"{summary.model_folder} holds another model than the one that was measured. Evaluate it."
        if info.calibration is None:
            return None, "This model has no limits yet; calibrate it to see what they let pass."
        if surface != summary.surface_digest:
            return None, (
                "The calibration ignores other pixels now, or has another smallest region, than when this was "
                "measured. Evaluate again to see what its limits let pass."
            )
        return info.calibration, ""

    def measured(self, task: Task) -> tuple[EvaluationSet, Metrics]:
        """Everything on disk, and the stored figures."""
        return task.beside(self.evaluation_set), self.summary.metrics

    def file_of(self, index: int) -> Path:
        """Path of a test image, below one of the data roots unless the data is embedded."""
        path = self.images[index].path
        if not is_embedded(self.summary.source):
            inside_data_roots(path)
        return path

    def map_of(self, index: int) -> NDArray[np.float32]:
        """(H, W), one row of :meth:`maps`, or a small one enlarged."""
        if self.has_maps:
            return np.array(self.maps()[index])
        height, width = height_width(self.summary.image_size)
        shape = (len(self.images), -(-height // SMALL), -(-width // SMALL))
        return resize_map(_mapped(self.folder / SMALL_MAPS, shape=shape, dtype=np.float16)[index], height, width)

    def maps(self) -> NDArray[np.float32]:
        """(N, H, W) raw scores, mapped from disk: only the rows that are looked at are read."""
        shape = (len(self.images), *height_width(self.summary.image_size))
        return _mapped(self.folder / MAPS, shape=shape, dtype=np.float32)

    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """(H, W), also where the mask vanished at the size of the map."""
        image, size = self.images[index], self.summary.image_size
        if image.label == 0:
            return np.zeros(height_width(size), bool)
        return None if image.mask_area is None else _unpacked(self.packed_masks()[index], size)

    def evaluation_set(self) -> EvaluationSet:
        """Everything a metric needs, masks unpacked."""
        size = self.summary.image_size
        labelled = [image.label == 0 or image.mask_area is not None for image in self.images]
        return EvaluationSet(
            labels=self.labels,
            scores=self.scores,
            defect_types=tuple(image.defect_type for image in self.images),
            maps=np.asarray(self.maps()),
            masks=_unpacked(self.packed_masks(), size) if self.has_masks else None,
            has_mask=np.array(labelled, bool) & self.has_masks,
            ignored=self._ignored(),
        )

    def _ignored(self) -> NDArray[np.bool_] | None:
        """(H, W), or (N, H, W) where masks ignore pixels."""
        shape = height_width(self.summary.image_size)
        everywhere, by_masks = self.folder / IGNORED, self.folder / IGNORED_BY_MASKS
        if by_masks.is_file():
            packed = _mapped(by_masks, shape=(len(self.images), -(-math.prod(shape) // 8)), dtype=np.uint8)
            return _unpacked(packed, self.summary.image_size)
        return np.array(_mapped(everywhere, shape=shape, dtype=np.bool_)) if everywhere.is_file() else None

    def packed_masks(self) -> NDArray[np.uint8]:
        """(N, ceil(H x W / 8)) masks with eight pixels a byte, mapped from disk."""
        pixels = math.prod(height_width(self.summary.image_size))
        return _mapped(self.folder / MASKS, shape=(len(self.images), -(-pixels // 8)), dtype=np.uint8)


def _pairs(intervals: Mapping[str, Interval | None]) -> dict[str, list[float] | None]:
    return {name: None if each is None else [each.low, each.high] for name, each in intervals.items()}


def _mapped(path: Path, *, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}. Evaluate again.") from error
    if array.shape != shape or array.dtype != dtype:
        raise StorageError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected {np.dtype(dtype)} of {shape}. Evaluate again."
        )
    return array


def _unpacked(packed: NDArray[np.uint8], size: ImageSize) -> NDArray[np.bool_]:
    height, width = height_width(size)
    bits = np.unpackbits(packed, axis=-1, count=height * width)
    return bits.reshape(*packed.shape[:-1], height, width).view(np.bool_)
