"""The image score that a verdict uses: the raw map, without ignored pixels and without regions too small to count."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_mask
from skrd4ad.digests import content_digest
from skrd4ad.errors import CheckpointError, DataError, ImageError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.regions import region_mask


@dataclass(frozen=True, eq=False, kw_only=True)
class Surface:
    """Which pixels of a model's maps count."""

    min_area: int = 1
    """Pixels of the map; a smaller region does not count."""
    ignored: NDArray[np.bool_] | None = None
    """(H, W) of any size, true where the image is ignored; None when nothing is."""


def surface_of(info: ModelInfo) -> Surface:
    """Which pixels count under the current calibration of a model; all of them when it has none.

    Raises:
        CheckpointError: the mask of ignored regions is missing or damaged.
    """
    calibration = info.calibration
    if calibration is None:
        return Surface()
    if calibration.ignore is None:
        return Surface(min_area=calibration.min_area)
    try:
        mask = read_mask(info.folder / calibration.ignore)
    except ImageError as error:
        raise CheckpointError(
            f"The mask of ignored regions cannot be read: {error} Restore it, or calibrate the model again."
        ) from error
    return Surface(min_area=calibration.min_area, ignored=mask)


def surface_digest(surface: Surface) -> str:
    """The same text for surfaces under which every map has the same score."""
    if surface.ignored is None or not surface.ignored.any():
        return f"{surface.min_area}"
    bits = np.packbits(surface.ignored).tobytes()
    return f"{surface.min_area}|{surface.ignored.shape}|{content_digest(bits)}"


def ignored_pixels(mask: NDArray[np.bool_], *, height: int, width: int) -> NDArray[np.bool_]:
    """A mask drawn on an image at the size of its map: (height, width).

    A map pixel is ignored as soon as a part of it is, so that nothing of an ignored region is left at its border.
    """
    counts = cv2.integral(mask.astype(np.uint8))
    top, bottom = _parts_of(mask.shape[0], height)
    left, right = _parts_of(mask.shape[1], width)
    inside = counts[bottom][:, right] - counts[top][:, right] - counts[bottom][:, left] + counts[top][:, left]
    return np.asarray(inside > 0)


def muted_map(anomaly_map: NDArray[np.float32], surface: Surface) -> NDArray[np.float32]:
    """The map, (h, w) of any size, with 0 where it is ignored; the same array when nothing is ignored."""
    if surface.ignored is None:
        return anomaly_map
    height, width = anomaly_map.shape
    return np.where(ignored_pixels(surface.ignored, height=height, width=width), np.float32(0), anomaly_map)


def score_under(anomaly_map: NDArray[np.float32], surface: Surface) -> float:
    """Highest level at which some 8-connected region of the muted map has at least ``min_area`` pixels.

    With a smallest region of one pixel this is the maximum. The score is above a threshold exactly when
    :func:`skrd4ad.regions.find_regions` finds a region above it that counts.

    Args:
        anomaly_map: (h, w), raw scores.
        surface: which pixels count.

    Raises:
        DataError: the smallest region is larger than the map.
    """
    muted = muted_map(anomaly_map, surface)
    if surface.min_area <= 1:
        return float(muted.max())
    if surface.min_area > muted.size:
        raise DataError(f"The smallest region is {surface.min_area} pixels; allowed: up to {muted.size}, the map.")
    return _highest_level(muted, surface.min_area)


def without_small_regions(anomaly_map: NDArray[np.float32], *, threshold: float, min_area: int) -> NDArray[np.float32]:
    """The map lowered to the threshold where a region above it is too small to count, so that nothing shows there."""
    if min_area <= 1:
        return anomaly_map
    above = region_mask(anomaly_map, threshold)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(above.view(np.uint8), connectivity=8)
    too_small = above & (stats[:, cv2.CC_STAT_AREA] < min_area)[labels]
    # rounded down where the map's type cannot hold the threshold: the pixel must not stay above it
    limit = np.float32(threshold)
    if float(limit) > threshold:
        limit = np.nextafter(limit, np.float32(-np.inf))
    return np.where(too_small, limit, anomaly_map)


def _parts_of(pixels: int, places: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First pixel, and the one after the last, that each of some equal parts of a row of pixels touches."""
    numbers = np.arange(places)
    return numbers * pixels // places, -(-(numbers + 1) * pixels // places)


def _highest_level(muted: NDArray[np.float32], min_area: int) -> float:
    """By bisection over the map's own values: a region that exists at one level exists at every lower one."""
    levels = np.sort(muted, axis=None)
    # with k pixels at or above a level no region can be larger than k; the lowest level always holds the whole map
    low, high = 0, muted.size - min_area
    while low < high:
        middle = (low + high + 1) // 2
        if _largest_region(muted >= levels[middle]) >= min_area:
            low = middle
        else:
            high = middle - 1
    return float(levels[low])


def _largest_region(mask: NDArray[np.bool_]) -> int:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
