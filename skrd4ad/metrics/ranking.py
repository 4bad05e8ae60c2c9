"""Sort once and count in whole numbers: what AUROC, average precision, the best F1 and all curves are made of.

An item, which is an image or a pixel, counts as a defect when its score is *above* a threshold, here as everywhere in
this package. Good items are the negatives, defective ones the positives.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.errors import DataError

_SEARCHED = 1 << 15
"""Positives that one thread looks up at once."""
_PART = 1 << 20
"""Positives that are handled at once: bounds every temporary array at 8 MB."""


@dataclass(frozen=True)
class BestThreshold:
    """The best value of a figure, 0 to 1, that any threshold reaches, and a threshold that gives it."""

    value: float
    threshold: float
    """Lies halfway between the two neighbouring scores it separates."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores of both kinds, each sorted alone, and counts of negatives above each positive. Every metric is a sum over
    the positives. Of pixels these are few beside the negatives, which are sorted in place: no array of indices over all
    items is made."""

    negatives: NDArray[np.floating]
    """(P,), ascending."""
    positives: NDArray[np.floating]
    """(Q,), ascending."""

    @property
    def defined(self) -> bool:
        """Whether there are items of both kinds; all metrics are None otherwise."""
        return self.negatives.size > 0 and self.positives.size > 0

    @cached_property
    def negatives_at_or_above(self) -> NDArray[np.int64]:
        """(Q,): how many negatives score the same as, or above, each positive."""
        # the processor waits for memory in a search, so several make good use of one core, let alone of two
        parts = np.array_split(self.positives, max(1, self.positives.size // _SEARCHED))
        if len(parts) == 1:
            below = np.searchsorted(self.negatives, self.positives)
        else:
            with ThreadPoolExecutor(min(8, len(parts))) as pool:
                below = np.concatenate([*pool.map(lambda part: np.searchsorted(self.negatives, part), parts)])
        return np.subtract(self.negatives.size, below, out=below)

    @cached_property
    def negatives_above(self) -> NDArray[np.int64]:
        """(Q,): how many negatives score above each positive."""
        # the same as at or above, except where it ties
        above, negatives = self.negatives_at_or_above.copy(), self.negatives
        ties = np.flatnonzero(negatives[negatives.size - np.maximum(above, 1)] == self.positives)
        above[ties] = negatives.size - np.searchsorted(negatives, self.positives[ties], side="right")
        return above

    @property
    def auroc(self) -> float | None:
        """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half."""
        if not self.defined:
            return None
        lost = int(self.negatives_above.sum()) + int(self.negatives_at_or_above.sum())
        return 1 - lost / (2 * self.negatives.size * self.positives.size)

    @property
    def average_precision(self) -> float | None:
        """Precision averaged over the steps of recall, without interpolation."""
        if not self.defined:
            return None
        total = 0.0
        for part in self.parts():
            hits = self._positives_at_or_above(part)
            total += float((hits / (hits + self.negatives_at_or_above[part])).sum())
        return total / self.positives.size

    @property
    def f1_max(self) -> BestThreshold | None:
        """The best F1 over all thresholds; of equally good ones the highest."""
        if not self.defined:
            return None
        best_f1, best = -1.0, 0
        for part in self.parts():
            hits = self._positives_at_or_above(part)
            f1 = 2 * hits / (hits + self.negatives_at_or_above[part] + self.positives.size)
            highest = f1.size - 1 - int(np.argmax(f1[::-1]))
            # of equally good thresholds the highest, and the parts come in ascending order
            if f1[highest] >= best_f1:
                best_f1, best = float(f1[highest]), part.start + highest
        score = self.positives[best]
        lower = [s[i - 1] for s in (self.negatives, self.positives) if (i := int(np.searchsorted(s, score))) > 0]
        return BestThreshold(best_f1, threshold_between(max(lower, default=None), score))

    def counts_above(self, thresholds: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """True and false positives at each threshold, both (T,)."""
        hits, false = (s.size - np.searchsorted(s, thresholds, side="right") for s in (self.positives, self.negatives))
        return hits, false

    def parts(self) -> Iterator[slice]:
        """The positives in consecutive parts, ascending."""
        for start in range(0, self.positives.size, _PART):
            yield slice(start, min(start + _PART, self.positives.size))

    def _positives_at_or_above(self, part: slice) -> NDArray[np.int64]:
        return self.positives.size - np.searchsorted(self.positives, self.positives[part], side="left")


def rank(labels: ArrayLike, scores: ArrayLike) -> Ranking:
    """Sort the scores of images. ``labels``: (N,), 0 good and 1 defect. ``scores``: (N,), finite."""
    values, truth = finite_scores(scores), np.asarray(labels)
    if truth.shape != values.shape:
        raise DataError(f"There are labels of shape {truth.shape} for {values.size} scores; give one label a score.")
    if not np.isin(truth, (0, 1)).all():
        raise DataError(f"The labels hold {np.unique(truth).tolist()}; allowed: 0 (good) and 1 (defect).")
    return Ranking(np.sort(values[truth == 0]), np.sort(values[truth == 1]))


def auroc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """:attr:`Ranking.auroc` of images; None when a class is missing. Arguments and errors as for :func:`rank`."""
    return rank(labels, scores).auroc


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """:attr:`Ranking.average_precision` of images. Arguments, None and errors as for :func:`auroc`."""
    return rank(labels, scores).average_precision


def f1_max(labels: ArrayLike, scores: ArrayLike) -> BestThreshold | None:
    """:attr:`Ranking.f1_max` of images. Arguments, None and errors as for :func:`auroc`."""
    return rank(labels, scores).f1_max


def just_below(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """The highest thresholds that scores of any shape still lie above."""
    return np.nextafter(scores, -np.inf, dtype=scores.dtype)


def threshold_between(lower: np.floating | None, upper: np.floating) -> float:
    """A threshold with ``upper`` above it and ``lower`` not, halfway between; just below ``upper`` without a lower."""
    if lower is None:
        return float(np.nextafter(upper, -np.inf, dtype=upper.dtype))
    middle = float(lower) + (float(upper) - float(lower)) / 2
    # two neighbouring floats have no number between them
    return middle if middle < float(upper) else float(lower)


def finite_scores(scores: ArrayLike) -> NDArray[np.floating]:
    """``scores`` as an (N,) array of float32 (kept as it is) or float64."""
    values = np.asarray(scores)
    if values.ndim != 1:
        raise DataError(f"The scores have shape {values.shape}; allowed: (N,), one score an image.")
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise DataError(
            f"{bad} of {values.size} scores are not finite numbers (NaN or infinite). "
            "Leave these images out, or train the model again if it gives such scores for readable images."
        )
    return values
