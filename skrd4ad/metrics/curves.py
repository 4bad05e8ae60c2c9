"""ROC, precision-recall and PRO curves for charts, with their thresholds, and where a threshold lies on them.

Every point of a curve is exact. Where there are more than about 500, some are left out; the area under what is drawn
then differs by less than ``AREA_TOLERANCE`` from the metric. Points come from the counts that the metrics come from.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.metrics.aupro import (
    PooledPixels,
    aupro,
    chosen_thresholds,
    kept_pixels,
    overlap_at,
    pool_pixels,
    rates_above,
    share_of_region,
    with_just_below,
)
from skrd4ad.metrics.evaluation import require_consistent
from skrd4ad.metrics.ranking import Ranking, just_below, rank
from skrd4ad.types import EvaluationSet

POINTS = 500
AREA_TOLERANCE = 0.001
PRO_LIMITS = (0.05, 0.30)
"""False positive rates up to which AUPRO is taken; a PRO curve has a point at each of them."""

_CANDIDATES = 6000
"""Scores of the pixels that the points are chosen from."""

CurveName = Literal["image_roc", "image_pr", "pixel_roc", "pixel_pr", "pro"]
CURVE_NAMES: tuple[CurveName, ...] = ("image_roc", "image_pr", "pixel_roc", "pixel_pr", "pro")


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """Points of one curve; all arrays (K,), ordered by rising ``x``."""

    name: CurveName
    x: NDArray[np.float64]
    """False positive rate; recall for the precision-recall curves."""
    y: NDArray[np.float64]
    """True positive rate (recall), precision, or per-region overlap (PRO)."""
    threshold: NDArray[np.float64]
    """What lies above it counts as defective. Points of pixel curves at ``PRO_LIMITS`` are interpolated and repeat the
    threshold before them. The first point of a ROC or PRO curve has the highest score as its threshold."""
    areas: dict[str, float]
    """The metrics that this curve shows, by the names of :class:`skrd4ad.metrics.evaluation.Metrics`."""
    steps: bool
    """Whether the area is that under steps, vertical then horizontal (plotly's ``line.shape="vh"``), as average
    precision is defined; else points are joined by straight lines."""

    def area(self, *, limit: float = 1.0) -> float:
        """Area under what is drawn, from 0 to ``limit``, divided by the limit."""
        if self.steps:
            return float(np.diff(np.minimum(self.x, limit)) @ self.y[1:]) / limit
        inside = self.x <= limit
        x, y = self.x[inside], self.y[inside]
        if not inside.all():
            x, y = np.append(x, limit), np.append(y, np.interp(limit, self.x, self.y))
        return float(np.trapezoid(y, x)) / limit


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What one threshold does, counted exactly; None where a rate has nothing to be a share of."""

    threshold: float
    false_positive_rate: float | None
    recall: float | None
    precision: float | None
    pro: float | None = None
    """Share found of each region, averaged over regions; None for images."""

    def on(self, name: CurveName) -> tuple[float, float] | None:
        """x and y on the chart of a curve; None where it is undefined."""
        across, up = {
            "image_roc": (self.false_positive_rate, self.recall),
            "pixel_roc": (self.false_positive_rate, self.recall),
            "image_pr": (self.recall, self.precision),
            "pixel_pr": (self.recall, self.precision),
            "pro": (self.false_positive_rate, self.pro),
        }[name]
        return None if across is None or up is None else (across, up)


def curves_of(data: EvaluationSet) -> dict[CurveName, Curve]:
    """All curves that a test set defines."""
    require_consistent(data)
    curves = image_curves(data.labels, data.scores)
    if data.maps is not None and data.masks is not None:
        pool = pool_pixels(data.maps, data.masks, labelled=data.has_mask, ignored=data.ignored)
        curves += pixel_curves(pool)
    return {curve.name: curve for curve in curves}


def image_curves(labels: ArrayLike, scores: ArrayLike) -> list[Curve]:
    """ROC and precision-recall curves of images; none where a kind of images is missing."""
    ranking = rank(labels, scores)
    area, precision = ranking.auroc, ranking.average_precision
    if area is None or precision is None:
        return []
    descending = np.unique(np.concatenate([ranking.negatives, ranking.positives]))[::-1]
    thresholds = np.append(descending[0], just_below(descending))
    hits, false = ranking.counts_above(thresholds)
    x, y = false / ranking.negatives.size, hits / ranking.positives.size
    roc = _curve("image_roc", x, y, thresholds, keep=thinned(x, y, most=POINTS), areas={"image_auroc": area})
    return [roc, _precision_recall("image_pr", ranking, thresholds, {"image_ap": precision})]


def pixel_curves(pool: PooledPixels) -> list[Curve]:
    """ROC, precision-recall and PRO curves of pooled pixels; none where there are pixels of one kind only."""
    area, precision = pool.auroc, pool.average_precision
    narrow, wide = (aupro(pool, fpr_limit=limit) for limit in PRO_LIMITS)
    if area is None or precision is None or narrow is None or wide is None:
        return []
    thresholds = with_just_below(chosen_thresholds(pool, count=_CANDIDATES))[::-1]
    # a ROC curve is a PRO curve in which every pixel is a region
    n = pool.positives.size
    each = PooledPixels(pool.negatives, pool.positives, weights=np.full(n, 1 / n), n_regions=n)
    return [
        _overlap("pixel_roc", each, thresholds, {"pixel_auroc": area}),
        _precision_recall("pixel_pr", pool, thresholds, {"pixel_ap": precision}),
        _overlap("pro", pool, thresholds, {"aupro_005": narrow, "aupro": wide}),
    ]


def image_point(labels: ArrayLike, scores: ArrayLike, *, threshold: float) -> OperatingPoint:
    """What a threshold on image scores does. ``labels``: (N,) 0 good, 1 defect. ``scores``: (N,)."""
    ranking = rank(labels, scores)
    (hits,), (false,) = ranking.counts_above(np.array([threshold], np.float64))
    return _point(threshold, hits=hits, false=false, n_defect=ranking.positives.size, n_good=ranking.negatives.size)


def pixel_point(data: EvaluationSet, *, threshold: float) -> OperatingPoint | None:
    """What a threshold on the maps does to labelled pixels; None without maps or without masks."""
    if data.maps is None or data.masks is None:
        return None
    everything = np.ones(data.maps.shape[1:], bool)
    hits = false = n_inside = n_free = n_regions = 0
    overlap = 0.0
    for i in np.flatnonzero(data.has_mask):
        found_kept = kept_pixels(data.ignored, i)
        kept = everything if found_kept is None else found_kept
        mask, above = data.masks[i] & kept, (data.maps[i] > np.float64(threshold)) & kept
        found, inside = int(np.count_nonzero(above & mask)), int(np.count_nonzero(mask))
        hits, n_inside = hits + found, n_inside + inside
        false += int(np.count_nonzero(above)) - found
        n_free += int(np.count_nonzero(kept)) - inside
        if inside:
            share, regions = share_of_region(mask)
            overlap += float(share[above[mask]].sum())
            n_regions += regions
    point = _point(threshold, hits=hits, false=false, n_defect=n_inside, n_good=n_free)
    return replace(point, pro=overlap / n_regions if n_regions else None)


def _point(threshold: float, *, hits: int, false: int, n_defect: int, n_good: int) -> OperatingPoint:
    return OperatingPoint(
        threshold=float(threshold),
        false_positive_rate=float(false / n_good) if n_good else None,
        recall=float(hits / n_defect) if n_defect else None,
        precision=float(hits / (hits + false)) if hits + false else None,
    )


def _precision_recall(
    name: CurveName, ranking: Ranking, thresholds: NDArray[np.floating], areas: dict[str, float]
) -> Curve:
    """From thresholds in descending order."""
    hits, false = ranking.counts_above(thresholds)
    # average precision looks only where recall rises
    rises = np.flatnonzero(np.diff(hits, prepend=0))
    recall, precision = hits[rises] / ranking.positives.size, hits[rises] / (hits + false)[rises]
    keep = thinned(recall, precision, most=POINTS - 1, steps=True)
    # the first step starts at recall 0
    x, y, threshold = np.append(0.0, recall), np.append(precision[0], precision), thresholds[rises]
    keep = np.append(0, keep + 1)
    return _curve(name, x, y, np.append(threshold[0], threshold), keep=keep, areas=areas, steps=True)


def _overlap(name: CurveName, pool: PooledPixels, thresholds: NDArray[np.float32], areas: dict[str, float]) -> Curve:
    """PRO curve up to 1 with a point at each of ``PRO_LIMITS``, from thresholds in descending order."""
    x, y = rates_above(pool, thresholds)
    for limit in PRO_LIMITS:
        if limit not in x:
            index = int(np.searchsorted(x, limit))
            thresholds = np.insert(thresholds, index, thresholds[max(index - 1, 0)])
            x, y = np.insert(x, index, limit), np.insert(y, index, overlap_at(pool, limit))
    # each range that is looked at by itself counts as much as the others
    stretched = np.interp(x, (0.0, *PRO_LIMITS, 1.0), range(len(PRO_LIMITS) + 2))
    keep = thinned(stretched, y, most=POINTS, pinned=np.isin(x, PRO_LIMITS))
    return _curve(name, x, y, thresholds, keep=keep, areas=areas)


def _curve(
    name: CurveName,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    thresholds: NDArray[np.floating],
    *,
    keep: NDArray[np.int64],
    areas: dict[str, float],
    steps: bool = False,
) -> Curve:
    """The points with the indices ``keep``."""
    return Curve(
        name=name, x=x[keep], y=y[keep], threshold=thresholds[keep].astype(np.float64), areas=areas, steps=steps
    )


def thinned(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    most: int,
    steps: bool = False,
    pinned: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Indices of at most ``most`` points of a curve, ascending; both ends and pinned points stay.

    Round by round, points that change the area less than their neighbours would are removed, smallest change first.

    ``x``: (K,), not falling. ``y``: (K,). ``most`` is at least the number of ends and pinned points. With ``steps``
    each point is the right end of a step of its height; else points are joined by straight lines. ``pinned``: (K,).
    """
    indices = np.arange(x.size)
    stays = np.zeros(x.size, bool) if pinned is None else pinned.copy()
    stays[[0, -1]] = True
    # points that cost the same, such as those of a straight line, go in no particular cost_rank rather than end to end
    lots = np.random.default_rng(0).permutation(x.size)
    while indices.size > most:
        cost = _area_lost(x[indices], y[indices], steps=steps)
        cost[stays[indices]] = np.inf
        cost_rank = np.empty(indices.size, np.int64)
        cost_rank[np.lexsort((lots[indices], cost))] = np.arange(indices.size)
        # of two neighbours only one goes in a round, because the other then counts for both
        lowest = (cost_rank < np.append(indices.size, cost_rank[:-1])) & (
            cost_rank < np.append(cost_rank[1:], indices.size)
        )
        may_go = np.flatnonzero(lowest & np.isfinite(cost) & (cost_rank <= indices.size // 2))
        if not may_go.size:
            break
        cheapest = may_go[np.argsort(cost_rank[may_go])[: indices.size - most]]
        indices = np.delete(indices, cheapest)
    return indices


def _area_lost(x: NDArray[np.float64], y: NDArray[np.float64], *, steps: bool) -> NDArray[np.float64]:
    """(K,): how much the area changes without each point."""
    cost = np.full(x.size, np.inf)
    if steps:
        cost[:-1] = np.abs(np.diff(x, prepend=0)[:-1] * np.diff(y))
    else:
        across, up = x[2:] - x[:-2], y[2:] - y[:-2]
        cost[1:-1] = np.abs(across * (y[1:-1] - y[:-2]) - up * (x[1:-1] - x[:-2])) / 2
    return cost
