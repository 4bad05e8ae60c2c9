"""Pixel metrics over the pooled pixels of a test set, exact: every distinct score is a threshold.

The pool is never put in order by an index array. The defect-free scores are sorted alone, in place, as float32; the
few pixels inside defects look up how many defect-free pixels lie above them. Every metric here is a sum over the
pixels inside defects, so it needs nothing else.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.ranking import F1Max, threshold_between
from skrd4ad.scratch import scratch_array

_SEARCHED = 1 << 15
"""Pixels inside masks that one thread looks up at once."""
_PART = 1 << 20
"""Pixels inside masks that are handled at once: bounds every temporary array at 8 MB."""


@dataclass(frozen=True, eq=False)
class PooledPixels:
    """The pixels of all labelled images of a test set."""

    defect_free: NDArray[np.float32]
    """(P,), ascending: scores of all pixels outside masks, those of good images included."""
    inside: NDArray[np.float32]
    """(Q,), ascending: scores of all pixels inside masks."""
    weights: NDArray[np.float64]
    """(Q,): 1 / (area of the pixel's region x number of regions); they sum to 1."""
    n_regions: int
    """8-connected regions in all masks."""

    @property
    def defined(self) -> bool:
        """Whether there are pixels of both kinds; no pixel metric exists otherwise."""
        return self.defect_free.size > 0 and self.inside.size > 0

    @cached_property
    def free_above(self) -> NDArray[np.int64]:
        """(Q,): how many defect-free pixels score above each pixel inside masks."""
        # the same as at or above, except where it ties
        above, free = self.free_at_or_above.copy(), self.defect_free
        ties = np.flatnonzero(free[free.size - np.maximum(above, 1)] == self.inside)
        above[ties] = free.size - np.searchsorted(free, self.inside[ties], side="right")
        return above

    @cached_property
    def free_at_or_above(self) -> NDArray[np.int64]:
        """(Q,): how many defect-free pixels score the same as, or above, each pixel inside masks."""
        # the processor waits for memory in a search, so several make good use of one core, let alone of two
        parts = np.array_split(self.inside, max(1, self.inside.size // _SEARCHED))
        with ThreadPoolExecutor(min(8, len(parts))) as pool:
            below = np.concatenate([*pool.map(lambda part: np.searchsorted(self.defect_free, part), parts)])
        return np.subtract(self.defect_free.size, below, out=below)


@dataclass(frozen=True, eq=False)
class ProCurve:
    """Points of a PRO curve for a chart; all arrays (K,), ordered by rising FPR."""

    fpr: NDArray[np.float64]
    """From 0 to exactly the limit."""
    pro: NDArray[np.float64]
    threshold: NDArray[np.float32]
    """A pixel counts as defective when its score is above it. The last point is interpolated at the limit and repeats
    the threshold of the point before it."""


def pool_pixels(
    maps: NDArray[np.float32],
    masks: NDArray[np.bool_],
    *,
    labelled: NDArray[np.bool_] | None = None,
    ignored: NDArray[np.bool_] | None = None,
) -> PooledPixels:
    """Pool the pixels of a test set and weigh those inside masks by region.

    ``maps``: (N, H, W) float32, finite. ``masks``: (N, H, W) bool, true inside defects, all false for good images.
    ``labelled``: (N,) bool, whether the pixels of an image are labelled; images where it is false are left out, all
    are used when it is None. ``ignored``: (H, W) bool, pixels that are left out of all images; what is left of a region
    counts as the region, or as several. Needs 4 bytes for every pixel outside masks, in a file when that is above the
    budget of :mod:`skrd4ad.scratch`, and about 30 for every one inside.

    Raises:
        DataError: a shape or type differs from these, or a map holds a number that is not finite.
        StorageError: the pixels fit neither in memory nor on the disk.
    """
    chosen = _chosen_images(maps, masks, labelled)
    if ignored is not None and ignored.shape != maps.shape[1:]:
        raise DataError(f"The ignored pixels have shape {ignored.shape}; allowed: {maps.shape[1:]}, that of a map.")
    kept = None if ignored is None else ~ignored
    n_kept = math.prod(maps.shape[1:]) if kept is None else int(np.count_nonzero(kept))
    pixels = scratch_array((len(chosen) * n_kept,), np.float32, what="The pixels of the test set")
    inside, weights, n_regions = [np.empty(0, np.float32)], [np.empty(0)], 0
    for place, i in enumerate(chosen):
        scores, mask = maps[i], masks[i] if kept is None else masks[i] & kept
        _require_finite(scores, image=int(i))
        own = pixels[place * n_kept : (place + 1) * n_kept]
        own[:] = scores.ravel() if kept is None else scores[kept]
        if mask.any():
            found = np.flatnonzero(mask if kept is None else mask[kept])
            inside.append(own[found])
            # out of the way: every score is finite, so these come last
            own[found] = np.inf
            share, regions = share_of_region(mask)
            weights.append(share)
            n_regions += regions
    pixels.sort()
    all_inside = np.concatenate(inside)
    order = np.argsort(all_inside)
    return PooledPixels(
        defect_free=pixels[: pixels.size - all_inside.size],
        inside=all_inside[order],
        weights=np.concatenate(weights)[order] / max(n_regions, 1),
        n_regions=n_regions,
    )


def pixel_auroc(pool: PooledPixels) -> float | None:
    """Chance that a pixel inside a defect scores above a defect-free one, ties counting half; None when undefined."""
    if not pool.defined:
        return None
    pairs = pool.defect_free.size * pool.inside.size
    lost = int(pool.free_above.sum()) + int(pool.free_at_or_above.sum())
    return 1 - lost / (2 * pairs)


def pixel_average_precision(pool: PooledPixels) -> float | None:
    """Precision of the pixels averaged over the steps of recall, without interpolation; None when undefined."""
    if not pool.defined:
        return None
    total = 0.0
    for part in _parts(pool):
        hits = _inside_at_or_above(pool, part)
        total += float((hits / (hits + pool.free_at_or_above[part])).sum())
    return total / pool.inside.size


def pixel_f1_max(pool: PooledPixels) -> F1Max | None:
    """The best F1 of the pixels over all thresholds, and the threshold that gives it; None when undefined."""
    if not pool.defined:
        return None
    best_f1, best_pixel = -1.0, 0
    for part in _parts(pool):
        hits = _inside_at_or_above(pool, part)
        f1 = 2 * hits / (hits + pool.free_at_or_above[part] + pool.inside.size)
        highest = f1.size - 1 - int(np.argmax(f1[::-1]))
        # of equally good thresholds the highest, and the parts come in ascending order
        if f1[highest] >= best_f1:
            best_f1, best_pixel = float(f1[highest]), part.start + highest
    score = pool.inside[best_pixel]
    return F1Max(best_f1, threshold_between(_next_lower(pool, score), score))


def aupro(pool: PooledPixels, *, fpr_limit: float = 0.3) -> float | None:
    """Area under the per-region overlap (PRO) over the false positive rate up to a limit, divided by the limit.

    MVTec's definition: PRO is the share found of each region, averaged over all regions of the test set; the FPR is
    taken over all defect-free pixels of the test set; every distinct score is a threshold, the curve is linear between
    them and interpolated at the limit. 0 to 1; None when there is no region or no defect-free pixel.

    Raises:
        ConfigError: ``fpr_limit`` is not above 0 and at most 1.
    """
    _require_limit(fpr_limit)
    if not pool.defined:
        return None
    # Each pixel of a region lifts PRO by its weight: at once, or along a line where it ties with defect-free pixels.
    # The area is thus a sum over these pixels alone.
    n, area = pool.defect_free.size, 0.0
    for part in _parts(pool):
        steps = _area_of_step(pool.free_above[part] / n, pool.free_at_or_above[part] / n, limit=fpr_limit)
        area += float(pool.weights[part] @ steps)
    # the weights sum to 1 only up to rounding
    return min(area / fpr_limit, 1.0)


def pro_curve(pool: PooledPixels, *, fpr_limit: float = 0.3, points: int = 400) -> ProCurve | None:
    """At most ``points`` exact points of the PRO curve up to a limit, for a chart; None when undefined.

    The points are spread evenly over the defect-free pixels up to the limit and over the pixels inside masks.

    Raises:
        ConfigError: ``fpr_limit`` is not above 0 and at most 1, or ``points`` is below 6.
    """
    _require_limit(fpr_limit)
    if points < 6:
        raise ConfigError(f"A PRO curve of {points} points was asked for; allowed: 6 or more.")
    if not pool.defined:
        return None
    n, each = pool.defect_free.size, (points - 2) // 2
    first = n - 1 - min(int(fpr_limit * n), n - 1)
    # the highest threshold above which the FPR is within the limit, and at which it reaches or passes it
    edge = pool.defect_free[first]
    candidates = np.concatenate(
        [
            pool.defect_free[_spread(first, n, each)],
            pool.inside[_spread(int(np.searchsorted(pool.inside, edge)), pool.inside.size, each)],
            [max(pool.defect_free[-1], pool.inside[-1])],
        ]
    )
    threshold = np.unique(candidates)[::-1]
    fpr, pro = rates_above(pool, threshold)
    fpr_at_edge = 1 - np.searchsorted(pool.defect_free, edge) / n
    pro_at_edge = float(pool.weights[np.searchsorted(pool.inside, edge) :].sum())
    share = float(np.clip((fpr_limit - fpr[-1]) / (fpr_at_edge - fpr[-1]), 0, 1))
    return ProCurve(
        fpr=np.append(fpr, fpr_limit),
        pro=np.append(pro, pro[-1] + share * (pro_at_edge - pro[-1])),
        threshold=np.append(threshold, edge),
    )


def rates_above(
    pool: PooledPixels, thresholds: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FPR and PRO of the pixels above each threshold, both (T,); the pool has pixels of both kinds."""
    n = pool.defect_free.size
    fpr = (n - np.searchsorted(pool.defect_free, thresholds, side="right")) / n
    # summed from the top, so that it is exactly 0 where nothing lies above; rounding may carry the sum past 1
    overlap = np.minimum(np.append(np.cumsum(pool.weights[::-1])[::-1], 0.0), 1.0)
    return fpr, overlap[np.searchsorted(pool.inside, thresholds, side="right")]


def share_of_region(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """For each pixel inside a mask, row by row, 1 / area of its 8-connected region, and the number of regions."""
    n_labels, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    region = labels[mask]
    return 1 / np.bincount(region)[region], n_labels - 1


def _parts(pool: PooledPixels) -> Iterator[slice]:
    """The pixels inside masks in consecutive parts."""
    for start in range(0, pool.inside.size, _PART):
        yield slice(start, min(start + _PART, pool.inside.size))


def _inside_at_or_above(pool: PooledPixels, part: slice) -> NDArray[np.int64]:
    return pool.inside.size - np.searchsorted(pool.inside, pool.inside[part], side="left")


def _area_of_step(start: NDArray[np.float64], end: NDArray[np.float64], *, limit: float) -> NDArray[np.float64]:
    """Area from 0 to ``limit`` under lines that are 0 up to ``start``, 1 from ``end``, and straight between."""
    width = end - start
    within = np.minimum(end, limit) - np.minimum(start, limit)
    ramp = np.divide(within * within, 2 * width, out=np.zeros_like(width), where=width > 0)
    return ramp + (limit - np.minimum(end, limit))


def _next_lower(pool: PooledPixels, score: np.float32) -> np.float32 | None:
    """Highest score of the pool below a score."""
    places = ((values, int(np.searchsorted(values, score))) for values in (pool.defect_free, pool.inside))
    return max((values[place - 1] for values, place in places if place > 0), default=None)


def _spread(start: int, stop: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` whole numbers from ``start`` to ``stop - 1``, evenly spread, both ends included."""
    return np.linspace(start, stop - 1, count if stop > start else 0).round().astype(np.int64)


def _chosen_images(
    maps: NDArray[np.float32], masks: NDArray[np.bool_], labelled: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Indices of the images to pool."""
    if maps.ndim != 3 or maps.dtype != np.float32:
        raise DataError(
            f"The anomaly maps are {maps.dtype} of shape {maps.shape}; allowed: float32 of shape (N, H, W)."
        )
    if masks.shape != maps.shape or masks.dtype != np.bool_:
        raise DataError(f"The masks are {masks.dtype} of shape {masks.shape}; allowed: bool of shape {maps.shape}.")
    if labelled is None:
        return np.arange(len(maps))
    if labelled.shape != (len(maps),) or labelled.dtype != np.bool_:
        raise DataError(
            f"Which images are labelled is given as {labelled.dtype} of shape {labelled.shape}; "
            f"allowed: bool of shape ({len(maps)},)."
        )
    return np.flatnonzero(labelled)


def _require_finite(scores: NDArray[np.float32], *, image: int) -> None:
    if not np.isfinite(scores).all():
        raise DataError(
            f"The anomaly map of image {image} holds numbers that are not finite (NaN or infinite). "
            "Leave the image out, or train the model again if it gives such maps for readable images."
        )


def _require_limit(fpr_limit: float) -> None:
    if not 0 < fpr_limit <= 1:
        raise ConfigError(f"The FPR limit is {fpr_limit!r}; allowed: above 0, up to 1.")
