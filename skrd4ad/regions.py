"""What counts of an anomaly map: its pixels, its score and verdict, and its connected regions above a threshold."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError
from skrd4ad.types import Region


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoringMask:
    """Which pixels of a model's maps count."""

    min_area: int = 1
    """Pixels of the map; a smaller region does not count."""
    ignored: NDArray[np.bool_] | None = None
    """(H, W) of any size, true where the image is ignored; None when nothing is."""


def region_mask(anomaly_map: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """(H, W) bool: pixels of a map (H, W) strictly above a threshold, as a part is rejected strictly above its limit. A
    NaN is above nothing. The comparison is in double precision, so a limit is not rounded to the map's type."""
    if anomaly_map.ndim != 2 or anomaly_map.size == 0:
        raise DataError(f"The anomaly map has the shape {anomaly_map.shape}; allowed: (H, W), at least one pixel.")
    return np.asarray(anomaly_map > np.float64(threshold))


def find_regions(anomaly_map: NDArray[np.floating], threshold: float, *, min_area: int = 1) -> list[Region]:
    """8-connected regions of a map (H, W) strictly above a threshold and of ``min_area`` pixels, highest peak first."""
    mask = region_mask(anomaly_map, threshold)
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    inside = labels[mask].astype(np.intp)
    values = anomaly_map[mask].astype(np.float64)
    sums = np.bincount(inside, weights=values, minlength=count)
    peaks = np.full(count, -np.inf)
    np.maximum.at(peaks, inside, values)

    regions = []
    for label in range(1, count):  # label 0 is the background
        x, y, width, height, area = (int(value) for value in stats[label])
        if area >= min_area:
            box, centroid = (x, y, x + width, y + height), (float(centroids[label][0]), float(centroids[label][1]))
            mean = float(sums[label] / area)
            regions.append(Region(area=area, peak=float(peaks[label]), mean=mean, box=box, centroid=centroid))
    return sorted(regions, key=lambda region: -region.peak)


def ignored_pixels(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """A mask drawn on an image at the size of its map: (height, width). A map pixel is ignored as soon as a part of it
    is, so that nothing of an ignored region is left at its border."""
    counts = cv2.integral(mask.astype(np.uint8))
    # first pixel of the mask, and the one after the last, that each row and column of the map touches
    (top, bottom), (left, right) = (
        (np.arange(side) * pixels // side, -(-(np.arange(side) + 1) * pixels // side))
        for side, pixels in ((height, mask.shape[0]), (width, mask.shape[1]))
    )
    inside = counts[bottom][:, right] - counts[top][:, right] - counts[bottom][:, left] + counts[top][:, left]
    return np.asarray(inside > 0)


def muted_map(anomaly_map: NDArray[np.float32], mask: ScoringMask) -> NDArray[np.float32]:
    """The map, (h, w) of any size, with 0 where it is ignored; the same array when nothing is ignored."""
    if mask.ignored is None:
        return anomaly_map
    return np.where(ignored_pixels(mask.ignored, *anomaly_map.shape), np.float32(0), anomaly_map)


def score_under(anomaly_map: NDArray[np.float32], mask: ScoringMask) -> float:
    """Highest level at which some 8-connected region of the muted map (h, w) has at least ``min_area`` pixels. With a
    smallest region of one pixel this is the maximum. The score is above a threshold exactly when :func:`find_regions`
    finds a region above it that counts."""
    muted = muted_map(anomaly_map, mask)
    if mask.min_area <= 1:
        return float(muted.max())
    if mask.min_area > muted.size:
        raise DataError(f"The smallest region is {mask.min_area} pixels; allowed: up to {muted.size}, the map.")
    # by bisection over the map's own values: a region that exists at one level exists at every lower one
    levels = np.sort(muted, axis=None)
    # with k pixels at or above a level no region can be larger than k; the lowest level always holds the whole map
    low, high = 0, muted.size - mask.min_area
    while low < high:
        middle = (low + high + 1) // 2
        above = (muted >= levels[middle]).view(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
        if stats[1:, cv2.CC_STAT_AREA].max(initial=0) >= mask.min_area:
            low = middle
        else:
            high = middle - 1
    return float(levels[low])


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
