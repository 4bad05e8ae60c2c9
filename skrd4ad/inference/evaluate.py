"""All metrics of a model on a test set."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from skrd4ad.data.dataset import iter_images, load_masks
from skrd4ad.errors import DataError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import ignored_pixels, surface_of
from skrd4ad.metrics.evaluation import Metrics, by_defect_type, evaluate
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import unseen_samples
from skrd4ad.scratch import scratch_array
from skrd4ad.types import DatasetClass, EvaluationSet, Progress, Sample

BATCH = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """Metrics of a model on a test set, and what they were computed from."""

    dataset: str
    class_name: str
    metrics: Metrics
    by_defect: dict[str, Metrics]
    samples: tuple[Sample, ...]
    data: EvaluationSet
    vanished: tuple[str, ...]
    """Images whose mask has no pixel left at the size of the maps."""
    vanished_regions: int
    """Regions of masks of which nothing is left at the size of the maps, so that no metric can count them."""
    test_selected: bool
    """The model's epoch was chosen on the test set."""
    image_size: int
    calibration: int | None = None
    """Version of the model's calibration; it changes figures only where it ignores pixels."""
    ignores_pixels: bool = False
    """Pixels that the calibration ignores were left out of scores, maps and pixel metrics."""
    left_out: int = 0
    """Test images that the model has learnt from or takes its limits from: people had labelled them good."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: the metrics at the top, then their breakdown and their protocol."""
        return {
            **asdict(self.metrics),
            "by_defect": {name: asdict(metrics) for name, metrics in self.by_defect.items()},
            "dataset": self.dataset,
            "class_name": self.class_name,
            "image_size": self.image_size,
            "vanished": list(self.vanished),
            "vanished_regions": self.vanished_regions,
            "test_selected": self.test_selected,
            "calibration": self.calibration,
            "protocol": (
                f"{self._scores_in_words()} AUPRO: pooled test set, exact thresholds, 8-connected regions, FPR to 0.30 "
                "(aupro) and 0.05 (aupro_005); aupro_paper: the original code's per-image, 200-threshold form. "
                + ("Epoch selected on this test set." if self.test_selected else "Nothing was fitted on test images.")
                + self._left_out_in_words()
            ),
            "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _left_out_in_words(self) -> str:
        if not self.left_out:
            return ""
        return (
            f" {self.left_out} test images were left out: people labelled them good, and the model was trained or "
            "calibrated with them. These figures are of a smaller test set than the published one."
        )

    def _scores_in_words(self) -> str:
        if not self.ignores_pixels:
            return "Raw scores."
        return (
            f"Raw scores without the pixels that calibration version {self.calibration} ignores; they are left out of "
            "scores, maps and pixel metrics."
        )


def evaluate_model(
    predictor: Predictor,
    data: DatasetClass,
    *,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> Evaluation:
    """Score the test images of a class and compute every metric.

    Test images that the model is known to have been trained or calibrated with are left out.

    Maps and masks take 5 bytes a pixel, and the pool of the pixel metrics 4 more. What is above the budget of
    :mod:`skrd4ad.scratch` is in files, so that memory does not grow with the images.

    Args:
        predictor: the model.
        data: a class with test images.
        progress: called with images done and total.
        check: called between batches; may raise to stop.

    Raises:
        DataError: the class has no test images, none is left, or one cannot be read.
    """
    samples, why_not = unseen_test_images(predictor.info, data)
    if not samples:
        raise DataError(why_not)
    calibration, surface = predictor.info.calibration, surface_of(predictor.info)
    maps, scores = score_samples(predictor, samples, progress=progress, check=check)
    size = predictor.image_size
    ignored = None if surface.ignored is None else ignored_pixels(surface.ignored, height=size, width=size)
    if ignored is not None:
        maps[:, ignored] = 0
        scores = maps.max(axis=(1, 2))
    masks = load_masks(samples, predictor.image_size) if data.has_masks else None
    collected = EvaluationSet(
        labels=np.array([s.label for s in samples], np.int64),
        scores=scores,
        defect_types=tuple(s.defect_type for s in samples),
        maps=maps,
        masks=masks.masks if masks else None,
        has_mask=masks.has_mask if masks else np.zeros(len(samples), bool),
        ignored=ignored,
    )
    return Evaluation(
        dataset=data.dataset,
        class_name=data.name,
        metrics=evaluate(collected),
        by_defect=by_defect_type(collected),
        samples=samples,
        data=collected,
        vanished=tuple(_below(path, data.root) for path in masks.vanished) if masks else (),
        vanished_regions=masks.vanished_regions if masks else 0,
        test_selected=predictor.info.test_selected,
        image_size=predictor.image_size,
        calibration=None if calibration is None else calibration.version,
        ignores_pixels=ignored is not None,
        left_out=len(data.test) - len(samples),
    )


def unseen_test_images(info: ModelInfo, data: DatasetClass) -> tuple[tuple[Sample, ...], str]:
    """Test images that a model can be measured on: those it has not learnt from; and where there are none, why.

    Raises:
        ImageError: an image cannot be read.
    """
    samples = unseen_samples(info, data.test)
    if samples:
        return samples, ""
    if data.test:
        return (), (
            f"All {len(data.test)} test images of {data.name} are ones that this model was trained or calibrated with; "
            "evaluation needs images it has not seen."
        )
    return (), (
        f"The class {data.name} of {data.dataset} has no test images; evaluation needs images in test/good, and in a "
        "folder for each type of defect."
    )


def _below(path: Path, root: Path) -> str:
    """Path as a reader knows it: relative to the class, unless a split file names an image elsewhere."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def score_samples(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Maps (N, S, S) and scores (N,), both float32, of samples in their order.

    Raises:
        ImageError: an image cannot be read.
        StorageError: the maps fit neither in memory nor on the disk.
    """
    size = predictor.image_size
    maps = scratch_array((len(samples), size, size), np.float32, what="The anomaly maps of the test images")
    scores = np.empty(len(samples), np.float32)
    for places, images in iter_images(samples, size, batch=BATCH):
        if check is not None:
            check()
        found = predictor.batch(images)
        maps[places.start : places.stop] = found.maps
        scores[places.start : places.stop] = found.scores
        if progress is not None:
            progress(places.stop, len(samples))
    return maps, scores
