"""The pixels of a test set, pooled and ranked, and AUPRO over them, exact: every distinct score is a threshold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.ranking import Ranking, just_below
from skrd4ad.scratch import scratch_array


@dataclass(frozen=True, eq=False)
class PooledPixels(Ranking):
    """The pixels of all labelled images of a test set; positives are those inside masks."""

    weights: NDArray[np.float64]
    """(Q,): 1 / (area of the positive's region x number of regions); they sum to 1."""
    n_regions: int
    """8-connected regions in all masks."""


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
    are used when it is None. ``ignored``: (H, W) bool, pixels that are left out of all images, or (N, H, W), those of
    each; what is left of a region counts as the region, or as several. Needs 4 bytes for every pixel outside masks, in
    a file when that is above the budget of :mod:`skrd4ad.scratch`, and about 30 for every one inside.
    """
    chosen = _chosen_images(maps, masks, labelled)
    if ignored is not None and ignored.shape not in (maps.shape[1:], maps.shape):
        raise DataError(
            f"The ignored pixels have shape {ignored.shape}; allowed: {maps.shape[1:]}, that of a map, or {maps.shape}."
        )
    n_kept = [_n_kept(kept_pixels(ignored, i), maps.shape[1:]) for i in chosen]
    pixels = scratch_array((sum(n_kept),), np.float32, what="The pixels of the test set")
    ends = np.cumsum(n_kept, dtype=np.int64)
    inside, weights, n_regions = [np.empty(0, np.float32)], [np.empty(0)], 0
    for row, i in enumerate(chosen):
        kept = kept_pixels(ignored, i)
        scores, mask = maps[i], masks[i] if kept is None else masks[i] & kept
        if not np.isfinite(scores).all():
            raise DataError(
                f"The anomaly map of image {i} holds numbers that are not finite (NaN or infinite). "
                "Leave the image out, or train the model again if it gives such maps for readable images."
            )
        own = pixels[ends[row] - n_kept[row] : ends[row]]
        own[:] = scores.ravel() if kept is None else scores[kept]
        if mask.any():
            in_mask = np.flatnonzero(mask if kept is None else mask[kept])
            inside.append(own[in_mask])
            # out of the way: every score is finite, so these come last
            own[in_mask] = np.inf
            share, regions = share_of_region(mask)
            weights.append(share)
            n_regions += regions
    pixels.sort()
    positives = np.concatenate(inside)
    order = np.argsort(positives)
    return PooledPixels(
        negatives=pixels[: pixels.size - positives.size],
        positives=positives[order],
        weights=np.concatenate(weights)[order] / max(n_regions, 1),
        n_regions=n_regions,
    )


def kept_pixels(ignored: NDArray[np.bool_] | None, index: int | np.integer) -> NDArray[np.bool_] | None:
    """(H, W): pixels of an image that count, of those that all images or each one ignores; None for all of them."""
    if ignored is None:
        return None
    return ~(ignored if ignored.ndim == 2 else ignored[index])


def ignored_of(
    ignored: NDArray[np.bool_] | None, indices: Sequence[int | np.integer] | NDArray[np.integer]
) -> NDArray[np.bool_] | None:
    """What chosen images ignore, in their order."""
    return ignored if ignored is None or ignored.ndim == 2 else ignored[np.asarray(indices)]


def aupro(pool: PooledPixels, *, fpr_limit: float = 0.3) -> float | None:
    """Area under the per-region overlap (PRO) over the false positive rate up to a limit, divided by the limit.

    MVTec's definition: PRO is the share found of each region, averaged over all regions of the test set; the FPR is
    taken over all defect-free pixels of the test set; every distinct score is a threshold, the curve is linear between
    them and interpolated at the limit. 0 to 1; None when there is no region or no defect-free pixel.
    """
    if not 0 < fpr_limit <= 1:
        raise ConfigError(f"The FPR limit is {fpr_limit!r}; allowed: above 0, up to 1.")
    if not pool.defined:
        return None
    # Each pixel of a region lifts PRO by its weight: at once, or along a line where it ties with defect-free pixels.
    # The area is thus a sum over these pixels alone.
    n, area = pool.negatives.size, 0.0
    for part in pool.parts():
        start, end = pool.negatives_above[part] / n, pool.negatives_at_or_above[part] / n
        area += float(pool.weights[part] @ _area_of_step(start, end, limit=fpr_limit))
    # the weights sum to 1 only up to rounding
    return min(area / fpr_limit, 1.0)


def rates_above(
    pool: PooledPixels, thresholds: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FPR and PRO of the pixels above each threshold, both (T,); the pool has pixels of both kinds."""
    hits, false = pool.counts_above(thresholds)
    # summed from the top, so that it is exactly 0 where nothing lies above; rounding may carry the sum past 1
    overlap = np.minimum(np.append(0.0, np.cumsum(pool.weights[::-1])), 1.0)
    return false / pool.negatives.size, overlap[hits]


def overlap_at(pool: PooledPixels, fpr: float) -> float:
    """PRO at a false positive rate, interpolated between the thresholds around it; pixels of both kinds are needed."""
    n = pool.negatives.size
    # the score above which the FPR is within the rate, and at which it reaches or passes it
    edge = pool.negatives[n - 1 - min(int(fpr * n), n - 1)]
    (fpr_above,), (pro_above,) = rates_above(pool, np.array([edge]))
    fpr_at_edge = 1 - np.searchsorted(pool.negatives, edge) / n
    pro_at_edge = float(pool.weights[np.searchsorted(pool.positives, edge) :].sum())
    share = float(np.clip((fpr - fpr_above) / (fpr_at_edge - fpr_above), 0, 1))
    return float(pro_above + share * (pro_at_edge - pro_above))


def chosen_thresholds(pool: PooledPixels, *, count: int) -> NDArray[np.float32]:
    """At most ``count`` scores that stand for all of a pool, ascending and different; all of them when there are fewer.

    Else a third lie among the negatives, as far apart in FPR as the squares of a row of even numbers, so closest at
    the highest scores; a third lie evenly among the positives, and a third evenly by how much these weigh, so that
    small regions are not passed over. The pool has pixels of both kinds.
    """
    of_kinds = [_distinct(ascending, most=count) for ascending in (pool.negatives, pool.positives)]
    if len(few := [scores for scores in of_kinds if scores is not None]) == 2:
        distinct = np.unique(np.concatenate(few))
        if distinct.size <= count:
            return distinct
    third = count // 3
    negatives, positives = pool.negatives, pool.positives
    from_top = np.linspace(0, 1, third) ** 2 * (negatives.size - 1)
    by_weight = np.searchsorted(np.cumsum(pool.weights), np.linspace(0, 1, third))
    chosen = [
        negatives[negatives.size - 1 - from_top.round().astype(np.int64)],
        positives[np.linspace(0, positives.size - 1, third).round().astype(np.int64)],
        positives[by_weight.clip(0, positives.size - 1)],
    ]
    return np.unique(np.concatenate(chosen))


def _distinct(ascending: NDArray[np.float32], *, most: int) -> NDArray[np.float32] | None:
    """The distinct scores, when they are no more than ``most``."""
    first = np.append(True, ascending[1:] != ascending[:-1])
    return ascending[first] if np.count_nonzero(first) <= most else None


def with_just_below(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores, and for each the highest threshold that it still lies above; ascending and different."""
    return np.unique(np.concatenate([scores, just_below(scores)]))


def share_of_region(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """For each pixel inside a mask, row by row, 1 / area of its 8-connected region, and the number of regions."""
    n_labels, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    region = labels[mask]
    return 1 / np.bincount(region)[region], n_labels - 1


def _n_kept(kept: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> int:
    return math.prod(shape) if kept is None else int(np.count_nonzero(kept))


def _area_of_step(start: NDArray[np.float64], end: NDArray[np.float64], *, limit: float) -> NDArray[np.float64]:
    """Area from 0 to ``limit`` under lines that are 0 up to ``start``, 1 from ``end``, and straight between."""
    width = end - start
    within = np.minimum(end, limit) - np.minimum(start, limit)
    ramp = np.divide(within * within, 2 * width, out=np.zeros_like(width), where=width > 0)
    return ramp + (limit - np.minimum(end, limit))


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
