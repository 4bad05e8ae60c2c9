"""What the current calibration makes of an evaluation: confusion, escapes, operating points, and images to open."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import DataError
from skrd4ad.metrics.curves import OperatingPoint, image_point, pixel_point
from skrd4ad.metrics.escapes import (
    ConfusionCell,
    EscapeGroup,
    EscapesBySize,
    OutcomeRate,
    confusion,
    escapes_by_size,
    escapes_by_type,
    outcome_rates,
)
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.evaluation.key import changed_since
from skrd4ad.services.evaluation.result import EvaluatedImage, MeasuredImages, StoredEvaluation


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What limits do to the images of an evaluation."""

    calibration: Calibration
    confusion: tuple[ConfusionCell, ...]
    outcomes: tuple[OutcomeRate, ...]
    by_type: tuple[EscapeGroup, ...]
    by_size: EscapesBySize | None
    """None when no defect has a mask."""
    image_point: OperatingPoint
    """At the reject limit, over verdict scores."""
    review_point: OperatingPoint | None
    """At the review limit; None without review."""
    pixel_point: OperatingPoint | None
    """At the pixel limit; None without masks, or where the maps were not kept."""
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """What ``skrd4ad evaluate --json`` gives: counts, shares and 95 % intervals as ``[low, high]``."""
        limits = self.calibration
        return {
            "version": limits.version,
            "reject": limits.image_threshold,
            "review": limits.review_threshold,
            "test_fitted": limits.test_fitted,
            **{
                each.name: {
                    "count": each.count,
                    "total": each.total,
                    "share": each.share,
                    "interval": [each.interval.low, each.interval.high],
                }
                for each in self.outcomes
            },
            "by_defect": {
                group.name: {
                    "total": len(group.indices),
                    "escapes": len(group.escaped),
                    "for_review": len(group.reviewed),
                    "rejected": len(group.rejected),
                    "cannot_judge": len(group.refused),
                    "escape_share": group.rate,
                    "interval": [group.interval.low, group.interval.high],
                }
                for group in self.by_type
            },
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedImage:
    """One test image to look at."""

    about: EvaluatedImage
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as the file is."""
    anomaly_map: NDArray[np.float32]
    """(H, W) raw scores, 0 where the calibration ignores them."""
    mask: NDArray[np.bool_] | None
    """(H, W) at the size of the map; None without a mask."""
    warning: str
    """Says that the file is not the one that was measured any more; empty when it is."""


def findings(stored: StoredEvaluation, calibration: Calibration) -> Findings:
    """What a calibration makes of an evaluation."""
    reject, review = calibration.image_threshold, calibration.review_threshold
    labels, scores = stored.labels, stored.verdict_scores
    types = [image.defect_type for image in stored.images]
    refused = [image.refused for image in stored.images]
    areas = [image.mask_area for image in stored.images]
    measured = any(area is not None for area in areas)
    cells = confusion(labels, scores, reject=reject, review=review, refused=refused)
    return Findings(
        calibration=calibration,
        confusion=cells,
        outcomes=outcome_rates(cells),
        by_type=escapes_by_type(labels, scores, types, reject=reject, review=review, refused=refused),
        by_size=escapes_by_size(labels, scores, areas, reject=reject, review=review, refused=refused)
        if measured
        else None,
        image_point=image_point(labels, scores, threshold=reject),
        review_point=None if review is None else image_point(labels, scores, threshold=review),
        pixel_point=pixel_point(stored.evaluation_set(), threshold=calibration.pixel_threshold)
        if measured and stored.has_maps
        else None,
        notes=_notes(stored, calibration),
    )


def open_image(measured: MeasuredImages, index: int) -> OpenedImage:
    """An image with its map and mask.

    Raises:
        DataError: it, its map or its mask cannot be read, or it may not be opened.
    """
    if not 0 <= index < len(measured.images):
        raise DataError(f"There is no image {index}; this evaluation has the images 0 to {len(measured.images) - 1}.")
    path = measured.file_of(index)
    changed = changed_since(measured.images[index])
    return OpenedImage(
        about=measured.images[index],
        image=read_image(path, levels=measured.summary.settings.get("levels")),
        anomaly_map=measured.map_of(index),
        mask=measured.mask_of(index),
        warning="This file has changed since it was measured: map, mask and score are those of the earlier image."
        if changed
        else "",
    )


def _notes(stored: StoredEvaluation, calibration: Calibration) -> tuple[str, ...]:
    notes = []
    if any(image.refused is None for image in stored.images):
        notes.append(
            "An earlier build measured this and did not ask which images cannot be judged. Evaluate again to see."
        )
    if not stored.has_maps:
        notes.append(
            "These figures came with the model. Its maps are kept at a quarter of their size, to look at. Evaluate "
            "again to compare models, or for the operating point of the pixels."
        )
    if calibration.test_fitted:
        notes.append(
            "The limits are test-fitted: test images had a part in their choice, so escapes and false rejects counted "
            "here are optimistic."
        )
    if stored.summary.min_area > 1:
        notes.append(
            f"A part is judged by regions of at least {stored.summary.min_area} pixels of the map, while the curves "
            "rank by the highest pixel: the operating point of images may lie beside its curve, and that of pixels "
            "counts smaller regions too."
        )
    return tuple(notes)
