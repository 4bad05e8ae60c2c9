"""All metrics of a model on a test set."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.dataset import load_masks
from skrd4ad.errors import DataError, ImageError
from skrd4ad.inference.authors import authors_metrics
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import Inspection, ignored_of, predict_images
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.inference.tiling import Tiling
from skrd4ad.metrics.evaluation import Metrics, by_defect_type, by_mask_class, evaluate
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import unseen_samples
from skrd4ad.regions import ScoringMask, ignored_pixels
from skrd4ad.scratch import scratch_array
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass, EvaluationSet, ImageSize, Sample, height_width
from skrd4ad.visualize import resize_map

BATCH = 16
Record = Callable[[Iterator[Inspection]], Iterator[Inspection]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """Metrics of a model on a test set, and what they were computed from."""

    dataset: str
    class_name: str
    metrics: Metrics
    by_defect: dict[str, Metrics]
    by_mask_class: dict[str, Metrics]
    """Of each class of defect that the masks tell apart; empty where they do not."""
    authors: dict[str, float]
    """Metrics that the authors of the data set use, by their names."""
    samples: tuple[Sample, ...]
    data: EvaluationSet
    verdict_scores: NDArray[np.float64]
    """(N,): as the scores in ``data``, without regions that are too small to count."""
    refused: NDArray[np.bool_]
    """(N,): cannot be judged, as it is unlike the training images."""
    vanished: tuple[str, ...]
    """Images whose mask has no pixel left at the size of the maps."""
    vanished_regions: int
    """Regions of masks of which nothing is left at the size of the maps, so that no metric can count them."""
    test_selected: bool
    image_size: ImageSize
    calibration: int | None = None
    """Version of the model's calibration; it changes figures only where it ignores pixels."""
    ignores_pixels: bool = False
    """Pixels that the calibration ignores were left out of scores, maps and pixel metrics."""
    masks_ignore: bool = False
    """Pixels that the masks ignore were left out of pixel metrics."""
    in_tiles: int = 0
    left_out: int = 0
    """Test images that the model has learnt from or takes its limits from: people had labelled them good."""

    @property
    def protocol(self) -> str:
        """How it was measured, in words."""
        parts = [
            f"Raw scores without the pixels that calibration version {self.calibration} ignores; they are left out of "
            "scores, maps and pixel metrics."
            if self.ignores_pixels
            else "Raw scores.",
            "AUPRO: pooled test set, exact thresholds, 8-connected regions, FPR to 0.30 (aupro) and 0.05 (aupro_005); "
            "aupro_paper: the original code's per-image, 200-threshold form.",
            "Epoch selected on this test set." if self.test_selected else "Nothing was fitted on test images.",
        ]
        if self.masks_ignore:
            parts.append("Pixels that the masks ignore are left out of pixel metrics.")
        if self.in_tiles:
            parts.append(f"{self.in_tiles} images were seen in tiles, as Inspect sees them.")
        if self.left_out:
            parts.append(
                f"{self.left_out} test images were left out: people labelled them good, and the model was trained or "
                "calibrated with them. These figures are of a smaller test set than the published one."
            )
        return " ".join(parts)


def evaluate_model(
    predictor: Predictor, data: DatasetClass, *, record: Record = iter, task: Task = QUIET
) -> Evaluation:
    """Score the test images of a class that the model has not seen, and compute every metric.

    What is above the budget of :mod:`skrd4ad.scratch` is in files: maps and masks take 5 bytes a pixel, the pool of the
    pixel metrics 4 more. ``record`` passes the inspections on, and may keep their predictions.
    """
    samples, why_not = unseen_test_images(predictor.info, data, task)
    if not samples:
        raise DataError(why_not)
    calibration, mask = predictor.info.calibration, scoring_mask_of(predictor.info)
    scoring = task.part(0, 0.9, "scoring image {done} of {total}")
    scored = score_samples(predictor, samples, mask=mask, record=record, task=scoring)
    size = predictor.image_size
    measuring = task.part(0.9, 1, "measuring")
    measuring.report(0, 0)
    masks = measuring.beside(lambda: load_masks(samples, size)) if data.has_masks else None
    collected = EvaluationSet(
        labels=np.array([s.label for s in samples], np.int64),
        scores=scored.scores,
        defect_types=tuple(s.defect_type for s in samples),
        maps=scored.maps,
        masks=masks.masks if masks else None,
        has_mask=masks.has_mask if masks else np.zeros(len(samples), bool),
        ignored=_all_ignored(scored.ignored, None if masks is None else masks.ignored),
        mask_classes=masks.classes if masks else (),
        class_of=masks.class_of if masks else None,
    )
    metrics = measuring.beside(lambda: evaluate(collected))
    root = data.root  # a split file may name images elsewhere
    vanished = [p.relative_to(root) if p.is_relative_to(root) else p for p in (masks.vanished if masks else ())]
    return Evaluation(
        dataset=data.dataset,
        class_name=data.name,
        metrics=metrics,
        by_defect=measuring.beside(lambda: by_defect_type(collected)),
        by_mask_class=measuring.beside(lambda: by_mask_class(collected)),
        authors=measuring.beside(lambda: authors_metrics(data, samples, collected, metrics, calibration=calibration)),
        masks_ignore=masks is not None and masks.ignored is not None,
        samples=samples,
        data=collected,
        verdict_scores=scored.verdict_scores,
        refused=scored.refused,
        in_tiles=scored.in_tiles,
        vanished=tuple(map(str, vanished)),
        vanished_regions=masks.vanished_regions if masks else 0,
        test_selected=predictor.info.test_selected,
        image_size=predictor.image_size,
        calibration=None if calibration is None else calibration.version,
        ignores_pixels=scored.ignored is not None,
        left_out=len(data.test) - len(samples),
    )


def _all_ignored(everywhere: NDArray[np.bool_] | None, of_images: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """(H, W) or (N, H, W): what the calibration ignores and what the masks do."""
    if everywhere is None or of_images is None:
        return everywhere if of_images is None else of_images
    return of_images | everywhere


def unseen_test_images(info: ModelInfo, data: DatasetClass, task: Task = QUIET) -> tuple[tuple[Sample, ...], str]:
    """Test images that a model can be measured on: those it has not learnt from; and where there are none, why."""
    samples = unseen_samples(info, data.test, task)
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


@dataclass(frozen=True, eq=False)
class ScoredSamples:
    """What a model says of N samples, in their order."""

    maps: NDArray[np.float32]
    """(N, H, W), 0 where ignored; of an image seen in tiles the joint map at this size."""
    scores: NDArray[np.float32]
    """(N,): the highest pixel that is not ignored; what metrics rank by."""
    verdict_scores: NDArray[np.float64]
    """(N,): as ``scores``, without regions that are too small to count; what limits are compared with."""
    refused: NDArray[np.bool_]
    """(N,): cannot be judged, as it is unlike the training images."""
    in_tiles: int
    ignored: NDArray[np.bool_] | None
    """(H, W), or (N, H, W) where the ignored regions lie on the parts; None when nothing is ignored."""


def score_samples(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    mask: ScoringMask | None = None,
    tiling: Tiling = "auto",
    record: Record = iter,
    task: Task = QUIET,
) -> ScoredSamples:
    """Maps and scores of samples. ``mask``: which pixels count; None for all. ``record``: passes the inspections on,
    and may keep their predictions."""
    size = predictor.image_size
    maps = scratch_array((len(samples), *height_width(size)), np.float32, what="The anomaly maps of the test images")
    scores, verdict_scores = np.empty(len(samples), np.float32), np.empty(len(samples), np.float64)
    refused, in_tiles = np.zeros(len(samples), bool), 0
    ignored, on_parts = None, predictor.info.alignment is not None
    if mask is not None and mask.ignored is not None:
        ignored = ignored_pixels(mask.ignored, *height_width(size))
        if on_parts:
            ignored = scratch_array(maps.shape, np.bool_, what="The ignored pixels of the test images")
    sources = ((str(sample.path), sample.path) for sample in samples)
    found = predict_images(
        predictor, sources, limits=None, mask=mask, tiling=tiling, batch=BATCH, task=Task(check=task.check)
    )
    for index, inspection in enumerate(record(found)):
        if inspection.scored_map is None or inspection.score is None:
            raise ImageError(str(inspection.error))
        maps[index] = resize_map(inspection.scored_map, *height_width(size))
        scores[index] = inspection.scored_map.max()
        verdict_scores[index] = inspection.score
        refused[index] = inspection.refusal is not None
        in_tiles += inspection.prediction is not None and inspection.prediction.in_tiles
        if ignored is not None and on_parts and mask is not None:
            assert inspection.prediction is not None and inspection.image is not None
            here = ignored_of(inspection.prediction, mask, inspection.image.shape, height_width(size))
            ignored[index] = False if here is None else ignored_pixels(here, *height_width(size))
        task.report(index + 1, len(samples))
    return ScoredSamples(maps, scores, verdict_scores, refused, in_tiles, ignored)
