"""Connected regions of an anomaly map above a threshold."""

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import DataError
from skrd4ad.types import Region


def region_mask(anomaly_map: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """(H, W) bool: pixels of a map (H, W) strictly above a threshold, as a part is rejected strictly above its limit.

    A NaN is above nothing. The comparison is in double precision, so a limit is not rounded to the map's type.
    """
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

    # label 0 is the background
    kept = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] >= min_area]
    kept.sort(key=lambda label: -peaks[label])
    return [_region(stats[label], centroids[label], peak=peaks[label], total=sums[label]) for label in kept]


def _region(stats: NDArray[np.int32], centroid: NDArray[np.float64], *, peak: float, total: float) -> Region:
    x, y, width, height, area = (int(value) for value in stats)
    return Region(
        area=area,
        peak=float(peak),
        mean=float(total / area),
        box=(x, y, x + width, y + height),
        centroid=(float(centroid[0]), float(centroid[1])),
    )
