"""Metrics of many replicates of a test set at once, each replicate with its own number of copies of every image.

The items of an image, which are its score or its pixels, are counted once in bins of the score that all images share.
With :math:`w_i` the times image i is drawn, the counts of a replicate are the sum of :math:`w_i` times those of image
i: one matrix product for many replicates, instead of sorting all items of each. Images have a bin for every distinct
score, and are exact. Where pixels of both kinds lie in one bin their order is not known: curves are straight there,
and the largest shift this can cause is bounded for every replicate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.metrics.aupro import (
    chosen_thresholds,
    ignored_of,
    kept_pixels,
    pool_pixels,
    share_of_region,
    with_just_below,
)
from skrd4ad.metrics.aupro_paper import paper_figures
from skrd4ad.metrics.ranking import finite_scores
from skrd4ad.types import EvaluationSet

IMAGE_NAMES = ("image_auroc", "image_ap", "image_f1_max")
PIXEL_NAMES = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro", "aupro_005", "aupro_paper")
BINS = 3072
_LIMITS = (0.3, 0.05)


@dataclass(frozen=True, eq=False, kw_only=True)
class PixelTables:
    """Pixels of M labelled images, Q of them with pixels inside masks, counted in B bins, highest scores first."""

    rows: NDArray[np.int64]
    """(M,): indices of the images in the test set."""
    free: NDArray[np.float64]
    """(M, B): defect-free pixels."""
    masked: NDArray[np.int64]
    """(Q,): indices in the test set of the images with pixels inside masks."""
    inside: NDArray[np.float64]
    """(Q, B): pixels inside masks."""
    share: NDArray[np.float64]
    """(Q, B): the same pixels, each as 1 / area of its region."""
    regions: NDArray[np.float64]
    """(Q,): regions of each image."""
    paper: NDArray[np.float64]
    """(Q,): the figure of each image by the paper's protocol, NaN where it has none."""
    exact: bool
    """Every distinct score of the pixels inside masks has a bin of its own, so nothing is lost."""


def count_pixels(data: EvaluationSet, *, bins: int = BINS) -> PixelTables | None:
    """Count the labelled pixels of a test set; None without maps, without masks, or with pixels of one kind only. Needs
    8 bytes a bin for each image, and 16 more for each image with a mask. Where the pixels inside masks have no more
    than half as many distinct scores as there are bins, nothing is lost."""
    if data.maps is None or data.masks is None:
        return None
    pool = pool_pixels(data.maps, data.masks, labelled=data.has_mask, ignored=data.ignored)
    if not pool.defined:
        return None
    inside_scores = np.unique(pool.positives)
    # around every score of a pixel inside masks nothing but that score is between two thresholds
    exact = 2 * inside_scores.size <= bins
    edges = with_just_below(inside_scores) if exact else chosen_thresholds(pool, count=bins)
    del pool
    everything = np.ones(data.maps.shape[1:], bool)
    rows = np.flatnonzero(data.has_mask)
    n_bins = edges.size + 1
    free = np.empty((len(rows), n_bins))
    masked, inside, share, regions = [], [], [], []
    for row, index in enumerate(rows):
        # how many thresholds lie below a score, counted from the highest: bin 0 is above all of them
        bin_of = edges.size - np.searchsorted(edges, data.maps[index])
        found = kept_pixels(data.ignored, index)
        kept = everything if found is None else found
        mask = data.masks[index] & kept
        free[row] = np.bincount(bin_of[kept & ~mask], minlength=n_bins)
        if mask.any():
            weights, n_regions = share_of_region(mask)
            masked.append(int(index))
            inside.append(np.bincount(bin_of[mask], minlength=n_bins).astype(np.float64))
            share.append(np.bincount(bin_of[mask], weights=weights, minlength=n_bins))
            regions.append(n_regions)
    return PixelTables(
        rows=rows,
        free=free,
        masked=np.array(masked, np.int64),
        inside=np.array(inside),
        share=np.array(share),
        regions=np.array(regions, np.float64),
        paper=paper_figures(data.maps[masked], data.masks[masked], ignored=ignored_of(data.ignored, masked)),
        exact=exact,
    )


def draw_image_figures(labels: ArrayLike, scores: ArrayLike, draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """(R, 3), as ``IMAGE_NAMES``: figures of replicates, NaN where a kind of images is missing. ``labels``: (N,), 0
    good, 1 defect. ``scores``: (N,). ``draws``: (R, N), how often each image is drawn."""
    values = finite_scores(scores)
    if not values.size:
        return np.full((len(draws), len(IMAGE_NAMES)), np.nan)
    order = np.argsort(-values, kind="stable")
    defect, ordered = np.asarray(labels)[order] == 1, values[order]
    # where each distinct score begins
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    times = draws[:, order].astype(np.float64)
    bad, good = (np.add.reduceat(np.where(kind, times, 0), starts, axis=1) for kind in (defect, ~defect))
    return _ranking_figures(good, bad, exact=True)[0]


def draw_pixel_figures(
    tables: PixelTables, draws: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel figures of replicates, and how far each may be off because of the bins: both (R, 6), as ``PIXEL_NAMES``.
    ``draws``: (R, N), how often every image of the test set is drawn. A replicate without pixels of both kinds gives
    NaN."""
    times = draws[:, tables.masked].astype(np.float64)
    free = draws[:, tables.rows].astype(np.float64) @ tables.free
    figures, bounds = _ranking_figures(free, times @ tables.inside, exact=tables.exact)
    undefined = np.isnan(figures[:, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr = free / free.sum(axis=1, keepdims=True)
        overlap = (times @ tables.share) / (times @ tables.regions)[:, None]
        known = ~np.isnan(tables.paper)
        paper = times[:, known] @ tables.paper[known] / times[:, known].sum(axis=1)
    areas = [_area(fpr, overlap, limit=limit) for limit in _LIMITS]
    figures = np.column_stack([figures, *(area for area, _ in areas), paper])
    bounds = np.column_stack([bounds, *(bound for _, bound in areas), np.zeros_like(paper)])
    if tables.exact:
        bounds[:] = 0
    figures[undefined], bounds[undefined] = np.nan, np.nan
    return figures, bounds


def _ranking_figures(
    negatives: NDArray[np.float64], positives: NDArray[np.float64], *, exact: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROC, average precision and best F1 of replicates, and how far each may be off: both (R, 3).

    ``negatives`` and ``positives``: (R, B), items of each kind in each bin, highest scores first. With ``exact`` all
    positives of a bin have one score, and the negatives with them the same one: the bounds are 0. Rows without items of
    both kinds are NaN.
    """
    hits, false = np.cumsum(positives, axis=1), np.cumsum(negatives, axis=1)
    n_positives, n_negatives = hits[:, -1], false[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = ((hits - positives / 2) * negatives).sum(axis=1) / (n_positives * n_negatives)
        f1 = 2 * hits / (hits + false + n_positives[:, None])
        if exact:
            precision = _share(hits, false)
        else:
            found, wrong = hits - positives, false - negatives
            precision = _share(found + (positives + 1) / 2, wrong + negatives / 2)
        # divided once, at the end: a sum of shares need not be 1
        figures = np.stack([auroc, (positives * precision).sum(axis=1) / n_positives, f1.max(axis=1)], axis=1)
        bounds = np.zeros_like(figures)
        if not exact:
            # a curve that rises inside a bin lies somewhere in its box
            bounds[:, 0] = (positives * negatives).sum(axis=1) / 2 / (n_positives * n_negatives)
            best, worst = _share(hits, wrong), _share(found + 1, false)
            bounds[:, 1] = (positives * np.maximum(best - precision, precision - worst)).sum(axis=1) / n_positives
            bounds[:, 2] = (2 * hits / (hits + wrong + n_positives[:, None])).max(axis=1) - figures[:, 2]
    figures[(n_positives == 0) | (n_negatives == 0)] = np.nan
    return figures, bounds


def _area(
    fpr: NDArray[np.float64], rise: NDArray[np.float64], *, limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(R,) area from FPR 0 to ``limit`` under a curve that gains ``rise`` (R, B) over each step ``fpr``, divided by
    the limit, and how far it may be off."""
    end = np.cumsum(fpr, axis=1)
    start = end - fpr
    before = np.cumsum(rise, axis=1) - rise
    width = np.minimum(end, limit) - np.minimum(start, limit)
    part = np.divide(width, fpr, out=np.zeros_like(fpr), where=fpr > 0)
    area = (before * width + rise * width * part / 2).sum(axis=1)
    # a curve that rises between two thresholds lies somewhere in their box; all of it counts where the limit cuts it
    unsure = (rise * width * np.where(part < 1, 1.0, 0.5)).sum(axis=1)
    return np.minimum(area / limit, 1.0), unsure / limit


def _share(hits: NDArray[np.float64], wrong: NDArray[np.float64]) -> NDArray[np.float64]:
    """``hits`` as a share of both, 0 where there is none."""
    total = hits + wrong
    return np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
