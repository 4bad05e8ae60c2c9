"""Thresholds from labelled images: best balanced accuracy, least expected cost, and bands for review."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.consequences import PARTS, Costs, require_rate
from skrd4ad.metrics.ranking import BestThreshold, Ranking, finite_scores, threshold_between
from skrd4ad.metrics.thresholds import conformal_threshold


@dataclass(frozen=True, kw_only=True)
class LeastCost:
    """Thresholds of least expected cost."""

    reject: float
    review: float | None
    """None when no part should be reviewed."""
    cost: float


def balanced_accuracy_max(good_scores: ArrayLike, defect_scores: ArrayLike) -> BestThreshold:
    """The threshold of best balanced accuracy; of equally good ones the one with the fewest escapes. ``good_scores``:
    (n,) and ``defect_scores``: (m,) image scores, at least one of each kind."""
    thresholds, good_above, defects_above = _candidates(good_scores, defect_scores)
    accuracy = (1 - good_above + defects_above) / 2
    best = int(np.flatnonzero(_reach(accuracy, accuracy.max()))[0])
    return BestThreshold(float(accuracy[best]), float(thresholds[best]))


def least_cost(good_scores: ArrayLike, defect_scores: ArrayLike, *, costs: Costs, defect_rate: float) -> LeastCost:
    """The threshold, or with a cost of a review the two thresholds, of least expected cost over these images.

    Exact: every threshold, and every pair, that gives other verdicts is considered. Of equally cheap ones those with
    the fewest escapes, then the highest review threshold, then the lowest reject threshold: the narrowest band.

    ``good_scores``: (n,) and ``defect_scores``: (m,) image scores, at least one of each kind. ``defect_rate``: share of
    defective parts among all parts, 0 to 1.
    """
    require_rate(defect_rate)
    thresholds, good_above, defects_above = _candidates(good_scores, defect_scores)
    good, defects = PARTS * (1 - defect_rate) * good_above, PARTS * defect_rate * defects_above
    escapes = PARTS * defect_rate - defects
    if costs.review is None:
        total = good * costs.false_reject + escapes * costs.escape
        best = int(np.flatnonzero(_reach(-total, -total.min()))[0])
        return LeastCost(reject=float(thresholds[best]), review=None, cost=float(total[best]))
    # The cost of a pair falls apart into what its lower and what its upper threshold does, as the parts between them
    # are those above the lower one without those above the upper one.
    lower = escapes * costs.escape + (good + defects) * costs.review
    upper = good * costs.false_reject - (good + defects) * costs.review
    cheapest_upper = np.minimum.accumulate(upper[::-1])[::-1]
    total = lower + cheapest_upper
    cheap = np.flatnonzero(_reach(-total, -total.min()))
    low = int(cheap[escapes[cheap] == escapes[cheap[0]]][-1])
    pairs = lower[low] + upper[low:]
    high = low + int(np.flatnonzero(_reach(-pairs, -pairs.min()))[0])
    return LeastCost(
        reject=float(thresholds[high]),
        review=float(thresholds[low]) if low < high else None,
        cost=float(pairs[high - low]),
    )


def review_by_rate(held_out: ArrayLike, *, reject: float, rate: float) -> float | None:
    """Review threshold at which good parts are reviewed or rejected at no more than a rate (split-conformal).

    None when it is not below ``reject``: there is no band then. ``held_out``: (n,) image scores of good images that
    the model has not learnt from. ``rate``: share of good parts that may be above the review threshold, larger than
    the false-reject rate.
    """
    threshold = conformal_threshold(held_out, false_reject_rate=rate).threshold
    return threshold if threshold < reject else None


def review_by_escapes(defect_scores: ArrayLike, *, reject: float, escape_rate: float) -> float | None:
    """Highest review threshold with which no more than a share of the defects passes unseen. It lies just below the
    lowest score that must not pass. None when ``reject`` alone keeps the share. ``defect_scores``: (m,) image scores,
    at least one. ``escape_rate``: share of the defects that may be OK."""
    if not 0 <= escape_rate < 1:
        raise ConfigError(f"The escape rate is {escape_rate!r}; allowed: 0 to below 1 (0.01 is 1 %).")
    defects = np.sort(_some(defect_scores, "defective"))
    # as counts: 0.29 * 100 is below 29 in floats
    allowed = math.floor(escape_rate * defects.size + 1e-9)
    if np.count_nonzero(defects <= reject) <= allowed:
        return None
    return threshold_between(None, defects[allowed])


def _candidates(
    good_scores: ArrayLike, defect_scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Every threshold that gives other verdicts, ascending, with the share of good parts and of defects above it. All
    three are (T,). The first threshold lies below all scores, the last is the highest score."""
    ranking = Ranking(np.sort(_some(good_scores, "good")), np.sort(_some(defect_scores, "defective")))
    scores = np.unique(np.concatenate([ranking.negatives, ranking.positives]))
    between = [threshold_between(low, high) for low, high in pairwise(scores)]
    thresholds = np.array([threshold_between(None, scores[0]), *between, float(scores[-1])])
    hits, false = ranking.counts_above(thresholds)
    return thresholds, false / ranking.negatives.size, hits / ranking.positives.size


def _reach(values: NDArray[np.float64], best: np.float64) -> NDArray[np.bool_]:
    """Which values are the best but for rounding: sums of products of counts tie in exact numbers only."""
    return np.asarray(values >= best - 1e-9 * max(1.0, abs(float(best))))


def _some(scores: ArrayLike, kind: str) -> NDArray[np.floating]:
    values = finite_scores(scores).astype(np.float64)
    if values.size == 0:
        raise DataError(f"There are 0 {kind} images with a label; this way to choose needs good and defective ones.")
    return values
