"""A few thousand thresholds that stand for all the scores of pooled pixels."""

import numpy as np
from numpy.typing import NDArray

from skrd4ad.metrics.aupro import PooledPixels


def chosen_thresholds(pool: PooledPixels, *, count: int) -> NDArray[np.float32]:
    """At most ``count`` scores of a pool, ascending and different; all of them when there are no more.

    Else a third lie among the defect-free pixels, as far apart in FPR as the squares of a row of even numbers, so
    closest at the highest scores; a third lie evenly among the pixels inside masks, and a third evenly by how much
    these weigh, so that small regions are not passed over. The pool has pixels of both kinds.
    """
    distinct = _few_distinct(pool, most=count)
    if distinct is not None:
        return distinct
    third = count // 3
    free, inside = pool.defect_free, pool.inside
    from_top = np.linspace(0, 1, third) ** 2 * (free.size - 1)
    by_weight = np.searchsorted(np.cumsum(pool.weights), np.linspace(0, 1, third))
    chosen = [
        free[free.size - 1 - from_top.round().astype(np.int64)],
        inside[np.linspace(0, inside.size - 1, third).round().astype(np.int64)],
        inside[by_weight.clip(0, inside.size - 1)],
    ]
    return np.unique(np.concatenate(chosen))


def with_just_below(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores, and for each the highest threshold that it still lies above; ascending and different."""
    return np.unique(np.concatenate([scores, np.nextafter(scores, -np.inf, dtype=np.float32)]))


def _few_distinct(pool: PooledPixels, *, most: int) -> NDArray[np.float32] | None:
    """All distinct scores, when they are no more than ``most``."""
    found = []
    for ascending in (pool.defect_free, pool.inside):
        starts = _starts(ascending)
        if np.count_nonzero(starts) > most:
            return None
        found.append(ascending[starts])
    distinct = np.unique(np.concatenate(found))
    return distinct if distinct.size <= most else None


def _starts(ascending: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.append(True, ascending[1:] != ascending[:-1])
