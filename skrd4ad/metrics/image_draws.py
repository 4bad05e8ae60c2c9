"""Image metrics of many replicates at once, exact: scores are put in order once, a replicate only weighs them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.metrics.ranking import finite_scores

IMAGE_NAMES = ("image_auroc", "image_ap", "image_f1_max")
"""Columns of what :func:`draw_image_figures` gives."""


@dataclass(frozen=True, eq=False)
class RankedImages:
    """Images in the order of their scores."""

    order: NDArray[np.int64]
    """(N,): places of the images, highest score first."""
    defect: NDArray[np.bool_]
    """(N,), in that order."""
    starts: NDArray[np.int64]
    """(T,): where in that order each of T distinct scores begins."""


def rank_images(labels: ArrayLike, scores: ArrayLike) -> RankedImages:
    """Put images in order. ``labels``: (N,), 0 good and 1 defect. ``scores``: (N,).

    Raises:
        DataError: a score is not finite.
    """
    values = finite_scores(scores)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: ordered.size])
    return RankedImages(order=order, defect=np.asarray(labels)[order] == 1, starts=starts)


def draw_image_figures(images: RankedImages, draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """(R, 3), as ``IMAGE_NAMES``: figures of replicates, NaN where a kind of images is missing.

    Args:
        images: in the order of their scores.
        draws: (R, N), how often each image is drawn.
    """
    figures = np.full((len(draws), len(IMAGE_NAMES)), np.nan)
    if not images.order.size:
        return figures
    times = draws[:, images.order]
    defects = np.add.reduceat(np.where(images.defect, times, 0), images.starts, axis=1)
    good = np.add.reduceat(np.where(images.defect, 0, times), images.starts, axis=1)
    hits, wrong = np.cumsum(defects, axis=1), np.cumsum(good, axis=1)
    n_defect, n_good = hits[:, -1], wrong[:, -1]
    defined = (n_defect > 0) & (n_good > 0)
    defects, good, hits, wrong = defects[defined], good[defined], hits[defined], wrong[defined]
    n_defect, n_good = n_defect[defined], n_good[defined]
    # pairs in the right order, ties counting half
    figures[defined, 0] = ((hits - defects / 2) * good).sum(axis=1) / (n_defect * n_good)
    called = np.maximum(hits + wrong, 1)
    figures[defined, 1] = (hits / called * defects).sum(axis=1) / n_defect
    figures[defined, 2] = (2 * hits / (hits + wrong + n_defect[:, None])).max(axis=1)
    return figures
