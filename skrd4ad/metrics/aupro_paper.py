"""AUPRO as the original RD4AD and SK-RD4AD code computes it; comparable with their figures, not with MVTec's."""

import numpy as np
from numpy.typing import NDArray

from skrd4ad.metrics.aupro import PooledPixels, ignored_of, pool_pixels, rates_above

_STEPS = 200
_FPR_LIMIT = 0.3


def aupro_paper_protocol(
    maps: NDArray[np.float32],
    masks: NDArray[np.bool_],
    *,
    labelled: NDArray[np.bool_] | None = None,
    ignored: NDArray[np.bool_] | None = None,
) -> float | None:
    """Mean over the defect images of a per-image AUPRO with 200 thresholds and a rescaled FPR axis.

    Arguments as for :func:`skrd4ad.metrics.aupro.pool_pixels`; an image is a defect image when its mask is not empty.
    The thresholds step evenly from the lowest to below the highest value of the image's own map; the FPR is taken over
    the defect-free pixels of that image; only points with FPR < 0.3 are kept, and their FPR is divided by its maximum.

    An image has no such figure, and is left out of the mean, when its map is constant, when its mask covers it, or when
    the kept points do not span an axis: fewer than two of them, or none with an FPR above 0. The original code fails
    on such images. 0 to 1; None when no image has a figure.
    """
    figures = paper_figures(maps, masks, labelled=labelled, ignored=ignored)
    found = figures[~np.isnan(figures)]
    return float(np.mean(found)) if found.size else None


def paper_figures(
    maps: NDArray[np.float32],
    masks: NDArray[np.bool_],
    *,
    labelled: NDArray[np.bool_] | None = None,
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """(N,): the figure of each image, NaN where it has none. Arguments and errors as for the mean of them."""
    used = np.ones(len(maps), bool) if labelled is None else labelled
    figures = np.full(len(maps), np.nan)
    for i in np.flatnonzero(used):
        if masks[i].any():
            figure = _image_figure(pool_pixels(maps[i : i + 1], masks[i : i + 1], ignored=ignored_of(ignored, [i])))
            figures[i] = np.nan if figure is None else figure
    return figures


def _image_figure(pool: PooledPixels) -> float | None:
    if not pool.defined:
        return None
    lowest = float(min(pool.negatives[0], pool.positives[0]))
    highest = float(max(pool.negatives[-1], pool.positives[-1]))
    if lowest == highest:
        return None
    fpr, pro = rates_above(pool, np.arange(lowest, highest, (highest - lowest) / _STEPS))
    kept = fpr < _FPR_LIMIT
    fpr, pro = fpr[kept][::-1], pro[kept][::-1]
    if fpr.size < 2 or fpr[-1] == 0:
        return None
    return float(np.trapezoid(pro, fpr / fpr[-1]))
