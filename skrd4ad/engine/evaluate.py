"""All metrics of a model on a test set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from skrd4ad.data.dataset import iter_images, load_masks
from skrd4ad.engine.predict import Predictor
from skrd4ad.errors import DataError
from skrd4ad.metrics.evaluation import Metrics, by_defect_type, evaluate
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: the metrics at the top, then their breakdown and their protocol."""
        return {
            **self.metrics.to_dict(),
            "by_defect": {name: metrics.to_dict() for name, metrics in self.by_defect.items()},
            "dataset": self.dataset,
            "class_name": self.class_name,
            "image_size": self.image_size,
            "vanished": list(self.vanished),
            "vanished_regions": self.vanished_regions,
            "test_selected": self.test_selected,
            "protocol": (
                "Raw scores. AUPRO: pooled test set, exact thresholds, 8-connected regions, FPR to 0.30 (aupro) and "
                "0.05 (aupro_005); aupro_paper: the original code's per-image, 200-threshold form. "
                + ("Epoch selected on this test set." if self.test_selected else "Nothing was fitted on test images.")
            ),
            "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def evaluate_model(
    predictor: Predictor,
    data: DatasetClass,
    *,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> Evaluation:
    """Score the test images of a class and compute every metric.

    Memory grows linearly with the images: 4 bytes a map pixel and 1 a mask pixel, and no more than as much again.

    Args:
        predictor: the model.
        data: a class with test images.
        progress: called with images done and total.
        check: called between batches; may raise to stop.

    Raises:
        DataError: the class has no test images, or one cannot be read.
    """
    samples = data.test
    if not samples:
        raise DataError(
            f"The class {data.name} of {data.dataset} has no test images; evaluation needs images in test/good, and in "
            "a folder for each type of defect."
        )
    scored = score_samples(predictor, samples, progress=progress, check=check)
    masks = load_masks(samples, predictor.image_size) if data.has_masks else None
    collected = EvaluationSet(
        labels=np.array([s.label for s in samples], np.int64),
        scores=scored[1],
        defect_types=tuple(s.defect_type for s in samples),
        maps=scored[0],
        masks=masks.masks if masks else None,
        has_mask=masks.has_mask if masks else np.zeros(len(samples), bool),
    )
    return Evaluation(
        dataset=data.dataset,
        class_name=data.name,
        metrics=evaluate(collected),
        by_defect=by_defect_type(collected),
        samples=samples,
        data=collected,
        vanished=tuple(str(path.relative_to(data.root)) for path in masks.vanished) if masks else (),
        vanished_regions=masks.vanished_regions if masks else 0,
        test_selected=predictor.info.test_selected,
        image_size=predictor.image_size,
    )


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
    """
    size = predictor.image_size
    maps = np.empty((len(samples), size, size), np.float32)
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
