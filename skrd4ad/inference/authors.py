"""The metric that the authors of a published data set use, beside this program's own, named as theirs."""

from collections.abc import Iterator, Sequence

import numpy as np

from skrd4ad.data.images.read import read_mask_values, resize_mask
from skrd4ad.data.layouts.hints import read_hints
from skrd4ad.data.layouts.mvtec import read_defects_config
from skrd4ad.metrics.curves import pixel_point
from skrd4ad.metrics.evaluation import Metrics
from skrd4ad.metrics.spro import SaturatedRegion, au_spro
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.types import DatasetClass, EvaluationSet, ImageSize, Sample

SEG_F1 = "SegF1 at the pixel limit from good images (MVTec AD 2)"
AUPRO_005 = "AUPRO 0.05 (MVTec AD 2)"
LOCO_TYPES = {"logical_anomalies": "logical", "structural_anomalies": "structural"}
SPRO = "AU-sPRO 0.05 (MVTec LOCO{})"


def authors_metrics(
    data: DatasetClass,
    samples: Sequence[Sample],
    collected: EvaluationSet,
    metrics: Metrics,
    *,
    calibration: Calibration | None,
) -> dict[str, float]:
    """Figures by their names, 0 to 1, at the size of the maps; none where the authors use none of their own.

    AD 2: F1 of all labelled pixels above the limit that the model's good images gave, and AUPRO up to an FPR of 0.05.
    LOCO: the saturated overlap up to an FPR of 0.05 of logical and structural anomalies, and the mean of both.
    """
    if collected.maps is None or collected.masks is None:
        return {}
    layout = read_hints(data.layout).layout
    if layout == "mvtec-ad2":
        own_limit = None if calibration is None or calibration.test_fitted else calibration.pixel_threshold
        found = {SEG_F1: None if own_limit is None else seg_f1(collected, threshold=own_limit)}
        found[AUPRO_005] = metrics.aupro_005
    elif layout == "mvtec-loco":
        found = _loco(data, samples, collected)
    else:
        return {}
    return {name: value for name, value in found.items() if value is not None}


def seg_f1(data: EvaluationSet, *, threshold: float) -> float | None:
    """F1 of the labelled pixels of a test set above a threshold, pooled; None where no pixel is defect."""
    point = pixel_point(data, threshold=threshold)
    if point is None or point.recall is None:
        return None
    if not point.recall or not point.precision:
        return 0.0
    return 2 * point.precision * point.recall / (point.precision + point.recall)


def _loco(data: DatasetClass, samples: Sequence[Sample], collected: EvaluationSet) -> dict[str, float | None]:
    assert collected.maps is not None and collected.masks is not None
    size = collected.maps.shape[1], collected.maps.shape[2]
    found: dict[str, float | None] = {}
    for kind, title in LOCO_TYPES.items():
        chosen = (collected.labels == 0) | (np.array(collected.defect_types) == kind)
        regions = list(_regions(data, samples, kind, size=size))
        labelled = chosen & collected.has_mask
        value = au_spro(collected.maps, collected.masks, regions, labelled=labelled) if regions else None
        found[SPRO.format(f", {title}")] = value
    values = [value for value in found.values() if value is not None]
    return {SPRO.format(", mean of both"): float(np.mean(values)) if len(values) == len(LOCO_TYPES) else None, **found}


def _regions(data: DatasetClass, samples: Sequence[Sample], kind: str, *, size: ImageSize) -> Iterator[SaturatedRegion]:
    """Each mask of a type of defect, one region a file as its authors count them, at the size of the maps."""
    thresholds = {int(str(entry["pixel_value"])): entry for entry in read_defects_config(data.root)}
    for index, sample in enumerate(samples):
        for path in sample.masks if sample.defect_type == kind else ():
            reading = read_mask_values(path)
            small = resize_mask(reading.defect, size)
            area = float(reading.defect.sum())
            if not small.any():
                continue
            entry = thresholds.get(int(next(iter(reading.values), "0")), {})
            given = float(str(entry.get("saturation_threshold", 1)))
            saturation = given * area if entry.get("relative_saturation", True) else given
            share = min(saturation, area) / area
            yield SaturatedRegion(index, small, max(share * float(small.sum()), 1e-9))
