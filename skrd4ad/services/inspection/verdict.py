"""From an anomaly map to a verdict: the limits that hold for an image, and what they make of its map."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError
from skrd4ad.inference.scoring import Surface, muted_map, score_under, surface_of
from skrd4ad.model_folder.calibration import verdict_of
from skrd4ad.model_folder.folder import read_history
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import find_regions
from skrd4ad.types import Region, Verdict


@dataclass(frozen=True, eq=False, kw_only=True)
class Limits:
    """Against what an image is judged: a model's calibration, or a threshold given by hand."""

    reject: float
    """A part is NG above this score."""
    review: float | None
    """A part is for REVIEW above this score; None for no review."""
    pixel: float
    """A pixel is defective above this."""
    heat_top: float
    """Score at which the heat map saturates."""
    surface: Surface
    """Which pixels count; the calibration's also where the threshold is given by hand."""
    calibration: int | None
    """Version of the calibration; None when the threshold is given by hand."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Judgement:
    """What limits make of a map."""

    score: float
    """Score of the regions and pixels that count."""
    verdict: Verdict
    judged_map: NDArray[np.float32]
    """The map with 0 where it is ignored."""
    regions: tuple[Region, ...]
    """Regions that count above the pixel limit, highest peak first, in pixels of the map."""


def limits_of(info: ModelInfo, threshold: float | None = None) -> Limits | None:
    """The limits of a model; None when it has no calibration and no threshold is given.

    Args:
        info: the model.
        threshold: NG above this score, in place of the calibration's thresholds; then nothing is for review.

    Raises:
        ConfigError: the threshold is not a finite number.
        CheckpointError: the mask of ignored regions is missing or damaged.
    """
    calibration = info.calibration
    if threshold is None:
        if calibration is None:
            return None
        return Limits(
            reject=calibration.image_threshold,
            review=calibration.review_threshold,
            pixel=calibration.pixel_threshold,
            heat_top=calibration.heat_top,
            surface=surface_of(info),
            calibration=calibration.version,
        )
    if not math.isfinite(threshold):
        raise ConfigError(f"The threshold is {threshold}; allowed: any finite number, in the unit of the scores.")
    # beyond the calibration's scale, it goes on by the threshold's own size
    top = 2 * threshold if threshold > 0 else threshold + 1
    if calibration is not None and calibration.heat_top > threshold:
        top = calibration.heat_top
    return Limits(
        reject=threshold, review=None, pixel=threshold, heat_top=top, surface=surface_of(info), calibration=None
    )


def judge(anomaly_map: NDArray[np.float32], limits: Limits) -> Judgement:
    """Score, verdict and regions of a map.

    Args:
        anomaly_map: (h, w), raw scores.
        limits: as :func:`limits_of` gives them.

    Raises:
        DataError: the smallest region that counts is larger than the map.
    """
    score = score_under(anomaly_map, limits.surface)
    muted = muted_map(anomaly_map, limits.surface)
    regions = find_regions(muted, limits.pixel, min_area=limits.surface.min_area)
    return Judgement(
        score=score,
        verdict=verdict_of(score, review=limits.review, reject=limits.reject),
        judged_map=muted,
        regions=tuple(regions),
    )


def comparable_versions(info: ModelInfo) -> tuple[int | None, ...]:
    """Versions of a model's calibration under which a score counts the same pixels as under the current one.

    A limit by hand has no version, here None: its scores hold when no version ever left pixels or small regions out.

    Raises:
        CheckpointError: the calibration of the model is damaged.
    """
    history = read_history(info.folder)
    if history is None:
        return (None,)
    counted = {each.version: (each.min_area, each.ignore) for each in history.versions}
    same = tuple(version for version, what in counted.items() if what == counted[history.current_version])
    return (None, *same) if set(counted.values()) == {(1, None)} else same
