"""Inspections as JSON and as rows of tables."""

import math
from dataclasses import asdict
from typing import Any

from skrd4ad.errors import ConfigError
from skrd4ad.services.inspection.inspect import Inspection
from skrd4ad.types import Region


def to_record(inspection: Inspection, *, mm_per_pixel: float | None = None) -> dict[str, Any]:
    """JSON-ready form; with a scale, in mm for a pixel of the image, regions have area_mm2, box_mm and centroid_mm too.

    Raises:
        ConfigError: the scale is not above 0.
    """
    prediction = inspection.prediction
    return {
        "path": inspection.name,
        "score": inspection.score,
        "raw_score": None if prediction is None else prediction.score,
        "verdict": inspection.verdict,
        "threshold": inspection.threshold,
        "review_threshold": inspection.review_threshold,
        "calibration": inspection.calibration,
        "view": inspection.view,
        "refusal": inspection.refusal,
        "regions": [_region_record(region, mm_per_pixel) for region in inspection.regions],
        "error": inspection.error,
    }


def _region_record(region: Region, mm_per_pixel: float | None) -> dict[str, Any]:
    record = asdict(region)
    if mm_per_pixel is None:
        return record
    if not (math.isfinite(mm_per_pixel) and mm_per_pixel > 0):
        raise ConfigError(f"The scale is {mm_per_pixel} mm a pixel; allowed: above 0.")
    return record | {
        "area_mm2": region.area * mm_per_pixel**2,
        "box_mm": tuple(edge * mm_per_pixel for edge in region.box),
        "centroid_mm": tuple(place * mm_per_pixel for place in region.centroid),
    }


def image_row(inspection: Inspection) -> dict[str, Any]:
    """One row of a table of images."""
    record = to_record(inspection)
    regions = record.pop("regions")
    return {**record, "regions": len(regions), "area": sum(region["area"] for region in regions)}
