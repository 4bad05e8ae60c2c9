"""Thresholds from labelled images: best balanced accuracy, least expected cost, and bands for review."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.metrics.consequences import PARTS, Costs, require_rate
from skrd4ad.metrics.ranking import finite_scores, threshold_between
from skrd4ad.metrics.thresholds import conformal_threshold


@dataclass(frozen=True)
class BalancedAccuracy:
    """The best balanced accuracy that any threshold reaches."""

    accuracy: float
    """Mean of the share of good parts passed and of defects found, 0.5 to 1."""
    threshold: float


@dataclass(frozen=True, kw_only=True)
class LeastCost:
    """Thresholds of least expected cost."""

    reject: float
    review: float | None
    """None when no part should be reviewed."""
    cost: float
    """Expected cost of 1000 parts."""


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Every threshold that gives other verdicts, ascending, (T,): below all scores, between them, at the highest."""

    thresholds: NDArray[np.float64]
    good_above: NDArray[np.float64]
    """Share of good parts above each."""
    defects_above: NDArray[np.float64]


def balanced_accuracy_max(good_scores: ArrayLike, defect_scores: ArrayLike) -> BalancedAccuracy:
    """The threshold of best balanced accuracy; of equally good ones the one with the fewest escapes.

    Args:
        good_scores: (n,) image scores of good parts, at least one.
        defect_scores: (m,) image scores of defects, at least one.

    Raises:
        DataError: there are no good or no defective images, or a score is not finite.
    """
    found = _candidates(good_scores, defect_scores)
    accuracy = (1 - found.good_above + found.defects_above) / 2
    best = int(np.flatnonzero(_reach(accuracy, accuracy.max()))[0])
    return BalancedAccuracy(float(accuracy[best]), float(found.thresholds[best]))


def least_cost(good_scores: ArrayLike, defect_scores: ArrayLike, *, costs: Costs, defect_rate: float) -> LeastCost:
    """The threshold, or with a cost of a review the two thresholds, of least expected cost over these images.

    Exact: every threshold, and every pair, that gives other verdicts is considered. Of equally cheap ones those with
    the fewest escapes, then the highest review threshold, then the lowest reject threshold: the narrowest band.

    Args:
        good_scores: (n,) image scores of good parts, at least one.
        defect_scores: (m,) image scores of defects, at least one.
        costs: of an escape, a false reject and, if there is one, a review.
        defect_rate: share of defective parts among all parts, 0 to 1.

    Raises:
        ConfigError: the rate is not 0 to 1.
        DataError: there are no good or no defective images, or a score is not finite.
    """
    require_rate(defect_rate)
    found = _candidates(good_scores, defect_scores)
    good = PARTS * (1 - defect_rate) * found.good_above
    defects = PARTS * defect_rate * found.defects_above
    escapes = PARTS * defect_rate - defects
    if costs.review is None:
        total = good * costs.false_reject + escapes * costs.escape
        best = int(np.flatnonzero(_reach(-total, -total.min()))[0])
        return LeastCost(reject=float(found.thresholds[best]), review=None, cost=float(total[best]))
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
        reject=float(found.thresholds[high]),
        review=float(found.thresholds[low]) if low < high else None,
        cost=float(pairs[high - low]),
    )


def review_by_rate(held_out: ArrayLike, *, reject: float, rate: float) -> float | None:
    """Review threshold at which good parts are reviewed or rejected at no more than a rate (split-conformal).

    None when it is not below ``reject``: there is no band then.

    Args:
        held_out: (n,) image scores of good images that the model has not learnt from.
        reject: a part is NG above this.
        rate: share of good parts that may be above the review threshold; larger than the false-reject rate.

    Raises:
        ConfigError: the rate is not above 0 and below 1.
        DataError: there are no scores, or one is not finite.
    """
    threshold = conformal_threshold(held_out, false_reject_rate=rate).threshold
    return threshold if threshold < reject else None


def review_by_escapes(defect_scores: ArrayLike, *, reject: float, escape_rate: float) -> float | None:
    """Highest review threshold with which no more than a share of the defects passes unseen.

    It is a score itself, or lies just below the lowest one. None when ``reject`` alone keeps the share.

    Args:
        defect_scores: (m,) image scores of defects, at least one.
        reject: a part is NG above this.
        escape_rate: share of the defects that may be OK, 0 to below 1.

    Raises:
        ConfigError: the rate is not 0 to below 1.
        DataError: there are no defects, or a score is not finite.
    """
    if not 0 <= escape_rate < 1:
        raise ConfigError(f"The escape rate is {escape_rate!r}; allowed: 0 to below 1 (0.01 is 1 %).")
    defects = np.sort(_some(defect_scores, "defective"))
    # as counts: 0.29 * 100 is below 29 in floats
    allowed = math.floor(escape_rate * defects.size + 1e-9)
    if np.count_nonzero(defects <= reject) <= allowed:
        return None
    # the lowest score that must not pass; a threshold just below it
    return threshold_between(None, defects[allowed])


def _candidates(good_scores: ArrayLike, defect_scores: ArrayLike) -> _Candidates:
    good, defects = np.sort(_some(good_scores, "good")), np.sort(_some(defect_scores, "defective"))
    scores = np.unique(np.concatenate([good, defects]))
    between = [threshold_between(low, high) for low, high in pairwise(scores)]
    thresholds = np.array([threshold_between(None, scores[0]), *between, float(scores[-1])])
    return _Candidates(
        thresholds=thresholds,
        good_above=1 - np.searchsorted(good, thresholds, side="right") / good.size,
        defects_above=1 - np.searchsorted(defects, thresholds, side="right") / defects.size,
    )


def _reach(values: NDArray[np.float64], best: np.float64) -> NDArray[np.bool_]:
    """Which values are the best but for rounding: sums of products of counts tie in exact numbers only."""
    return np.asarray(values >= best - 1e-9 * max(1.0, abs(float(best))))


def _some(scores: ArrayLike, kind: str) -> NDArray[np.floating]:
    values = finite_scores(scores).astype(np.float64)
    if values.size == 0:
        raise DataError(f"There are 0 {kind} images with a label; this way to choose needs good and defective ones.")
    return values
