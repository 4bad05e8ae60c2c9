"""ROC, precision-recall and PRO curves for charts, with their thresholds, and where a threshold lies on them.

Every point of a curve is exact. Where there are more than about 500, some are left out; the area under what is drawn
then differs by less than ``AREA_TOLERANCE`` from the metric. Nothing is computed a second way: image curves come from
the counts behind :func:`skrd4ad.metrics.ranking.auroc`, pixel curves from :func:`skrd4ad.metrics.aupro.pro_curve`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.errors import DataError
from skrd4ad.metrics.aupro import (
    PooledPixels,
    aupro,
    pixel_auroc,
    pixel_average_precision,
    pool_pixels,
    pro_curve,
    rates_above,
    share_of_region,
)
from skrd4ad.metrics.evaluation import require_consistent
from skrd4ad.metrics.pixel_thresholds import chosen_thresholds, with_just_below
from skrd4ad.metrics.ranking import RankCounts, auroc, average_precision, count_ranks
from skrd4ad.metrics.thinning import thinned
from skrd4ad.types import EvaluationSet

POINTS = 500
AREA_TOLERANCE = 0.001
PRO_LIMITS = (0.05, 0.30)
"""False positive rates up to which AUPRO is taken; a PRO curve has a point at each of them."""

_CANDIDATES = 6000
"""Scores of the pixels that the points are chosen from."""
_FEWEST = 6
"""Points of a PRO curve, where only its end is wanted."""

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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        arrays = {name: getattr(self, name).tolist() for name in ("x", "y", "threshold")}
        return {"name": self.name, **arrays, "areas": dict(self.areas), "steps": self.steps}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Curve":
        """Curve from its JSON form.

        Raises:
            DataError: a value is missing or of another kind, or the arrays differ in length.
        """
        try:
            arrays = {name: np.array(values[name], np.float64) for name in ("x", "y", "threshold")}
            curve = Curve(name=values["name"], areas=dict(values["areas"]), steps=bool(values["steps"]), **arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"The curve is damaged ({error}); evaluate again.") from error
        if curve.name not in CURVE_NAMES or len({array.shape for array in arrays.values()}) != 1:
            raise DataError(f"The curve {curve.name!r} is damaged; evaluate again.")
        return curve


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
    """All curves that a test set defines.

    Raises:
        DataError: the arrays do not belong together, or a score or map holds a number that is not finite.
    """
    require_consistent(data)
    curves = image_curves(data.labels, data.scores)
    if data.maps is not None and data.masks is not None:
        pool = pool_pixels(data.maps, data.masks, labelled=data.has_mask, ignored=data.ignored)
        curves += pixel_curves(pool)
    return {curve.name: curve for curve in curves}


def image_curves(labels: ArrayLike, scores: ArrayLike) -> list[Curve]:
    """ROC and precision-recall curves of images; none where a kind of images is missing.

    Raises:
        DataError: as for :func:`skrd4ad.metrics.ranking.auroc`.
    """
    counts = count_ranks(labels, scores)
    area, precision = auroc(labels, scores), average_precision(labels, scores)
    if area is None or precision is None:
        return []
    return [_image_roc(counts, area), _image_pr(counts, precision)]


def pixel_curves(pool: PooledPixels) -> list[Curve]:
    """ROC, precision-recall and PRO curves of pooled pixels; none where there are pixels of one kind only."""
    area, precision = pixel_auroc(pool), pixel_average_precision(pool)
    narrow, wide = (aupro(pool, fpr_limit=limit) for limit in PRO_LIMITS)
    if area is None or precision is None or narrow is None or wide is None:
        return []
    thresholds = with_just_below(chosen_thresholds(pool, count=_CANDIDATES))[::-1]
    # a ROC curve is a PRO curve in which every pixel is a region
    each = replace(pool, weights=np.full(pool.inside.size, 1 / pool.inside.size), n_regions=pool.inside.size)
    return [
        _pro("pixel_roc", each, thresholds, {"pixel_auroc": area}),
        _pixel_pr(pool, thresholds, precision),
        _pro("pro", pool, thresholds, {"aupro_005": narrow, "aupro": wide}),
    ]


def image_point(labels: ArrayLike, scores: ArrayLike, *, threshold: float) -> OperatingPoint:
    """What a threshold on image scores does. ``labels``: (N,) 0 good, 1 defect. ``scores``: (N,)."""
    above, defect = np.asarray(scores) > np.float64(threshold), np.asarray(labels) == 1
    return _point(
        threshold,
        hits=int(np.count_nonzero(above & defect)),
        false=int(np.count_nonzero(above & ~defect)),
        n_defect=int(np.count_nonzero(defect)),
        n_good=int(np.count_nonzero(~defect)),
    )


def pixel_point(data: EvaluationSet, *, threshold: float) -> OperatingPoint | None:
    """What a threshold on the maps does to labelled pixels; None without maps or without masks."""
    if data.maps is None or data.masks is None:
        return None
    kept = np.ones(data.maps.shape[1:], bool) if data.ignored is None else ~data.ignored
    hits = false = n_inside = n_free = n_regions = 0
    overlap = 0.0
    for place in np.flatnonzero(data.has_mask):
        mask, above = data.masks[place] & kept, (data.maps[place] > np.float64(threshold)) & kept
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
        false_positive_rate=false / n_good if n_good else None,
        recall=hits / n_defect if n_defect else None,
        precision=hits / (hits + false) if hits + false else None,
    )


def _image_roc(counts: RankCounts, area: float) -> Curve:
    hits, false = counts.true_positives, counts.false_positives
    x, y = np.append(0.0, false / false[-1]), np.append(0.0, hits / hits[-1])
    threshold = np.append(counts.scores[0], _just_below(counts.scores)).astype(np.float64)
    keep = thinned(x, y, most=POINTS)
    return Curve(
        name="image_roc", x=x[keep], y=y[keep], threshold=threshold[keep], areas={"image_auroc": area}, steps=False
    )


def _image_pr(counts: RankCounts, area: float) -> Curve:
    hits, false = counts.true_positives, counts.false_positives
    # average precision looks only where recall rises
    rises = np.diff(hits, prepend=0) > 0
    precision = hits[rises] / (hits + false)[rises]
    return _pr("image_pr", hits[rises] / hits[-1], precision, _just_below(counts.scores[rises]), area)


def _pixel_pr(pool: PooledPixels, thresholds: NDArray[np.float32], area: float) -> Curve:
    """At thresholds in descending order."""
    hits, false = (
        scores.size - np.searchsorted(scores, thresholds, side="right") for scores in (pool.inside, pool.defect_free)
    )
    rises = np.diff(hits, prepend=0) > 0
    return _pr("pixel_pr", hits[rises] / hits[-1], hits[rises] / (hits + false)[rises], thresholds[rises], area)


def _pr(
    name: CurveName,
    recall: NDArray[np.float64],
    precision: NDArray[np.float64],
    threshold: NDArray[np.floating],
    area: float,
) -> Curve:
    keep = thinned(recall, precision, most=POINTS - 1, steps=True)
    return Curve(
        name=name,
        x=np.append(0.0, recall[keep]),
        y=np.append(precision[keep[0]], precision[keep]),
        threshold=np.append(threshold[keep[0]], threshold[keep]).astype(np.float64),
        areas={name.replace("_pr", "_ap"): area},
        steps=True,
    )


def _pro(name: CurveName, pool: PooledPixels, thresholds: NDArray[np.float32], areas: dict[str, float]) -> Curve:
    """PRO curve up to 1 with a point at each of ``PRO_LIMITS``, from thresholds in descending order."""
    x, y = rates_above(pool, thresholds)
    threshold = thresholds.astype(np.float64)
    for limit in (*PRO_LIMITS, 1.0):
        end = pro_curve(pool, fpr_limit=limit, points=_FEWEST)
        assert end is not None  # the pool has pixels of both kinds
        if limit not in x:
            place = int(np.searchsorted(x, limit))
            above = threshold[max(place - 1, 0)]
            x, y, threshold = (
                np.insert(values, place, value) for values, value in ((x, limit), (y, end.pro[-1]), (threshold, above))
            )
    # each range that is looked at by itself counts as much as the others
    stretched = np.interp(x, (0.0, *PRO_LIMITS, 1.0), range(len(PRO_LIMITS) + 2))
    keep = thinned(stretched, y, most=POINTS, pinned=np.isin(x, PRO_LIMITS))
    return Curve(name=name, x=x[keep], y=y[keep], threshold=threshold[keep], areas=areas, steps=False)


def _just_below(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Thresholds that each score lies above, and the next lower one does not."""
    return np.nextafter(scores, -np.inf, dtype=scores.dtype)
