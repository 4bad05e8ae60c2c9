"""The pixels of a test set counted once, image by image, between common thresholds, to draw images again and again.

With :math:`w_i` the times image i is drawn, the pixels of a replicate between two thresholds are the sum of
:math:`w_i` times those of image i: one matrix product for many replicates, instead of pooling and sorting all pixels.
Where pixels of both kinds lie between the same two thresholds, their order is not known: curves are straight there.
The largest shift this can cause is counted for every replicate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skrd4ad.metrics.aupro import pool_pixels, share_of_region
from skrd4ad.metrics.aupro_paper import paper_figures
from skrd4ad.metrics.pixel_thresholds import chosen_thresholds, with_just_below
from skrd4ad.types import EvaluationSet

PIXEL_NAMES = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro", "aupro_005", "aupro_paper")
"""Columns of what :func:`draw_pixel_figures` gives."""
BINS = 3072
_LIMITS = (0.3, 0.05)


@dataclass(frozen=True, eq=False, kw_only=True)
class PixelTables:
    """Pixels of M labelled images, Q of them with pixels inside masks, counted in B bins, highest scores first."""

    rows: NDArray[np.int64]
    """(M,): places of the images in the test set."""
    free: NDArray[np.float64]
    """(M, B): defect-free pixels."""
    masked: NDArray[np.int64]
    """(Q,): places in the test set of the images with pixels inside masks."""
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
    """Count the labelled pixels of a test set; None without maps, without masks, or with pixels of one kind only.

    Needs 8 bytes a bin for each image, and 16 more for each image with a mask. Where the pixels inside masks have no
    more than half as many distinct scores as there are bins, nothing is lost.

    Raises:
        DataError: a shape or type is wrong, or a map holds a number that is not finite.
    """
    if data.maps is None or data.masks is None:
        return None
    pool = pool_pixels(data.maps, data.masks, labelled=data.has_mask, ignored=data.ignored)
    if not pool.defined:
        return None
    inside_scores = np.unique(pool.inside)
    # around every score of a pixel inside masks nothing but that score is between two thresholds
    exact = 2 * inside_scores.size <= bins
    edges = with_just_below(inside_scores) if exact else chosen_thresholds(pool, count=bins)
    del pool
    kept = np.ones(data.maps.shape[1:], bool) if data.ignored is None else ~data.ignored
    rows = np.flatnonzero(data.has_mask)
    free = np.empty((len(rows), edges.size + 1))
    masked, inside, share, regions = [], [], [], []
    for row, place in enumerate(rows):
        # how many thresholds lie below a score, counted from the highest: bin 0 is above all of them
        found = edges.size - np.searchsorted(edges, data.maps[place])
        mask = data.masks[place] & kept
        free[row] = np.bincount(found[kept & ~mask], minlength=edges.size + 1)
        if mask.any():
            weights, n_regions = share_of_region(mask)
            masked.append(int(place))
            inside.append(np.bincount(found[mask], minlength=edges.size + 1).astype(np.float64))
            share.append(np.bincount(found[mask], weights=weights, minlength=edges.size + 1))
            regions.append(n_regions)
    places = np.array(masked, np.int64)
    paper = paper_figures(data.maps[places], data.masks[places], ignored=data.ignored)
    return PixelTables(
        rows=rows,
        free=free,
        masked=places,
        inside=np.array(inside),
        share=np.array(share),
        regions=np.array(regions, np.float64),
        paper=paper,
        exact=exact,
    )


def draw_pixel_figures(
    tables: PixelTables, draws: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel figures of replicates, and how far each may be off because of the bins: both (R, 6), as ``PIXEL_NAMES``.

    Args:
        tables: of the test set.
        draws: (R, N), how often every image of the test set is drawn. A replicate without pixels of both kinds gives
            NaN.
    """
    times = draws[:, tables.masked].astype(np.float64)
    free = draws[:, tables.rows].astype(np.float64) @ tables.free
    inside = times @ tables.inside
    n_free, n_inside = free.sum(axis=1, keepdims=True), inside.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr = free / n_free
        overlap = (times @ tables.share) / (times @ tables.regions)[:, None]
        columns = [
            _area(fpr, inside / n_inside, limit=1.0),
            _average_precision(free, inside, n_inside, exact=tables.exact),
            _f1_max(free, inside, n_inside),
            *(_area(fpr, overlap, limit=limit) for limit in _LIMITS),
            _mean_of(tables.paper, times),
        ]
    figures = np.stack([figure for figure, _ in columns], axis=1)
    bounds = np.stack([bound for _, bound in columns], axis=1)
    if tables.exact:
        bounds[:] = 0
    undefined = (n_free[:, 0] == 0) | (n_inside[:, 0] == 0)
    figures[undefined], bounds[undefined] = np.nan, np.nan
    return figures, bounds


_Figures = tuple[NDArray[np.float64], NDArray[np.float64]]


def _area(fpr: NDArray[np.float64], rise: NDArray[np.float64], *, limit: float) -> _Figures:
    """Area from FPR 0 to ``limit`` under a curve that gains ``rise`` over each step ``fpr``, divided by the limit."""
    end = np.cumsum(fpr, axis=1)
    start = end - fpr
    before = np.cumsum(rise, axis=1) - rise
    width = np.minimum(end, limit) - np.minimum(start, limit)
    part = np.divide(width, fpr, out=np.zeros_like(fpr), where=fpr > 0)
    area = (before * width + rise * width * part / 2).sum(axis=1)
    # a curve that rises between two thresholds lies somewhere in their box; all of it counts where the limit cuts it
    unsure = (rise * width * np.where(part < 1, 1.0, 0.5)).sum(axis=1)
    return np.minimum(area / limit, 1.0), unsure / limit


def _average_precision(
    free: NDArray[np.float64], inside: NDArray[np.float64], n_inside: NDArray[np.float64], *, exact: bool
) -> _Figures:
    hits, false = np.cumsum(inside, axis=1), np.cumsum(free, axis=1)
    found, wrong = hits - inside, false - free
    middle = _share(hits, false) if exact else _share(found + (inside + 1) / 2, wrong + free / 2)
    best, worst = _share(hits, wrong), _share(found + 1, false)
    weight = inside / n_inside
    return (weight * middle).sum(axis=1), (weight * np.maximum(best - middle, middle - worst)).sum(axis=1)


def _f1_max(free: NDArray[np.float64], inside: NDArray[np.float64], n_inside: NDArray[np.float64]) -> _Figures:
    hits, false = np.cumsum(inside, axis=1), np.cumsum(free, axis=1)
    f1 = (2 * hits / (hits + false + n_inside)).max(axis=1)
    at_best = (2 * hits / (hits + false - free + n_inside)).max(axis=1)
    return f1, at_best - f1


def _mean_of(figures: NDArray[np.float64], times: NDArray[np.float64]) -> _Figures:
    known = ~np.isnan(figures)
    mean = times[:, known] @ figures[known] / times[:, known].sum(axis=1)
    return mean, np.zeros_like(mean)


def _share(hits: NDArray[np.float64], wrong: NDArray[np.float64]) -> NDArray[np.float64]:
    total = hits + wrong
    return np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
